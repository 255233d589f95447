//! What `/metrics` says of this process's queues and connections, looked at once a second: counting them at every
//! order would cost more than they tell.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use domain::message::PaymentsDue;
use runtime::tasks::Stop;
use store::reads::Reads;
use tokio::sync::mpsc;

use crate::orders::writer::AcceptDesk;

const EVERY: Duration = Duration::from_secs(1);

/// Looks until `stop`.
pub(crate) async fn run(
    accept: AcceptDesk,
    hints: mpsc::Sender<PaymentsDue>,
    reads: Arc<Reads>,
    stop: Stop,
) -> Result<()> {
    let waiting_orders = metrics::gauge!("accept_waiting_orders");
    let waiting_batches = metrics::gauge!("publish_waiting_batches");
    let idle = metrics::gauge!("read_connections", "state" => "idle");
    let used = metrics::gauge!("read_connections", "state" => "used");
    let mut tick = tokio::time::interval(EVERY);
    while stop.or_stopped(tick.tick()).await.is_some() {
        waiting_orders.set(count(accept.waiting()));
        waiting_batches.set(count(hints.max_capacity() - hints.capacity()));
        let (size, free) = reads.connections();
        idle.set(count(free));
        used.set(count(size.saturating_sub(free)));
    }
    Ok(())
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
