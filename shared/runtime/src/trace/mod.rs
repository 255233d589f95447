//! Traces: one for each order, from the request through the broker to the settlement. Spans are begun and ended by
//! hand, and not taken over from the logs' spans, because an order changes tasks, batches and processes on its way.
//!
//! Without an exporter nothing is recorded, and no id is made: only a `traceparent` that came is passed on.

mod export;

use std::sync::OnceLock;
use std::time::SystemTime;

use domain::trace_parent::TraceParent;
use opentelemetry::trace::{Span as _, SpanContext, Status, TraceContextExt, TraceFlags, TraceState, Tracer};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::trace::{SdkTracer, Span as Record};

pub use export::{Exporter, declare_metrics};
pub use opentelemetry::trace::SpanKind as Kind;

/// Set once, where there is an exporter.
static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// Whether spans are recorded.
pub fn is_on() -> bool {
    TRACER.get().is_some()
}

/// Now, where spans are recorded: for one that is begun when it is known whose it is.
pub fn now() -> Option<SystemTime> {
    is_on().then(SystemTime::now)
}

/// A step on an order's way; ends when it is dropped. Where its trace is not recorded it is only a place in the trace,
/// and where there is no trace, nothing.
#[derive(Debug)]
pub struct Span {
    place: Option<TraceParent>,
    record: Option<Box<Record>>,
}

impl Span {
    /// A step that `parent` caused and that begins now. Without a parent it is the root of a trace, which may be drawn
    /// to be recorded.
    pub fn begin(verb: &'static str, kind: Kind, parent: Option<TraceParent>) -> Self {
        Self::since(verb, kind, parent, None)
    }

    /// The same, begun earlier.
    pub fn since(
        verb: &'static str,
        kind: Kind,
        parent: Option<TraceParent>,
        begun: Option<SystemTime>,
    ) -> Self {
        let tracer = match (TRACER.get(), parent) {
            (None, _) | (_, Some(TraceParent { sampled: false, .. })) => return Self::pass(parent),
            (Some(tracer), _) => tracer,
        };
        let mut context = Context::new();
        if let Some(TraceParent { trace_id, span_id, .. }) = parent {
            let flags = TraceFlags::SAMPLED;
            let parent = SpanContext::new(trace_id, span_id, flags, true, TraceState::NONE);
            context = context.with_remote_span_context(parent);
        }
        let mut builder = tracer.span_builder(verb).with_kind(kind);
        builder.start_time = begun;
        let record = tracer.build_with_context(builder, &context);
        let own = record.span_context();
        let place = TraceParent {
            trace_id: own.trace_id(),
            span_id: own.span_id(),
            sampled: own.trace_flags().is_sampled(),
        };
        Self { place: Some(place), record: record.is_recording().then(|| Box::new(record)) }
    }

    /// No step of ours: what comes after it has the same parent.
    pub const fn pass(parent: Option<TraceParent>) -> Self {
        Self { place: parent, record: None }
    }

    /// What is caused by this step has this parent.
    pub const fn place(&self) -> Option<TraceParent> {
        self.place
    }

    /// Adds a fact. Never money, names, addresses, or what a third party wrote.
    pub fn note(&mut self, key: &'static str, value: impl Into<Value>) {
        if let Some(record) = &mut self.record {
            record.set_attribute(KeyValue::new(key, value));
        }
    }

    /// Adds a fact that costs something to write down.
    pub fn note_with<V: Into<Value>>(&mut self, key: &'static str, value: impl FnOnce() -> V) {
        if self.record.is_some() {
            self.note(key, value());
        }
    }

    /// Marks the step as gone wrong.
    pub fn fail(&mut self, why: &'static str) {
        if let Some(record) = &mut self.record {
            record.set_status(Status::error(why));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_an_exporter_a_step_passes_its_parent_on_and_makes_none() {
        let came = TraceParent::parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        assert!(came.is_some());
        for parent in [came, None] {
            let mut span = Span::begin("accept", Kind::Server, parent);
            span.note_with("order_id", || -> String { panic!("nobody reads it") });
            assert_eq!(span.place(), parent);
        }
        assert_eq!(now(), None);
    }
}
