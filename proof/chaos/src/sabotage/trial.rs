//! The schedules that make each bug show: what breaks, how the programs are set, and how many orders there are.

use std::time::Duration;

use crate::fault::Kind;
use crate::fleet::FOLLOWERS;
use crate::settings::{Gateway, Settings};

/// How a bug is made to show.
#[derive(Debug, Clone)]
pub(super) struct Trial {
    pub(super) name: &'static str,
    pub(super) bug: Option<&'static str>,
    pub(super) counts: Vec<(Kind, u32)>,
    pub(super) settings: Settings,
    pub(super) orders: u64,
    pub(super) rate: u32,
    pub(super) followers: usize,
}

impl Trial {
    /// What shows this bug.
    pub(super) fn of(bug: &'static str) -> Self {
        let quick = Settings {
            lease: Duration::from_millis(2_000),
            gateway_timeout: Duration::from_millis(800),
            publish_grace: Duration::from_millis(600),
            retry_max: Duration::from_secs(1),
            accept_deadline: Duration::from_secs(2),
            gateway: Gateway::WELL,
            ..Settings::quick()
        };
        let well = Self {
            name: bug,
            bug: Some(bug),
            counts: Vec::new(),
            settings: quick,
            orders: 1_200,
            rate: 150,
            followers: 0,
        };
        let gateway = |gateway: Gateway| Settings { gateway, ..well.settings.clone() };
        match bug {
            // Any second try: the first one charged.
            "new_key_per_try" => {
                Self { settings: gateway(Gateway { error_after: 0.1, ..Gateway::WELL }), orders: 600, ..well }
            }
            // What a worker had in hand when it died, nobody has any more.
            "ack_before_settle_no_sweep" => Self { counts: vec![(Kind::KillWorker, 5)], ..well },
            // A worker that sleeps longer than its lease wakes up and settles what another one has settled.
            "no_epoch_guard" => Self {
                counts: vec![(Kind::StopWorker, 6)],
                settings: gateway(Gateway { latency_min_ms: 200, latency_max_ms: 600, ..Gateway::WELL }),
                ..well
            },
            // A worker that dies between its call and its settlement leaves no trace of the try.
            "claim_after_call" => Self { counts: vec![(Kind::KillWorker, 5)], ..well },
            // Any charge: it is a payment, and is taken to the gateway again when its lease is over.
            "queue_row_stays" => Self { orders: 600, ..well },
            // A worker that sleeps longer than its lease wakes up and writes the payment of which another has the queue row.
            "payment_unguarded" => Self {
                counts: vec![(Kind::StopWorker, 6)],
                settings: gateway(Gateway { latency_min_ms: 200, latency_max_ms: 600, ..Gateway::WELL }),
                ..well
            },
            // What is to be tried again, is not.
            "no_sweep" => {
                Self { settings: gateway(Gateway { error: 0.05, ..Gateway::WELL }), orders: 600, ..well }
            }
            // What was under way to the broker when it died, is nowhere.
            "no_confirms_no_sweep" => Self { counts: vec![(Kind::KillRabbitmq, 1)], ..well },
            // Killed between the payment's move and its order's. This bug settles 50 payments a second.
            "settle_outside_transaction" => {
                Self { counts: vec![(Kind::KillWorker, 8)], rate: 80, orders: 800, ..well }
            }
            // Charged and in doubt, twice in a row.
            "fail_without_void" => Self {
                settings: Settings {
                    retry_attempts: 2,
                    breaker_threshold: 10_000,
                    ..gateway(Gateway { error_after: 0.6, ..Gateway::WELL })
                },
                orders: 600,
                ..well
            },
            // Only the death of all of PostgreSQL at once forgets commits, the last fraction of a second of them.
            "synchronous_commit_off" => {
                Self { counts: vec![(Kind::KillPostgres, 4)], rate: 300, orders: 3_000, ..well }
            }
            // A dead worker's messages come again.
            "repeat_is_new" => Self { counts: vec![(Kind::KillWorker, 5)], ..well },
            // Claimed just before the breaker opened: with a budget of one try, that was it.
            "breaker_open_is_attempt" => Self {
                counts: vec![(Kind::GatewayDown, 8)],
                settings: Settings {
                    retry_attempts: 1,
                    breaker_threshold: 2,
                    breaker_recovery: Duration::from_millis(300),
                    ..well.settings.clone()
                },
                orders: 1_800,
                ..well
            },
            // Any second try of a refund: the first one gave the money back.
            "new_key_per_refund" => {
                Self { settings: gateway(Gateway { error_after: 0.1, ..Gateway::WELL }), orders: 600, ..well }
            }
            // The kitchen takes most orders, and two seconds later they are late.
            "deadline_without_guard" => Self { orders: 600, ..well },
            // One addition in five is declined.
            "failed_addition_stays" => {
                Self { settings: gateway(Gateway { success: 0.8, ..Gateway::WELL }), orders: 600, ..well }
            }
            // A follower that dies between its cursor and what the events behind it led to.
            "cursor_before_effects" => {
                Self { counts: vec![(Kind::KillFollower, 12)], rate: 80, followers: FOLLOWERS, ..well }
            }
            // One endpoint in five is not there half of the time.
            "delivered_before_sent" => Self { orders: 600, rate: 80, followers: 1, ..well },
            // Any order of which several events wait: endpoints that are not there see to that.
            "newest_first" => Self { orders: 600, rate: 80, followers: 1, ..well },
            // What was under way to the exchange when the broker died, is nowhere.
            "told_before_confirmed" => {
                Self { counts: vec![(Kind::KillRabbitmq, 2)], rate: 80, followers: 1, ..well }
            }
            // A bug that is new here meets a little of everything.
            _ => Self { name: bug, bug: Some(bug), ..Self::control() },
        }
    }

    /// No bug, and a little of everything.
    pub(super) fn control() -> Self {
        let counts = Kind::everyday().map(|kind| (kind, kind.count(4))).collect();
        Self {
            name: "a little of everything",
            bug: None,
            counts,
            settings: Settings::quick(),
            orders: 4_000,
            rate: 150,
            followers: FOLLOWERS,
        }
    }

    /// Whether it kills or stops a server: who does that does it to everybody.
    pub(super) fn needs_servers_for_itself(&self) -> bool {
        self.counts.iter().any(|(kind, _)| {
            matches!(
                kind,
                Kind::KillPostgres | Kind::PausePostgres | Kind::KillRabbitmq | Kind::PauseRabbitmq
            )
        })
    }
}
