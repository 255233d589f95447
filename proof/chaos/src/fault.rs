//! What can go wrong: the kinds of faults, how many of each belong to a run, and how long each lasts.

use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

use crate::settings::Settings;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// SIGKILL an api; started again after a moment
    KillApi,
    /// SIGKILL a worker; started again after a moment
    KillWorker,
    /// SIGSTOP an api, then SIGCONT
    StopApi,
    /// SIGSTOP a worker, sometimes for longer than its leases, then SIGCONT
    StopWorker,
    /// SIGKILL a follower; started again after a moment
    KillFollower,
    /// SIGSTOP a follower, then SIGCONT
    StopFollower,
    /// SIGTERM each api, worker and follower in turn, and start it again
    RollingRestart,
    /// kill -9 all of PostgreSQL at once, then start it again
    KillPostgres,
    /// SIGSTOP all of PostgreSQL, then SIGCONT
    PausePostgres,
    /// kill -9 PostgreSQL's primary, promote its standby, and let the old one follow it: only where it is asked for
    Failover,
    /// A session of nobody's holds rows of open orders: only where it is asked for
    HeldLocks,
    /// kill -9 RabbitMQ, then start it again
    KillRabbitmq,
    /// SIGSTOP RabbitMQ, then SIGCONT
    PauseRabbitmq,
    /// Reset every connection between a program and a server
    Cut,
    /// Every piece of data between a program and a server comes late
    Delay,
    /// Nothing passes between a program and a server, in either direction
    Hole,
    /// What the program sends arrives, the answers do not; then its connections are reset
    Deaf,
    /// SIGKILL the gateway; until it is back, connections are refused
    KillGateway,
    /// The gateway takes longer than the workers wait
    GatewaySlow,
    /// The gateway answers 500 with nothing done
    GatewayErrors,
    /// The gateway charges, and answers 500
    GatewayErrorAfter,
    /// The gateway charges, and never answers
    GatewayTimeoutAfter,
    /// The gateway charges, and answers what nobody can read
    GatewayGarbage,
    /// The gateway charges long after the worker gave up waiting
    GatewayLate,
    /// The gateway answers 429
    GatewayTooMany,
    /// The gateway answers 503 to everything
    GatewayDown,
    /// The gateway knows us no more: 401 to everything
    GatewayMisconfigured,
    /// The gateway answers 202, and charges after a moment
    GatewayPending,
    /// The gateway charges, and answers with a receipt of another amount
    GatewayForeignReceipt,
}

/// Whose trouble a fault is, for the latencies by phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Group {
    /// An api is dead or stopped.
    Api,
    /// A worker is dead or stopped.
    Worker,
    /// A follower is dead or stopped.
    Follower,
    /// PostgreSQL.
    Postgres,
    /// RabbitMQ.
    Rabbitmq,
    /// The gateway.
    Gateway,
    /// The network between two of them.
    Network,
}

impl Kind {
    /// Every kind, in the order of reports.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::value_variants().iter().copied()
    }

    /// Those of a run that says nothing of faults: without what needs a standby, or an operator who goes to lunch.
    pub fn everyday() -> impl Iterator<Item = Self> {
        Self::all().filter(|kind| !matches!(kind, Self::Failover | Self::HeldLocks))
    }

    /// The name, as in `--faults` and in reports.
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Whose trouble it is.
    pub const fn group(self) -> Group {
        match self {
            Self::KillApi | Self::StopApi => Group::Api,
            Self::KillWorker | Self::StopWorker | Self::RollingRestart => Group::Worker,
            Self::KillFollower | Self::StopFollower => Group::Follower,
            Self::KillPostgres | Self::PausePostgres | Self::Failover | Self::HeldLocks => Group::Postgres,
            Self::KillRabbitmq | Self::PauseRabbitmq => Group::Rabbitmq,
            Self::Cut | Self::Delay | Self::Hole | Self::Deaf => Group::Network,
            _ => Group::Gateway,
        }
    }

    /// How many of it belong to a hundred kills of api and worker. The ratios are those of the long soak run: a
    /// twentieth as many kills of each server, a fifth as many stops.
    const fn per_hundred_kills(self) -> u32 {
        match self {
            Self::KillApi => 40,
            Self::KillWorker => 60,
            Self::KillFollower => 25,
            Self::StopApi | Self::StopFollower => 7,
            Self::StopWorker => 13,
            Self::RollingRestart => 3,
            Self::KillPostgres | Self::KillRabbitmq | Self::Failover => 5,
            Self::PausePostgres | Self::PauseRabbitmq => 4,
            Self::Cut | Self::HeldLocks => 17,
            Self::Delay => 5,
            Self::Hole | Self::Deaf => 8,
            Self::KillGateway => 4,
            Self::GatewaySlow
            | Self::GatewayErrors
            | Self::GatewayErrorAfter
            | Self::GatewayTimeoutAfter
            | Self::GatewayGarbage
            | Self::GatewayLate
            | Self::GatewayTooMany
            | Self::GatewayDown
            | Self::GatewayMisconfigured
            | Self::GatewayPending
            | Self::GatewayForeignReceipt => 4,
        }
    }

    /// How many of it belong to a run with so many kills: one at least.
    pub fn count(self, kills: u32) -> u32 {
        match self {
            // What is left of the kills, so that both together are as many as asked for.
            Self::KillWorker => kills - Self::KillApi.count(kills).min(kills),
            Self::KillApi => kills * Self::KillApi.per_hundred_kills() / 100,
            _ => (kills * self.per_hundred_kills()).div_ceil(100).max(1),
        }
    }

    /// How long it lasts: between these.
    pub fn lasts(self, settings: &Settings) -> RangeInclusive<Duration> {
        let millis = |from, until| Duration::from_millis(from)..=Duration::from_millis(until);
        match self {
            Self::KillApi | Self::KillWorker | Self::KillFollower => millis(20, 1_000),
            Self::StopApi | Self::StopFollower => millis(100, 4_000),
            // Half of them outlast the lease: then somebody else charges meanwhile, and the stopped one wakes up
            // with an answer in its hand.
            Self::StopWorker => Duration::from_millis(100)..=settings.lease * 2,
            Self::RollingRestart => millis(0, 100),
            Self::KillPostgres | Self::Failover => millis(0, 1_500),
            Self::KillRabbitmq => millis(0, 1_000),
            // Beyond the 2.5 s that a writer waits, and the 2.8 s after which a client is told 503.
            Self::PausePostgres => millis(200, 4_000),
            // Beyond the 5 s that a publisher waits for its confirms.
            Self::PauseRabbitmq => millis(500, 7_000),
            // Beyond what clients wait, and a lease.
            Self::HeldLocks => millis(500, 7_000),
            Self::Cut => millis(0, 0),
            Self::Delay => millis(500, 3_000),
            Self::Hole => millis(300, 6_000),
            Self::Deaf => millis(100, 2_000),
            Self::KillGateway => millis(100, 2_500),
            _ => millis(500, 3_500),
        }
    }
}

/// A kind of fault and how often it is to strike, as `kill-worker` or `kill-worker=20`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// What.
    pub kind: Kind,
    /// How often, where that is not left to the number of kills.
    pub count: Option<u32>,
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, count) = match text.split_once('=') {
            Some((name, count)) => {
                (name, Some(count.parse().map_err(|_| format!("{count:?} is no number of faults"))?))
            }
            None => (text, None),
        };
        let unknown = |_| {
            let names: Vec<_> = Kind::all().map(Kind::name).collect();
            format!("{name:?} is none of {}", names.join(", "))
        };
        Ok(Self { kind: Kind::from_str(name, false).map_err(unknown)?, count })
    }
}

/// Longest delay of a piece of data under [`Kind::Delay`].
pub const MAX_DELAY: Duration = Duration::from_millis(300);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_wanted_as_often_as_is_said() {
        let wanted = "kill-worker=20".parse();
        assert_eq!(wanted, Ok(Wanted { kind: Kind::KillWorker, count: Some(20) }));
        assert_eq!("cut".parse(), Ok(Wanted { kind: Kind::Cut, count: None }));
        assert!("kill".parse::<Wanted>().unwrap_err().contains("kill-worker"));
        assert!("cut=x".parse::<Wanted>().is_err());
    }

    #[test]
    fn kills_of_api_and_worker_are_as_many_as_asked_for_and_every_kind_has_its_share() {
        for kills in 1..=1_000 {
            assert_eq!(Kind::KillApi.count(kills) + Kind::KillWorker.count(kills), kills);
        }
        assert!(Kind::all().all(|kind| kind.count(60) > 0));
        assert_eq!(Kind::KillPostgres.count(1_000), 50);
        assert_eq!(Kind::StopApi.count(1_000) + Kind::StopWorker.count(1_000), 200);
    }
}
