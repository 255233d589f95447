//! The arrivals: orders come at a steady rate, whatever the answers, and each lives on after its 202.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use anyhow::{Context, Result};
use runtime::tasks::Stop;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::client::Client;
use crate::hear::Streams;
use crate::order::Order;
use crate::plan::Plan;
use crate::tally::Tally;
use crate::told::Told;

/// Orders under way at once to their 202: some seconds' worth, so that an outage does not stop the arrivals.
const UNDER_WAY: usize = 2_048;
/// Arrivals are handed out this often.
const TICK: Duration = Duration::from_millis(10);

/// Sends orders until all are sent or `enough`; returns when each is answered and nobody does anything more with it, or
/// given up because `stop` came. `watchers` watch some of them.
pub async fn send(
    plan: &Plan,
    watchers: Option<&Arc<Streams>>,
    tally: &Arc<Tally>,
    told: Sender<Told>,
    enough: &Stop,
    stop: &Stop,
) -> Result<()> {
    let client = Arc::new(Client::new(&plan.apis, &plan.tokens, tally, stop)?);
    // Ends with this function.
    let mut balancing = JoinSet::new();
    for (place, addr) in plan.apis.iter().enumerate() {
        balancing.spawn(Arc::clone(&client).watch(place, format!("http://{addr}/ready")));
    }
    let room = Arc::new(Semaphore::new(UNDER_WAY));
    let mut under_way = JoinSet::new();
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let started = Instant::now();
    let mut number = 0;
    'sending: while number < plan.orders {
        if enough.or_stopped(tick.tick()).await.is_none() {
            break;
        }
        let millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let due = plan.orders.min(millis.saturating_mul(plan.rate.into()) / 1_000);
        while number < due {
            let Some(place) = enough.or_stopped(Arc::clone(&room).acquire_owned()).await else {
                break 'sending;
            };
            let order = Order::new(number, plan);
            let (client, told, watchers) = (Arc::clone(&client), told.clone(), watchers.cloned());
            Tally::count(&tally.offered);
            under_way.spawn(async move {
                let accepted = client.see_through(&order, &told).await;
                drop((place, told));
                let Some(id) = accepted else { return };
                let watched = async {
                    match watchers {
                        Some(watchers) => watchers.watch(&client, order.number, id).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = client.live(&order, id) => {}
                    never = watched => never,
                }
            });
            number += 1;
        }
        while under_way.try_join_next().transpose().context("a client panicked")?.is_some() {}
    }
    drop(told);
    while under_way.join_next().await.transpose().context("a client panicked")?.is_some() {}
    Ok(())
}
