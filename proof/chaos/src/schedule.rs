//! The schedule: when which fault strikes whom, and for how long. A pure function of the seed and of what is asked
//! for, so that a run that went wrong can be had again.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use crate::fault::Kind;
use crate::fleet::{APIS, EDGES, FOLLOWERS, WORKERS};
use crate::settings::Settings;

/// Faults that last at one moment. More, and nothing works at all: then nothing is proved.
const AT_ONCE: usize = 3;
/// How long a server takes to start again, as far as the schedule cares; what really happens may take longer.
const RABBITMQ_STARTS_IN: Duration = Duration::from_secs(7);
const POSTGRES_STARTS_IN: Duration = Duration::from_secs(1);
/// A standby is promoted in a second; the other's copy takes longer.
const FAILOVER_TAKES: Duration = Duration::from_secs(6);
/// A rolling restart goes through six processes.
const ROLLING_TAKES: Duration = Duration::from_secs(5);

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// After the first order.
    pub at: Duration,
    /// What.
    pub kind: Kind,
    /// Whom, among those whom this kind can strike.
    pub target: usize,
    /// For how long; a killed process stays dead for so long.
    pub lasts: Duration,
}

impl Event {
    /// When it is over, going by what servers usually take to start.
    fn over(&self) -> Duration {
        self.at
            + self.lasts
            + match self.kind {
                Kind::KillRabbitmq => RABBITMQ_STARTS_IN,
                Kind::KillPostgres => POSTGRES_STARTS_IN,
                Kind::RollingRestart => ROLLING_TAKES,
                Kind::Failover => FAILOVER_TAKES,
                _ => Duration::ZERO,
            }
    }

    /// What it keeps busy: nothing else strikes that meanwhile.
    fn lane(&self) -> Lane {
        match self.kind {
            Kind::KillApi | Kind::StopApi => Lane::Api(self.target),
            Kind::KillWorker | Kind::StopWorker => Lane::Worker(self.target),
            Kind::KillFollower | Kind::StopFollower => Lane::Follower(self.target),
            Kind::RollingRestart => Lane::Programs,
            Kind::KillPostgres | Kind::PausePostgres | Kind::Failover => Lane::Postgres,
            Kind::KillRabbitmq | Kind::PauseRabbitmq => Lane::Rabbitmq,
            Kind::HeldLocks => Lane::Rows,
            Kind::Cut | Kind::Delay | Kind::Hole | Kind::Deaf => Lane::Edge(self.target),
            _ => Lane::Gateway,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lane {
    Api(usize),
    Worker(usize),
    Follower(usize),
    Programs,
    Postgres,
    Rabbitmq,
    Rows,
    Edge(usize),
    Gateway,
}

impl Lane {
    fn meets(self, other: Self) -> bool {
        let program =
            |lane| matches!(lane, Self::Api(_) | Self::Worker(_) | Self::Follower(_) | Self::Programs);
        self == other
            || (self == Self::Programs && program(other))
            || (other == Self::Programs && program(self))
    }
}

/// So many of each kind, spread over `span`, in an order that the seed decides.
pub fn schedule(seed: u64, counts: &[(Kind, u32)], span: Duration, settings: &Settings) -> Vec<Event> {
    let mut dice = StdRng::seed_from_u64(seed);
    let mut kinds: Vec<Kind> =
        counts.iter().flat_map(|(kind, count)| std::iter::repeat_n(*kind, *count as usize)).collect();
    kinds.shuffle(&mut dice);
    let slots = u64::try_from(kinds.len().max(1)).unwrap_or(1);
    let slot = span / u32::try_from(slots).unwrap_or(1);
    let mut events: Vec<Event> = Vec::with_capacity(kinds.len());
    let mut start = Duration::ZERO;
    for kind in kinds {
        let lasts = dice.random_range(kind.lasts(settings));
        let at = start + dice.random_range(Duration::ZERO..=slot);
        let event = Event { at, kind, target: dice.random_range(0..targets(kind)), lasts };
        events.push(after_those_in_its_way(event, &events));
        start += slot;
    }
    events.sort_by_key(|event| event.at);
    events
}

/// The event, put off until its lane is free and few enough others last.
fn after_those_in_its_way(mut event: Event, others: &[Event]) -> Event {
    loop {
        // Some last no time: those of one moment meet, too.
        let meanwhile = || others.iter().filter(|other| other.at <= event.over() && event.at <= other.over());
        let in_lane = meanwhile().filter(|other| other.lane().meets(event.lane())).map(Event::over).max();
        let busy = meanwhile().count() >= AT_ONCE;
        let first_over = meanwhile().map(Event::over).min();
        match in_lane.or(if busy { first_over } else { None }) {
            Some(free) => event.at = free + Duration::from_nanos(1),
            None => return event,
        }
    }
}

/// How many there are whom a kind can strike.
fn targets(kind: Kind) -> usize {
    match kind {
        Kind::KillApi | Kind::StopApi => APIS,
        Kind::KillWorker | Kind::StopWorker => WORKERS,
        Kind::KillFollower | Kind::StopFollower => FOLLOWERS,
        Kind::Cut | Kind::Delay | Kind::Hole | Kind::Deaf => EDGES,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Duration = Duration::from_secs(100);

    fn of(seed: u64, kills: u32) -> Vec<Event> {
        let counts: Vec<_> = Kind::everyday().map(|kind| (kind, kind.count(kills))).collect();
        schedule(seed, &counts, SPAN, &Settings::quick())
    }

    #[test]
    fn the_same_seed_makes_the_same_schedule_and_another_one_another() {
        assert_eq!(of(7, 60), of(7, 60));
        assert_ne!(of(7, 60), of(8, 60));
    }

    #[test]
    fn everything_asked_for_is_in_it_and_it_ends_about_in_time() {
        for seed in 0..20 {
            let events = of(seed, 60);
            for kind in Kind::everyday() {
                let count = events.iter().filter(|event| event.kind == kind).count();
                assert_eq!(count, kind.count(60) as usize, "{kind:?}");
            }
            let end = events.iter().map(Event::over).max().unwrap();
            assert!(end < SPAN * 3 / 2, "seed {seed}: {end:?}");
        }
    }

    #[test]
    fn nothing_is_struck_twice_at_once_and_few_are_struck_together() {
        for seed in 0..20 {
            let events = of(seed, 60);
            for (place, one) in events.iter().enumerate() {
                let meanwhile = events[place + 1..].iter().filter(|other| other.at < one.over());
                assert!(
                    meanwhile.clone().all(|other| !other.lane().meets(one.lane())),
                    "seed {seed}: {one:?}"
                );
                let at_start = events.iter().filter(|other| other.at <= one.at && one.at < other.over());
                assert!(at_start.count() <= AT_ONCE, "seed {seed}: {one:?}");
            }
        }
    }
}
