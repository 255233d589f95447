//! Where spans go: a bounded queue, and one task that sends what gathered to an OTLP collector. Recording never waits
//! and never fails: what does not fit, or cannot be sent, is counted and lost.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use metrics::Counter;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    Sampler, SdkTracerProvider, Span, SpanData, SpanExporter as _, SpanProcessor,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::TRACER;
use crate::config::TraceConfig;
use crate::tasks::Stop;

/// Spans that may wait to be sent: about 8 MB, a second of what a collector on the same machine takes.
const QUEUE: usize = 8_192;
/// Spans in one request: about half a megabyte; collectors take four.
const BATCH: usize = 1_024;
/// How long spans gather: a request for each would cost more than what it tells about.
const GATHER: Duration = Duration::from_millis(200);
/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long a stop waits for the last spans. Traces are worth no more.
const LAST: Duration = Duration::from_secs(3);

/// The task that sends. Dropped, it goes on until the process ends; [`Exporter::finish`] sends the last spans.
#[derive(Debug)]
pub struct Exporter {
    stop: Stop,
    task: JoinHandle<()>,
}

/// What `/metrics` shows of spans, from the start.
pub fn declare_metrics() {
    for outcome in ["sent", "failed", "dropped"] {
        spans(outcome).increment(0);
    }
}

fn spans(outcome: &'static str) -> Counter {
    metrics::counter!("trace_spans_total", "outcome" => outcome)
}

impl Exporter {
    /// Switches traces on, where the settings name a collector. `program` is the service's name if they give none.
    /// Within a runtime, and once in a process.
    pub fn start(config: &TraceConfig, program: &'static str) -> Result<Option<Self>> {
        let Some(endpoint) = config.otlp_endpoint.as_deref().filter(|url| !url.is_empty()) else {
            return Ok(None);
        };
        let service = config.service_name.as_deref().filter(|name| !name.is_empty()).unwrap_or(program);
        let resource = Resource::builder().with_service_name(service.to_owned()).build();
        let mut exporter = exporter(endpoint)?;
        exporter.set_resource(&resource);
        let (queue, waiting) = mpsc::channel(QUEUE);
        let provider = SdkTracerProvider::builder()
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(config.sampled_share))))
            .with_resource(resource)
            .with_span_processor(Queue { queue, full: AtomicBool::new(false), dropped: spans("dropped") })
            .build();
        if TRACER.set(provider.tracer("comanda")).is_err() {
            bail!("traces are on already");
        }
        let stop = Stop::new();
        #[expect(
            clippy::disallowed_methods,
            reason = "outlives the crew, whose last spans it sends; see finish"
        )]
        let task = tokio::spawn(send(exporter, waiting, stop.clone()));
        Ok(Some(Self { stop, task }))
    }

    /// Sends what waits, for a few seconds at most. Called when nothing is recorded any more.
    pub async fn finish(self) {
        self.stop.stop();
        if tokio::time::timeout(LAST, self.task).await.is_err() {
            tracing::warn!(seconds = LAST.as_secs(), "the last traces could not be sent in time");
        }
    }
}

/// What speaks OTLP, protobuf over HTTP. Headers (for a collector that wants a key) it takes from
/// `OTEL_EXPORTER_OTLP_HEADERS` by itself.
fn exporter(endpoint: &str) -> Result<SpanExporter> {
    // Not shown: it may have a password in it.
    let wrong = "OTEL_EXPORTER_OTLP_ENDPOINT is no URL such as http://127.0.0.1:4318";
    let url = reqwest::Url::parse(endpoint).ok().filter(|url| url.has_host()).context(wrong)?;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut http =
        reqwest::Client::builder().timeout(TIMEOUT).redirect(reqwest::redirect::Policy::none()).no_proxy();
    match url.scheme() {
        // No certificate is ever looked at; without this a machine without a CA bundle could not even start.
        "http" => http = http.tls_certs_only([]),
        "https" => {}
        _ => bail!(wrong),
    }
    let http = http.build().context("cannot set up the client for OTEL_EXPORTER_OTLP_ENDPOINT")?;
    SpanExporter::builder()
        .with_http()
        .with_http_client(http)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
        .build()
        .context(wrong)
}

/// Where spans end up that are over.
#[derive(Debug)]
struct Queue {
    queue: mpsc::Sender<SpanData>,
    full: AtomicBool,
    dropped: Counter,
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &opentelemetry::Context) {}

    fn on_end(&self, span: SpanData) {
        if self.queue.try_send(span).is_ok() {
            return;
        }
        self.dropped.increment(1);
        if !self.full.swap(true, Ordering::Relaxed) {
            tracing::warn!("more spans than can be sent: some are dropped (see OTEL_TRACES_SAMPLER_ARG)");
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// Sends batch after batch until `stop`, then what still waits.
async fn send(exporter: SpanExporter, mut waiting: mpsc::Receiver<SpanData>, stop: Stop) {
    let (sent, failed) = (spans("sent"), spans("failed"));
    let mut well = true;
    loop {
        let mut batch = Vec::new();
        if stop.or_stopped(waiting.recv_many(&mut batch, BATCH)).await.is_none() {
            // From here on `recv_many` gives what is left, and then nothing.
            waiting.close();
            waiting.recv_many(&mut batch, BATCH).await;
        } else if batch.len() < BATCH {
            stop.or_stopped(tokio::time::sleep(GATHER)).await;
            while batch.len() < BATCH
                && let Ok(span) = waiting.try_recv()
            {
                batch.push(span);
            }
        }
        if batch.is_empty() {
            return;
        }
        let count = batch.len() as u64;
        match exporter.export(batch).await {
            Ok(()) => {
                sent.increment(count);
                if !std::mem::replace(&mut well, true) {
                    tracing::info!("traces are sent again");
                }
            }
            Err(error) => {
                failed.increment(count);
                if std::mem::take(&mut well) {
                    tracing::warn!(%error, "cannot send traces; those of this time are lost, nothing else is");
                }
            }
        }
    }
}
