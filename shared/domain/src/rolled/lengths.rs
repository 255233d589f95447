//! How long stays were: a fixed histogram, so that buckets of any quarters can be added, and shares of it.

use time::Duration;

/// Where buckets begin, in milliseconds: twelve a power of ten, from a hundredth of a second to eleven days. So a share read from
/// them is off by an eighth at most, mostly far less.
pub const BOUNDS_MS: [i64; 97] = bounds();

const fn bounds() -> [i64; 97] {
    let steps = [10, 12, 15, 18, 22, 27, 33, 39, 47, 56, 68, 82];
    let mut bounds = [0; 97];
    let (mut at, mut power) = (0, 1);
    while at < bounds.len() {
        bounds[at] = steps[at % steps.len()] * power;
        at += 1;
        if at % steps.len() == 0 {
            power *= 10;
        }
    }
    bounds
}

/// Whole milliseconds; a clock that was put back makes no stay shorter than nothing.
pub fn millis(length: Duration) -> i64 {
    i64::try_from(length.whole_milliseconds()).unwrap_or(i64::MAX).max(0)
}

/// The bucket of a stay: how many bounds it reaches.
pub fn bucket(millis: i64) -> i16 {
    i16::try_from(BOUNDS_MS.partition_point(|bound| *bound <= millis)).unwrap_or(i16::MAX)
}

/// How long the shortest stay is that is no shorter than `percent` of all, read from buckets and the stays in them, by bucket:
/// within a bucket they are taken as evenly spread. Beyond the last bound nothing is known but that. `None`: there are none.
pub fn percentile(buckets: &[(i16, i64)], percent: i64) -> Option<i64> {
    let all: i64 = buckets.iter().map(|(_, stays)| stays).sum();
    // The rank, rounded up: the median of three is the second.
    let rank = (all * percent + 99) / 100;
    let mut before = 0;
    for (bucket, stays) in buckets {
        if *stays > 0 && before + stays >= rank {
            let at = usize::try_from(*bucket).unwrap_or(0);
            let low = at.checked_sub(1).and_then(|at| BOUNDS_MS.get(at)).copied().unwrap_or(0);
            let high = BOUNDS_MS.get(at).copied().unwrap_or(low);
            // The middle of its share of the bucket.
            return Some(low + (high - low) * (2 * (rank - before) - 1) / (2 * stays));
        }
        before += stays;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_rise_and_a_stay_lies_between_those_of_its_bucket() {
        assert!(BOUNDS_MS.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!((BOUNDS_MS[0], BOUNDS_MS[96]), (10, 1_000_000_000));
        for (millis, expected) in
            [(0, 0), (9, 0), (10, 1), (11, 1), (12, 2), (999_999_999, 96), (i64::MAX, 97)]
        {
            assert_eq!(bucket(millis), expected, "{millis}");
        }
    }

    #[test]
    fn a_percentile_is_near_the_true_one() {
        assert_eq!(percentile(&[], 50), None);
        // 1,000 stays of 1 to 1,000 s.
        let mut buckets = std::collections::BTreeMap::new();
        for second in 1..=1_000 {
            *buckets.entry(bucket(second * 1_000)).or_insert(0) += 1;
        }
        let buckets: Vec<(i16, i64)> = buckets.into_iter().collect();
        for (percent, true_ms) in [(50, 500_000), (95, 950_000)] {
            let read = percentile(&buckets, percent).unwrap();
            assert!((read - true_ms).abs() <= true_ms / 20, "{percent}: {read}");
        }
        // All in one bucket: in it.
        assert_eq!(percentile(&[(1, 3)], 50), Some(11));
        assert_eq!(percentile(&[(97, 1)], 95), Some(1_000_000_000), "no more is known");
    }
}
