//! W3C's `traceparent`, read strictly: it comes from anybody, over HTTP and through the broker.

use std::fmt;

use opentelemetry::trace::{SpanId, TraceId};

/// Which trace, which step in it, and whether it is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace.
    pub trace_id: TraceId,
    /// The step that caused what comes.
    pub span_id: SpanId,
    /// Whether the trace is recorded.
    pub sampled: bool,
}

impl TraceParent {
    /// Length of `00-<trace>-<span>-<flags>`.
    pub const LENGTH: usize = 55;

    /// Reads `00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01`; `None` if it is anything else. Of later
    /// versions what they share with this one is read, as W3C asks.
    pub fn parse(text: &str) -> Option<Self> {
        let head = text.get(..Self::LENGTH)?;
        let later = text.len() > Self::LENGTH;
        let mut parts = head.split('-');
        let version = hex(parts.next()?, 2)?;
        let trace_id = TraceId::from(hex(parts.next()?, 32)?);
        let span_id = SpanId::from(u64::try_from(hex(parts.next()?, 16)?).ok()?);
        let flags = hex(parts.next()?, 2)?;
        let whole = match version {
            0 => !later,
            0xff => false,
            _ => !later || text.as_bytes()[Self::LENGTH] == b'-',
        };
        let ids = trace_id != TraceId::INVALID && span_id != SpanId::INVALID;
        (whole && ids && parts.next().is_none()).then_some(Self {
            trace_id,
            span_id,
            sampled: flags & 1 == 1,
        })
    }
}

/// `digits` lower-case hexadecimal digits and nothing else.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let plain = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if plain && text.len() == digits { u128::from_str_radix(text, 16).ok() } else { None }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, u8::from(self.sampled))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn what_is_read_is_written_the_same() {
        for text in [GOOD, "00-000000000000000000000000000000aa-00000000000000bb-00"] {
            assert_eq!(TraceParent::parse(text).unwrap().to_string(), text);
        }
        let later = TraceParent::parse(&GOOD.replacen("00", "cc", 1)).unwrap();
        assert_eq!(later.to_string(), GOOD);
        assert_eq!(TraceParent::parse(&format!("cc{}-what-comes", &GOOD[2..])), Some(later));
    }

    #[test]
    fn anything_else_is_none() {
        for text in [
            "",
            "00",
            &GOOD[..54],
            &format!("{GOOD}-"),
            &format!("{GOOD} "),
            &format!(" {GOOD}"),
            &format!("cc{}0", &GOOD[2..]),
            &GOOD.to_uppercase(),
            &GOOD.replacen("00", "ff", 1),
            &GOOD.replacen("0a", "+a", 1),
            &GOOD.replacen("0a", "-a", 1),
            &GOOD.replacen("b7ad", "b-ad", 1),
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            &"\u{e9}".repeat(40),
        ] {
            assert_eq!(TraceParent::parse(text), None, "{text:?}");
        }
    }
}
