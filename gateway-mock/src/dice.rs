//! Chance that can be repeated: every decision of the gateway is a pure function of the seed, what is decided, the
//! key and (where tries differ) the number of the try. Nothing depends on the order in which requests arrive, so
//! a run under concurrency decides as a run one by one does.

/// FNV-1a's published constants (<http://www.isthe.com/chongo/tech/comp/fnv/>). Not the standard library's hasher:
/// its result may change between compiler releases, and a seed noted today must still mean the same run then.
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// A double holds 53 bits exactly: that many of a roll are compared with a rate.
const DOUBLE_BITS: u32 = 53;

/// A number spread evenly over all 64 bits.
pub(crate) fn roll(seed: u64, (endpoint, purpose): (&str, &str), key: &[u8], try_number: u32) -> u64 {
    hash(spread(seed), &[endpoint.as_bytes(), purpose.as_bytes(), &try_number.to_le_bytes(), key])
}

/// Whether a roll falls within `rate`: never for 0, always for 1.
#[expect(clippy::float_arithmetic, reason = "a share of requests, no money")]
pub(crate) fn within(roll: u64, rate: f64) -> bool {
    let kept = roll >> (u64::BITS - DOUBLE_BITS);
    (kept as f64) < rate * (1_u64 << DOUBLE_BITS) as f64
}

/// Evenly one of `low..=high`.
pub(crate) fn between(roll: u64, low: u64, high: u64) -> u64 {
    low + roll % (high - low + 1)
}

/// One number for several texts; the same everywhere and in every release.
pub(crate) fn hash(start: u64, parts: &[&[u8]]) -> u64 {
    let mut hash = FNV_OFFSET ^ start;
    let mut take = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME);
    for part in parts {
        part.iter().copied().for_each(&mut take);
        // No text holds this byte, so `ab` + `c` is not `a` + `bc`.
        take(0xff);
    }
    spread(hash)
}

/// The finalizer of splitmix64 (Steele, Lea, Flood 2014): makes each bit depend on every other.
fn spread(mut bits: u64) -> u64 {
    bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLLS: u32 = 100_000;

    fn hits(purpose: &str, rate: f64) -> u32 {
        (0..ROLLS)
            .map(|key| u32::from(within(roll(7, ("charge", purpose), &key.to_le_bytes(), 1), rate)))
            .sum()
    }

    #[test]
    fn rates_hold_over_many_keys() {
        assert_eq!(hits("success", 0.0), 0);
        assert_eq!(hits("success", 1.0), ROLLS);
        // Four standard deviations of 100,000 throws at 0.05 are 276.
        assert!((4_724..=5_276).contains(&hits("success", 0.05)), "{}", hits("success", 0.05));
    }

    #[test]
    fn purposes_keys_tries_and_seeds_all_change_a_roll() {
        let base = roll(1, ("charge", "error"), b"key", 1);
        assert_eq!(base, roll(1, ("charge", "error"), b"key", 1));
        for other in [
            roll(2, ("charge", "error"), b"key", 1),
            roll(1, ("charge", "late"), b"key", 1),
            roll(1, ("refund", "error"), b"key", 1),
            roll(1, ("charge", "error"), b"kez", 1),
            roll(1, ("charge", "error"), b"key", 2),
        ] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn a_seed_noted_once_means_the_same_for_ever() {
        // From the first release: should this fail, every seed that someone noted has lost its meaning.
        assert_eq!(roll(42, ("charge", "success"), b"key", 1), 2_374_467_769_773_092_427);
    }

    #[test]
    fn latencies_stay_between_their_bounds() {
        let all: Vec<u64> = (0..1_000)
            .map(|key: u32| between(roll(1, ("charge", "l"), &key.to_le_bytes(), 1), 50, 52))
            .collect();
        assert_eq!((all.iter().min(), all.iter().max()), (Some(&50), Some(&52)));
        assert_eq!(between(u64::MAX, 0, 0), 0);
    }
}
