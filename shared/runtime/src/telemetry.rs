//! Logs and metrics: one subscriber, one recorder, and `/metrics` on an address of its own.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::routing::get;
pub use metrics_exporter_prometheus::PrometheusHandle as Recorder;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;

use crate::config::{LogConfig, LogFormat, TelemetryConfig};
use crate::metric_list;
use crate::serve::{ServeLimits, bind, serve};
use crate::tasks::Stop;

/// Seconds. From half a millisecond (an accept on an idle machine) to the 30 s of a lease.
const SECONDS: [f64; 16] =
    [0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.2, 2.5, 5.0, 10.0, 30.0];
/// Orders or payments in one batch: powers of two up to the largest batch.
const BATCH: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];
/// From accepted to paid: an order in a hurry, one tried thrice, one that sat out an outage of the gateway.
const ORDER_SECONDS: [f64; 16] =
    [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0];
/// Tries of a payment: three and a void are the default's most, but for those that spend nothing.
const TRIES: [f64; 8] = [1.0, 2.0, 3.0, 4.0, 5.0, 8.0, 13.0, 21.0];

/// How often samples of histograms are summed up. At ten thousand orders a second some hundred thousand gather, a few MB.
const UPKEEP: Duration = Duration::from_secs(5);

/// Sends logs to standard output. A program calls it once, first.
pub fn init_logs(config: &LogConfig) -> Result<()> {
    // lapin logs every closed channel as an error; the supervisors of ours say the same once, with the cause.
    let filter = EnvFilter::try_new(format!("{},lapin=off", config.log_level)).with_context(|| {
        format!("LOG_LEVEL={} is no log filter such as info or worker=debug", config.log_level)
    })?;
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(std::io::stdout().is_terminal());
    match config.log_format {
        LogFormat::Text => logs.with_target(false).try_init(),
        LogFormat::Json => logs.json().flatten_event(true).try_init(),
    }
    .map_err(|error| anyhow::anyhow!("cannot set up logs: {error}"))
}

/// How a program ends: a fault is one line on standard error, causes included.
pub fn exit_code(outcome: Result<()>) -> std::process::ExitCode {
    match outcome {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}

/// Installs the process-wide recorder of metrics. A program calls it once, before the first metric.
pub fn init_metrics() -> Result<Recorder> {
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_batch_size".into()), &BATCH)?
        .set_buckets_for_metric(Matcher::Full("settle_order_seconds".into()), &ORDER_SECONDS)?
        .set_buckets_for_metric(Matcher::Full("settle_tries".into()), &TRIES)?
        .install_recorder()
        .context("cannot install the metrics recorder")?;
    metric_list::describe();
    Ok(recorder)
}

/// What `/metrics` answers now.
pub fn render(recorder: &Recorder) -> String {
    metrics_process::Collector::default().collect();
    recorder.render()
}

/// Where metrics are served, by the settings; `None` where they are switched off.
pub fn metrics_addr(config: &TelemetryConfig, default: SocketAddr) -> Result<Option<SocketAddr>> {
    match config.metrics_addr.as_deref() {
        Some("off") => Ok(None),
        Some(text) => text
            .parse()
            .map(Some)
            .with_context(|| format!("METRICS_ADDR={text} is no address such as 127.0.0.1:9100")),
        None => Ok(Some(default)),
    }
}

/// Metrics that are served.
#[derive(Debug)]
pub struct Metrics {
    listener: TcpListener,
    recorder: Recorder,
}

impl Metrics {
    /// Where.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Opens the metrics address and installs the recorder: once, before the first metric. Where metrics are switched off there is
/// neither: a recorder that nobody looks after keeps every sample for ever.
pub fn open_metrics(config: &TelemetryConfig, default: SocketAddr) -> Result<Option<Metrics>> {
    let Some(addr) = metrics_addr(config, default)? else { return Ok(None) };
    Ok(Some(Metrics { listener: bind(addr, "METRICS_ADDR")?, recorder: init_metrics()? }))
}

/// Serves `/metrics` until `stop`, and `/health`, which answers for as long as the process does; and whatever else a
/// program has for its operators and for nobody else.
pub async fn run_metrics(metrics: Metrics, internal: Option<Router>, stop: Stop) -> Result<()> {
    let Metrics { listener, recorder: handle } = metrics;
    tracing::info!("metrics at http://{}/metrics", listener.local_addr()?);
    let upkeep = handle.clone();
    let page = Router::new()
        .route("/metrics", get(move || std::future::ready(render(&handle))))
        .route("/health", get(async || "ok"))
        .merge(internal.unwrap_or_default());
    let upkeep_loop = async {
        // Without it the recorder keeps every histogram sample until the next scrape, which may never come.
        let mut tick = tokio::time::interval(UPKEEP);
        while stop.or_stopped(tick.tick()).await.is_some() {
            upkeep.run_upkeep();
        }
    };
    tokio::join!(serve(listener, page, ServeLimits::default(), stop.clone()), upkeep_loop);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    #[tokio::test]
    async fn health_answers_while_every_place_of_the_public_address_is_taken() -> Result<()> {
        async fn first_line(stream: &mut TcpStream) -> Result<String> {
            let mut answer = [0; 15];
            stream.read_exact(&mut answer).await?;
            Ok(String::from_utf8_lossy(&answer).into_owned())
        }
        const ASK: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

        let (public, metrics) =
            (bind(([127, 0, 0, 1], 0).into(), "A")?, bind(([127, 0, 0, 1], 0).into(), "B")?);
        let (public_addr, metrics_addr) = (public.local_addr()?, metrics.local_addr()?);
        let stop = Stop::new();
        let limits = ServeLimits { max_connections: 1, linger: Duration::ZERO, ..ServeLimits::default() };
        let app = Router::new().route("/", get(async || "here"));
        let metrics =
            Metrics { listener: metrics, recorder: PrometheusBuilder::new().build_recorder().handle() };
        let clients = async {
            // It is answered, so it has the only place; the next one waits in the kernel.
            let mut first = TcpStream::connect(public_addr).await?;
            first.write_all(ASK).await?;
            assert_eq!(first_line(&mut first).await?, "HTTP/1.1 200 OK");
            let mut second = TcpStream::connect(public_addr).await?;
            second.write_all(ASK).await?;
            let early = tokio::time::timeout(Duration::from_millis(50), second.readable()).await;
            assert!(early.is_err(), "there is one place");
            tokio::task::spawn_blocking(move || crate::health::ask(metrics_addr, "/health")).await??;
            drop(first);
            assert_eq!(first_line(&mut second).await?, "HTTP/1.1 200 OK");
            anyhow::Ok(())
        };
        let clients = async {
            let done = clients.await;
            stop.stop();
            done
        };
        let served = serve(public, app, limits, stop.clone());
        let (done, (), metrics) = tokio::join!(clients, served, run_metrics(metrics, None, stop.clone()));
        metrics.and(done)
    }
}
