//! The worker: claims payments, charges them, settles them, and sweeps up what is due. Stateless; run as many as you
//! like. What one drops by dying, the lease hands to another.

pub mod aside;
pub mod charge;
pub mod claim;
pub mod config;
pub mod consume;
pub mod gateway;
pub mod policy;
pub mod settle;
pub mod sweep;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use broker::Broker;
use runtime::tasks::{Crew, Stop};
use store::Database;
use store::claim::Terms;

use crate::charge::{ChargeMetrics, Till};
use crate::claim::Claimer;
use crate::config::{MAX_SETTLE, SETTLE_LANES, WorkerSettings};
use crate::consume::Consumption;
use crate::gateway::Gateway;
use crate::gateway::breaker::Breaker;
use crate::policy::RetryPolicy;
use crate::settle::{SettleLane, Settler};
use crate::sweep::Chores;
use crate::sweep::due::Sweep;
use crate::sweep::facts::Facts;

/// What a worker needs, already opened.
#[derive(Debug)]
pub struct Worker {
    /// Where it claims and settles; the schema is in place.
    pub database: Database,
    /// Where it takes messages.
    pub broker: Broker,
    /// How it does all that.
    pub settings: WorkerSettings,
}

/// A till and the lane in which its settlements gather.
pub fn till(settings: &WorkerSettings) -> Result<(Arc<Till>, SettleLane)> {
    // As many may wait as can be in hand: handing in never blocks for long.
    let capacity = usize::from(settings.worker_concurrency) * 2;
    let (settle, lane) = runtime::batch::desk(capacity, MAX_SETTLE);
    let till = Till {
        gateway: Gateway::of(settings)?,
        breaker: Breaker::new(settings.circuit_breaker_failure_threshold, settings.circuit_breaker_recovery),
        settle,
        policy: RetryPolicy {
            delays: settings.delays(),
            budget: i32::from(settings.payment_retry_attempts),
            refused_refund: settings.refund_retry,
        },
        send_within: settings.lease.saturating_sub(settings.gateway_timeout),
        metrics: ChargeMetrics::new(),
    };
    Ok((Arc::new(till), lane))
}

/// Works until `stop`; then takes nothing more, finishes what is in hand, and returns.
pub async fn run(worker: Worker, stop: Stop) -> Result<()> {
    let Worker { database, broker, settings } = worker;
    settings.check()?;
    runtime::trace::declare_metrics();
    let (till, lane) = till(&settings)?;
    let sessions = database.sessions(usize::from(settings.worker_database_connections));
    let terms = Terms { lease: settings.lease, age: Some(settings.payment_deadline) };
    let consumption = Consumption::new(Claimer::new(sessions.session(), terms), Arc::clone(&till), &settings);
    let sweep = Sweep::new(Claimer::new(sessions.session(), terms), till, &settings);

    let facts = Facts::new(sessions.session(), broker.clone(), consumption.in_hand(), sweep.in_hand());

    let mut crew = Crew::new(stop.clone());
    crew.spawn("facts", facts.run(stop.clone()));
    for _ in 0..SETTLE_LANES {
        let settler = Settler::new(lane.clone(), sessions.session(), settings.accept_deadline);
        crew.spawn("settle", settler.run());
    }
    drop(lane);
    crew.spawn("chores", Chores::new(sessions.session(), &settings).run(stop.clone()));
    crew.spawn("consume", consumption.run(broker, stop.clone()));
    crew.spawn("sweep", sweep.run(stop));
    // A request that was just sent, its settlement, and a little more.
    crew.run(settings.gateway_timeout + Duration::from_secs(5)).await
}
