//! Places where a process can be told to die, and bugs that it can be told to have: how the chaos harness proves that
//! nothing is lost at any of the places, and that it would notice each of the bugs. Compiled in by the cargo feature
//! `chaos` alone; without it every function here is empty, and nothing in the environment changes anything.

/// Where a process can be told to die. The prefix says which process passes the place.
pub const CRASH_POINTS: &[&str] = &[
    "api.before_commit",
    "api.after_commit",
    "api.after_handover",
    "api.before_publish",
    "api.before_confirm",
    "api.after_confirm",
    "api.before_move",
    "api.after_move",
    "worker.before_claim",
    "worker.after_claim",
    "worker.before_send",
    "worker.after_answer",
    "worker.before_void",
    "worker.after_void",
    "worker.before_settle",
    "worker.mid_settle",
    "worker.after_settle",
    "worker.before_release",
    "worker.after_release",
    "worker.before_ack",
    "worker.after_ack",
    "worker.before_bury",
    "worker.mid_sweep",
    "worker.after_sweep",
    "worker.mid_deadline",
    "worker.after_deadline",
    "follower.before_roll_up",
    "follower.mid_roll_up",
    "follower.after_roll_up",
    "follower.before_cursor",
    "follower.before_commit",
    "follower.after_commit",
    "follower.before_send",
    "follower.after_send",
    "follower.after_tell",
];

/// Bugs that a process can be told to have.
pub const SABOTAGES: &[&str] = &[
    "new_key_per_try",
    "ack_before_settle_no_sweep",
    "no_epoch_guard",
    "no_sweep",
    "no_confirms_no_sweep",
    "settle_outside_transaction",
    "fail_without_void",
    "synchronous_commit_off",
    "repeat_is_new",
    "breaker_open_is_attempt",
    "new_key_per_refund",
    "deadline_without_guard",
    "failed_addition_stays",
    "event_left_out",
    "event_not_counted",
    "event_wrong_amount",
    "claim_after_call",
    "queue_row_stays",
    "payment_unguarded",
    "cursor_before_effects",
    "delivered_before_sent",
    "newest_first",
    "told_before_confirmed",
];

#[cfg(feature = "chaos")]
pub use armed::{check, crash_point, sabotaged};

/// Refuses a bug that nobody knows, before anything else is done: whoever looks whether a program is armed needs no settings for it.
/// Empty without the feature.
#[cfg(not(feature = "chaos"))]
#[inline(always)]
pub fn check() {}

/// Dies here, if this is the place and the time. Empty without the feature.
#[cfg(not(feature = "chaos"))]
#[inline(always)]
pub fn crash_point(_place: &str) {}

/// Whether this bug is to be had. `false` without the feature, known to the compiler.
#[cfg(not(feature = "chaos"))]
#[inline(always)]
pub const fn sabotaged(_bug: &str) -> bool {
    false
}

#[cfg(feature = "chaos")]
mod armed {
    use std::path::Path;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use super::{CRASH_POINTS, SABOTAGES};

    /// Between looks for the gate, and how often: nobody who is still there lets a process stand for five seconds.
    const LOOK_EVERY: Duration = Duration::from_millis(5);
    const LOOKS: u32 = 1_000;

    /// What the environment says: `CRASH_POINT=place:hits`, `CRASH_MARKER=file`, `CRASH_GATE=file`, `SABOTAGE=bug`.
    struct Orders {
        crash_point: Option<(String, u64)>,
        marker: Option<String>,
        gate: Option<String>,
        sabotage: Option<String>,
    }

    static ORDERS: OnceLock<Orders> = OnceLock::new();
    static HITS: AtomicU64 = AtomicU64::new(0);

    #[expect(clippy::disallowed_methods, reason = "test builds only; no setting of the product")]
    fn var(name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn sabotage() -> Option<String> {
        var("SABOTAGE")
            .inspect(|bug| assert!(SABOTAGES.contains(&bug.as_str()), "SABOTAGE={bug} names no bug"))
    }

    /// Refuses a bug that nobody knows, before anything else is done.
    pub fn check() {
        sabotage();
    }

    fn orders() -> &'static Orders {
        ORDERS.get_or_init(|| {
            let crash_point = var("CRASH_POINT").map(|text| {
                let (place, hits) = text.split_once(':').unwrap_or((&text, "1"));
                assert!(CRASH_POINTS.contains(&place), "CRASH_POINT={text} names no crash point");
                (place.to_owned(), hits.parse().expect("CRASH_POINT=place:hits"))
            });
            let sabotage = sabotage();
            if let Some(bug) = &sabotage {
                tracing::error!(bug, "sabotaged: this process has a bug on purpose");
            }
            Orders { crash_point, marker: var("CRASH_MARKER"), gate: var("CRASH_GATE"), sabotage }
        })
    }

    /// Dies here, if this is the place and the time: leaves its name in the marker file and aborts, which is as
    /// sudden as a kill. Where there is to be a gate, it stands here, with all that it holds, until that file is there.
    pub fn crash_point(place: &str) {
        debug_assert!(CRASH_POINTS.contains(&place), "{place} is not in CRASH_POINTS");
        let orders = orders();
        let Some((wanted, hits)) = &orders.crash_point else { return };
        if wanted == place && HITS.fetch_add(1, Ordering::SeqCst) + 1 == *hits {
            if let Some(marker) = &orders.marker {
                let _ = std::fs::write(marker, place);
            }
            if let Some(gate) = &orders.gate {
                stand_still(Path::new(gate));
            }
            std::process::abort();
        }
    }

    #[expect(clippy::disallowed_methods, reason = "whoever dies here does nothing else any more")]
    fn stand_still(gate: &Path) {
        for _ in 0..LOOKS {
            if gate.exists() {
                return;
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Whether this bug is to be had.
    pub fn sabotaged(bug: &str) -> bool {
        debug_assert!(SABOTAGES.contains(&bug), "{bug} is not in SABOTAGES");
        orders().sabotage.as_deref() == Some(bug)
    }
}
