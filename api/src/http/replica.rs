//! The replica, looked at once a second: whether reads may go there.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use runtime::tasks::Stop;
use store::reads::Reads;

const EVERY: Duration = Duration::from_secs(1);

/// Looks until `stop`.
pub(crate) async fn run(reads: Arc<Reads>, stop: Stop) -> Result<()> {
    let mut tick = tokio::time::interval(EVERY);
    while stop.or_stopped(tick.tick()).await.is_some() {
        reads.look().await;
        let behind = reads.replica().map_or(Duration::ZERO, |(_, behind)| behind);
        metrics::gauge!("read_replica_behind_seconds").set(behind);
    }
    Ok(())
}
