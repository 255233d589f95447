//! Where an order came from: its request's id and its place in a trace. It goes with the payment through the broker
//! to the gateway, beside the message and not in it: it decides nothing, is stored nowhere, and may be missing.

use std::fmt;

use crate::trace_parent::TraceParent;

/// What a request brought that goes on with its payment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// Its place in a trace.
    pub trace: Option<TraceParent>,
    /// The id that the client gave the request. One that we gave it is the order's id, and needs no carrying.
    pub request_id: Option<RequestId>,
}

impl Origin {
    /// Nothing, where there is nothing to carry.
    pub fn new(trace: Option<TraceParent>, request_id: Option<RequestId>) -> Option<Box<Self>> {
        (trace.is_some() || request_id.is_some()).then(|| Box::new(Self { trace, request_id }))
    }
}

/// An `X-Request-Id` of a client's: 1 to 128 visible ASCII characters, no space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(Box<str>);

impl RequestId {
    /// Longest one that is taken over: it goes into every log line.
    pub const MAX: usize = 128;

    /// Takes over a sane one.
    pub fn parse(text: &str) -> Option<Self> {
        let sane = (1..=Self::MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        sane.then(|| Self(text.into()))
    }

    /// As it came.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The origins of a message's payments, in their order; empty where none has one.
pub type Origins = Vec<Option<Box<Origin>>>;

/// Origins as they travel: two headers of the message, each only where it says something. For one payment they are what
/// HTTP has under the same names; for many a list, separated by spaces, with nothing where a payment has none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers {
    /// `traceparent`.
    pub traceparent: Option<String>,
    /// `x-request-id`.
    pub request_id: Option<String>,
}

impl Headers {
    /// Writes origins.
    pub fn of(origins: &[Option<Box<Origin>>]) -> Self {
        Self {
            traceparent: list(origins, |origin| Some(origin.trace.as_ref()?)),
            request_id: list(origins, |origin| Some(origin.request_id.as_ref()?)),
        }
    }

    /// Reads the origins of `payments` payments. Anybody may have written them: a list of another length counts as none,
    /// an entry that is not as it should be as a missing one.
    pub fn origins(&self, payments: usize) -> Origins {
        if *self == Self::default() {
            return Origins::new();
        }
        let traces = entries(self.traceparent.as_deref(), payments, TraceParent::LENGTH);
        let requests = entries(self.request_id.as_deref(), payments, RequestId::MAX);
        (0..payments)
            .map(|place| {
                let trace = traces.get(place).and_then(|entry| TraceParent::parse(entry));
                Origin::new(trace, requests.get(place).and_then(|entry| RequestId::parse(entry)))
            })
            .collect()
    }
}

fn list(origins: &[Option<Box<Origin>>], field: fn(&Origin) -> Option<&dyn fmt::Display>) -> Option<String> {
    let entry = |origin: &Option<Box<Origin>>| origin.as_deref().and_then(field).map(ToString::to_string);
    let entries: Vec<Option<String>> = origins.iter().map(entry).collect();
    let said = entries.iter().any(Option::is_some);
    said.then(|| entries.into_iter().map(Option::unwrap_or_default).collect::<Vec<_>>().join(" "))
}

fn entries(list: Option<&str>, payments: usize, longest: usize) -> Vec<&str> {
    let bounded = list.filter(|list| list.len() < payments * (longest + 1));
    let entries: Vec<&str> = bounded.map_or_else(Vec::new, |list| list.split(' ').collect());
    if entries.len() == payments { entries } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn origin(trace: &str, request_id: &str) -> Option<Box<Origin>> {
        Origin::new(TraceParent::parse(trace), RequestId::parse(request_id))
    }

    #[test]
    fn origins_come_back_as_they_were_sent_and_one_alone_is_what_http_has() {
        let full: Origins = vec![origin(TRACE, &"x".repeat(RequestId::MAX)); crate::message::MAX_PAYMENTS];
        for origins in [
            vec![origin(TRACE, "mine")],
            vec![None, origin(TRACE, ""), origin("", "a,b"), None, origin(TRACE, "c")],
            full,
        ] {
            assert_eq!(Headers::of(&origins).origins(origins.len()), origins);
        }
        let alone = Headers::of(&[origin(TRACE, "mine")]);
        assert_eq!((alone.traceparent.as_deref(), alone.request_id.as_deref()), (Some(TRACE), Some("mine")));
        assert_eq!(Headers::of(&[None, None]), Headers::default());
        assert_eq!(Headers::of(&[]), Headers::default());
    }

    #[test]
    fn what_was_forged_counts_as_missing() {
        let read = |traceparent: &str, request_id: &str, payments| {
            let headers =
                Headers { traceparent: Some(traceparent.into()), request_id: Some(request_id.into()) };
            headers.origins(payments)
        };
        assert_eq!(read("garbage", "\u{e9}", 1), [None]);
        assert_eq!(read(TRACE, "a b", 2), [origin("", "a"), origin("", "b")], "of another length");
        assert_eq!(read(&format!("{TRACE} 00-1-2-3"), "", 2), [origin(TRACE, ""), None], "entry by entry");
        assert_eq!(read("", &"x".repeat(RequestId::MAX + 1), 1), [None]);
    }
}
