//! How the feed is read, how much of it is walked through, and each safeguard that may be taken away.

use super::Feed;
use super::promises::{GONE_IS_TOLD, NOTHING_ROLLED_BACK, NOTHING_SKIPPED, NOTHING_TWICE, VERSIONS_IN_ORDER};

/// The feed. The default is how it should be; each switch leaves one thing out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Design {
    /// No ticks: the cursor is the highest id that was seen, and whatever is committed above it is read.
    pub last_id_seen: bool,
    /// No ticks: what is below xmin is read, by id.
    pub below_xmin_by_id: bool,
    /// A tick notes xmin, not the whole snapshot.
    pub tick_by_xmin: bool,
    /// Inside a tick events are read by id, not by subject and version.
    pub by_id_inside_a_tick: bool,
    /// Of several ticks at once, a page may hold the first event alone, and the cursor stands behind that one in the last tick.
    pub through_cut_short: bool,
    /// Several ticks are read at once from within one, as if that one were read.
    pub through_from_within: bool,
    /// Several ticks are read at once, by id.
    pub through_by_id: bool,
    /// Two may take a tick at once.
    pub tick_without_lock: bool,
    /// Who takes a tick waits for the lock with a snapshot in hand.
    pub snapshot_before_lock: bool,
    /// A tick's number comes from a sequence. Else it is one more than the highest in the tick's own snapshot, and unique.
    pub number_apart: bool,
    /// Two may read by one cursor at once.
    pub follower_without_lock: bool,
    /// The cursor is committed first, what the page led to in a second transaction.
    pub cursor_before_effects: bool,
    /// The other way round.
    pub cursor_after_effects: bool,
    /// A writer hands its event over itself, before it commits.
    pub handed_over: bool,
    /// What a page led to is kept elsewhere, where no loss of the primary undoes it; the cursor is not.
    pub effects_elsewhere: bool,
    /// A cursor is taken as it comes.
    pub resume_unchecked: bool,
    /// Of a cursor, its last event is looked for, but not its tick.
    pub tick_unchecked: bool,
    /// Its tick, but not its last event.
    pub event_unchecked: bool,
    /// Its tick is known by number and snapshot, not by its time.
    pub time_unchecked: bool,
    /// Row locks go before their transaction leaves the list of those that run. Not ours to switch: what we rely on.
    pub locks_go_first: bool,
}

impl Design {
    /// Whether there are ticks at all.
    pub(super) const fn ticks(&self) -> bool {
        !self.last_id_seen && !self.below_xmin_by_id
    }
}

/// How much is walked through. Every state within it is visited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Of each transaction, the subjects that it writes an event of, one after the other. One that writes none is somebody
    /// else's: it has an id, and runs for as long as it likes. Those that write the same stand side by side.
    pub transactions: &'static [&'static [u8]],
    /// Whether the primary may be lost, and what with it.
    pub loss: Loss,
}

/// The primary may be lost, once. Its standby takes over with as much of the log as had got there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// It is not.
    Never,
    /// It may; the reader keeps its cursor, and what it has read, elsewhere.
    CursorOutside,
    /// It may; cursor and effects stand in the database, and in its log.
    CursorInside,
}

impl Scope {
    /// All of them, by name.
    pub const ALL: [(&'static str, Self); 4] =
        [("one", Self::ONE), ("two", Self::TWO), ("outside", Self::OUTSIDE), ("inside", Self::INSIDE)];
    /// One subject that three write to.
    pub const ONE: Self = Self { transactions: &[&[0], &[0], &[0], &[]], loss: Loss::Never };
    /// Two subjects, and one transaction that writes both.
    pub const TWO: Self = Self { transactions: &[&[0, 1], &[0], &[1], &[]], loss: Loss::Never };
    /// Two subjects, a primary that may be lost, and a reader that keeps its cursor elsewhere.
    pub const OUTSIDE: Self = Self { transactions: &[&[0], &[0], &[1]], loss: Loss::CursorOutside };
    /// The same with a reader of ours.
    pub const INSIDE: Self = Self { loss: Loss::CursorInside, ..Self::OUTSIDE };

    /// Whether a loss is to be walked through.
    pub(super) fn may_lose(&self) -> bool {
        self.loss != Loss::Never
    }
}

/// Each safeguard that may be taken away, with the promise that then falls.
pub fn weakenings() -> Vec<(&'static str, Feed, &'static str)> {
    let full = Design::default();
    let one = |name, falls, design| (name, Feed { design, scope: Scope::ONE }, falls);
    let two = |name, falls, design| (name, Feed { design, scope: Scope::TWO }, falls);
    let outside = |name, falls, design| (name, Feed { design, scope: Scope::OUTSIDE }, falls);
    let inside = |name, falls, design| (name, Feed { design, scope: Scope::INSIDE }, falls);
    vec![
        one("last_id_seen", NOTHING_SKIPPED, Design { last_id_seen: true, ..full }),
        one("below_xmin_by_id", VERSIONS_IN_ORDER, Design { below_xmin_by_id: true, ..full }),
        one("tick_by_xmin", VERSIONS_IN_ORDER, Design { tick_by_xmin: true, ..full }),
        one("by_id_inside_a_tick", VERSIONS_IN_ORDER, Design { by_id_inside_a_tick: true, ..full }),
        two("through_cut_short", NOTHING_SKIPPED, Design { through_cut_short: true, ..full }),
        two("through_from_within", NOTHING_SKIPPED, Design { through_from_within: true, ..full }),
        one("through_by_id", VERSIONS_IN_ORDER, Design { through_by_id: true, ..full }),
        one(
            "tick_without_lock_and_number_apart",
            NOTHING_SKIPPED,
            Design { tick_without_lock: true, number_apart: true, ..full },
        ),
        one(
            "snapshot_before_lock_and_number_apart",
            NOTHING_TWICE,
            Design { snapshot_before_lock: true, number_apart: true, ..full },
        ),
        one("follower_without_lock", NOTHING_TWICE, Design { follower_without_lock: true, ..full }),
        one("cursor_before_effects", NOTHING_SKIPPED, Design { cursor_before_effects: true, ..full }),
        one("cursor_after_effects", NOTHING_TWICE, Design { cursor_after_effects: true, ..full }),
        two("handed_over", NOTHING_ROLLED_BACK, Design { handed_over: true, ..full }),
        one("locks_go_first", VERSIONS_IN_ORDER, Design { locks_go_first: true, ..full }),
        inside("effects_elsewhere", NOTHING_TWICE, Design { effects_elsewhere: true, ..full }),
        outside("resume_unchecked", NOTHING_SKIPPED, Design { resume_unchecked: true, ..full }),
        outside("tick_unchecked", NOTHING_SKIPPED, Design { tick_unchecked: true, ..full }),
        outside("time_unchecked", GONE_IS_TOLD, Design { time_unchecked: true, ..full }),
    ]
}
