//! Metrics cost no memory that grows, whether anybody asks for them or not. One test, because there is one recorder a
//! process.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use runtime::config::TelemetryConfig;
use runtime::tasks::Stop;
use runtime::telemetry::{open_metrics, run_metrics};

/// Kept, they would be 24 bytes each: 48 MB.
const SAMPLES: u32 = 2_000_000;
/// What a process may take of memory beside.
const SPARE: u64 = 16 << 20;

#[derive(Debug, Parser)]
struct Settings {
    #[command(flatten)]
    telemetry: TelemetryConfig,
}

fn settings(metrics_addr: &str) -> TelemetryConfig {
    Settings::parse_from(["test", "--metrics-addr", metrics_addr]).telemetry
}

/// Bytes of memory that this process has.
fn resident() -> Result<u64> {
    let sizes = fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = sizes.split(' ').nth(1).context("no second number")?.parse()?;
    Ok(pages * 4096)
}

fn record(samples: u32) {
    let histogram = metrics::histogram!("settle_commit_seconds");
    for _ in 0..samples {
        histogram.record(0.001);
    }
}

#[test]
fn memory_stays_flat_switched_off_and_where_nobody_asks() -> Result<()> {
    assert!(open_metrics(&settings("off"), ([127, 0, 0, 1], 0).into())?.is_none());
    record(1_000);
    let before = resident()?;
    record(SAMPLES);
    let grown = resident()?.saturating_sub(before);
    ensure!(grown < SPARE, "switched off: {grown} bytes more");
    unasked()
}

#[tokio::main(flavor = "current_thread")]
async fn unasked() -> Result<()> {
    tokio::time::pause();
    let metrics = open_metrics(&settings("127.0.0.1:0"), ([127, 0, 0, 1], 0).into())?.context("it is on")?;
    let stop = Stop::new();
    let work = async {
        record(1_000);
        let before = resident()?;
        for _ in 0..20 {
            record(SAMPLES / 20);
            tokio::time::sleep(Duration::from_secs(6)).await;
        }
        let grown = resident()?.saturating_sub(before);
        stop.stop();
        ensure!(grown < SPARE, "nobody asks: {grown} bytes more");
        Ok(())
    };
    let (done, served) = tokio::join!(work, run_metrics(metrics, None, stop.clone()));
    done.and(served)
}
