//! A message's headers: where its payments came from, under the names that HTTP has for them.

use domain::origin::Headers;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, LongString};

const TRACEPARENT: &str = "traceparent";
const REQUEST_ID: &str = "x-request-id";

pub(super) fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(value))
}

/// The properties of a message that survives a restart of the broker.
pub(super) fn persistent(headers: &Headers) -> BasicProperties {
    let properties =
        BasicProperties::default().with_delivery_mode(2).with_content_type("application/json".into());
    if *headers == Headers::default() {
        return properties;
    }
    let mut table = FieldTable::default();
    for (name, value) in [(TRACEPARENT, &headers.traceparent), (REQUEST_ID, &headers.request_id)] {
        if let Some(value) = value {
            table.insert(name.into(), text(value));
        }
    }
    properties.with_headers(table)
}

/// What a message's headers say; what is no text says nothing.
pub(super) fn headers(properties: &BasicProperties) -> Headers {
    let Some(table) = properties.headers() else { return Headers::default() };
    let field = |name: &str| match table.inner().get(name)? {
        AMQPValue::LongString(value) => std::str::from_utf8(value.as_bytes()).ok().map(str::to_owned),
        _ => None,
    };
    Headers { traceparent: field(TRACEPARENT), request_id: field(REQUEST_ID) }
}
