//! What an order makes happen: statements and their batches, as the programs' own metrics count them, and bytes of
//! PostgreSQL's log. Unlike times these hardly depend on the machine's mood.
#![expect(clippy::float_arithmetic, reason = "statistics; no money passes here")]

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use reconcile::connect;
use serde::Serialize;
use sqlx::Connection as _;

use crate::load::Connection;

/// Counted up to now.
#[derive(Debug)]
pub(super) struct Counts {
    wal_bytes: i64,
    histograms: BTreeMap<String, Histogram>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Histogram {
    count: f64,
    sum: f64,
}

/// What an order made happen.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Traffic {
    /// Bytes of write-ahead log.
    pub wal_bytes_per_order: f64,
    /// By the name of the programs' histograms: `accept_batch_size`, `settle_commit_seconds`, ...
    pub histograms: BTreeMap<String, Mean>,
}

/// What a histogram counted.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Mean {
    /// How often, for each thousand orders.
    pub per_1000_orders: f64,
    /// Orders for a `_batch_size`, seconds for `_seconds`.
    pub mean: f64,
}

impl Counts {
    /// Looks now.
    pub(super) async fn now(database_url: &str, metrics: &[SocketAddr]) -> Result<Self> {
        let mut conn = connect(database_url).await?;
        let wal_bytes =
            sqlx::query_scalar("SELECT (pg_current_wal_lsn() - '0/0')::bigint").fetch_one(&mut conn);
        let wal_bytes = wal_bytes.await?;
        conn.close().await?;
        let mut histograms = BTreeMap::new();
        for addr in metrics {
            read(&page(*addr).await?, &mut histograms);
        }
        Ok(Self { wal_bytes, histograms })
    }

    /// What has happened since `before`, for `orders` orders.
    pub(super) fn since(&self, before: &Self, orders: u64) -> Traffic {
        let orders = orders.max(1) as f64;
        let mean = |(name, now): (&String, &Histogram)| {
            let before = before.histograms.get(name).copied().unwrap_or_default();
            let (count, sum) = (now.count - before.count, now.sum - before.sum);
            let mean = if count > 0.0 { sum / count } else { 0.0 };
            (name.clone(), Mean { per_1000_orders: count * 1_000.0 / orders, mean })
        };
        Traffic {
            wal_bytes_per_order: (self.wal_bytes - before.wal_bytes) as f64 / orders,
            histograms: self.histograms.iter().map(mean).collect(),
        }
    }
}

async fn page(addr: SocketAddr) -> Result<String> {
    let request = format!("GET /metrics HTTP/1.1\r\nhost: {addr}\r\n\r\n");
    let mut connection = Connection::open(addr).await?;
    let answer = connection.ask(request.as_bytes()).await.context("no metrics")?;
    ensure!(answer.status == 200, "/metrics answered {}", answer.status);
    Ok(String::from_utf8(answer.body.to_vec())?)
}

/// A histogram's buckets: upper bounds, and how many were up to each; from all these pages together.
pub(super) async fn buckets(metrics: &[SocketAddr], name: &str) -> Result<Vec<(f64, f64)>> {
    let start = format!("{name}_bucket{{le=\"");
    let mut buckets: Vec<(f64, f64)> = Vec::new();
    for addr in metrics {
        for line in page(*addr).await?.lines() {
            let Some((bound, count)) = line.strip_prefix(&start).and_then(|rest| rest.split_once("\"} "))
            else {
                continue;
            };
            let (bound, count): (f64, f64) = (bound.parse()?, count.parse()?);
            match buckets.iter_mut().find(|(other, _)| *other == bound) {
                Some((_, sum)) => *sum += count,
                None => buckets.push((bound, count)),
            }
        }
    }
    Ok(buckets)
}

/// Histograms without labels: `NAME_sum 1.5` and `NAME_count 3`.
fn read(page: &str, histograms: &mut BTreeMap<String, Histogram>) {
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let Some((name, value)) = line.split_once(' ') else { continue };
        let Ok(value) = value.parse::<f64>() else { continue };
        if let Some(name) = name.strip_suffix("_sum") {
            histograms.entry(name.to_owned()).or_default().sum += value;
        } else if let Some(name) = name.strip_suffix("_count") {
            histograms.entry(name.to_owned()).or_default().count += value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_is_the_difference() {
        let page = |sum, count| {
            format!("# TYPE a histogram\na_bucket{{le=\"1\"}} 9\na_sum {sum}\na_count {count}\nb 7\n")
        };
        let counts = |sum, count, wal_bytes| {
            let mut histograms = BTreeMap::new();
            read(&page(sum, count), &mut histograms);
            Counts { wal_bytes, histograms }
        };
        let traffic = counts(1_010, 60, 5_000).since(&counts(10, 10, 1_000), 500);
        assert_eq!(traffic.wal_bytes_per_order, 8.0);
        assert_eq!(traffic.histograms.len(), 1);
        assert_eq!((traffic.histograms["a"].per_1000_orders, traffic.histograms["a"].mean), (100.0, 20.0));
    }
}
