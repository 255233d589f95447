//! webhooks: of what has happened, what each endpoint is to be told becomes a row. Sending them is for others (`deliver`). An endpoint
//! of which too much waits follows by itself (`late`).

use std::collections::HashMap;

use domain::channel::dialect::back::Moved;
use domain::event::{Event, What};
use domain::told::{About, Data, Past, Payload, Told, Unread};
use futures_util::future::BoxFuture;
use serde_json::value::RawValue;
use sqlx::PgConnection;
use store::deliveries::{Key, New, add};
use store::feed::Cursor;
use store::told;
use store::webhooks::{self, Webhook, late};
use uuid::Uuid;

use crate::follow::Follows;

/// Of an endpoint so many orders may wait to be told; then it follows by itself, where fewer than half of it do.
pub(crate) const ROOM: i64 = 1_000;

/// What is to be told to the endpoints.
#[derive(Debug)]
pub struct Webhooks;

impl Follows for Webhooks {
    const NAME: &'static str = "webhooks";

    fn begin<'c>(conn: &'c mut PgConnection, cursor: &'c Cursor) -> BoxFuture<'c, sqlx::Result<()>> {
        Box::pin(late::part(conn, Self::NAME, cursor, ROOM))
    }

    fn take<'c>(conn: &'c mut PgConnection, events: &'c [Event]) -> BoxFuture<'c, sqlx::Result<()>> {
        Box::pin(async move {
            let (mut webhooks, late) = (webhooks::list(conn, false).await?, late::all(conn).await?);
            webhooks.retain(|webhook| !late.contains(&webhook.id));
            tell(conn, &webhooks, events).await
        })
    }
}

/// Writes down what these endpoints are to be told of these events.
pub(crate) async fn tell(
    conn: &mut PgConnection,
    webhooks: &[Webhook],
    events: &[Event],
) -> sqlx::Result<()> {
    if webhooks.is_empty() || events.is_empty() {
        return Ok(());
    }
    let mut orders: Vec<Uuid> = events.iter().map(|event| event.subject).collect();
    orders.dedup();
    let about = told::about(conn, &orders).await?;
    let pasts = if webhooks.iter().any(|webhook| webhook.payload() != Payload::Thin) {
        told::pasts(conn, &orders).await?
    } else {
        HashMap::new()
    };
    let mut new = new(webhooks, events, &about, &pasts)?;
    new.extend(back(conn, webhooks, events, &about).await?);
    if new.is_empty() { Ok(()) } else { add(conn, &new).await }
}

fn new(
    webhooks: &[Webhook],
    events: &[Event],
    about: &HashMap<Uuid, About>,
    pasts: &HashMap<Uuid, Past>,
) -> sqlx::Result<Vec<New>> {
    let mut new = Vec::new();
    for event in events {
        let Some(about) = about.get(&event.subject) else { continue };
        let mut told = Told::new(event, about);
        let wanted: Vec<&Webhook> =
            webhooks.iter().filter(|webhook| webhook.wants(told.r#type, about)).collect();
        for payload in Payload::ALL {
            let (subject, version, kind) = (event.subject, event.version, told.r#type);
            let mut wanted = wanted.iter().filter(|webhook| webhook.payload() == payload).peekable();
            if wanted.peek().is_none() {
                continue;
            }
            if let Data::Order(data) = &mut told.data {
                if payload != Payload::Thin && data.order.is_none() {
                    data.order = pasts.get(&subject).and_then(|past| past.then(version));
                }
                data.handover = (payload == Payload::Full).then_some(Unread);
            }
            let body = serde_json::to_string(&told).map_err(|error| sqlx::Error::Encode(error.into()))?;
            new.extend(wanted.map(|webhook| New {
                key: Key { webhook: webhook.id, subject, version },
                kind: kind.to_owned(),
                body: body.clone(),
            }));
        }
    }
    Ok(new)
}

/// What the platforms are told of the orders that they sent.
async fn back(
    conn: &mut PgConnection,
    webhooks: &[Webhook],
    events: &[Event],
    about: &HashMap<Uuid, About>,
) -> sqlx::Result<Vec<New>> {
    let platforms: Vec<&Webhook> = webhooks.iter().filter(|webhook| webhook.platform.is_some()).collect();
    let mut told: Vec<(&Webhook, &Event, &str)> = Vec::new();
    for event in events.iter().filter(|event| event.what == What::Moved) {
        let Some(About { channel: Some(channel), channel_order_id: Some(order_id), .. }) =
            about.get(&event.subject)
        else {
            continue;
        };
        let theirs = platforms.iter().find(|webhook| webhook.platform.as_ref() == Some(channel));
        told.extend(theirs.map(|webhook| (*webhook, event, &**order_id)));
    }
    if told.is_empty() {
        return Ok(Vec::new());
    }
    let orders: Vec<Uuid> = told.iter().map(|(_, event, _)| event.subject).collect();
    let documents = told::documents(conn, &orders).await?;
    let one = |(webhook, event, channel_order_id): (&Webhook, &Event, &str)| {
        let moved = Moved {
            order_id: event.subject,
            channel_order_id,
            document: documents.get(&event.subject).map(|document| -> &RawValue { document }),
            to: event.to?,
            reason: event.reason.as_deref(),
            at: event.at,
        };
        Some(New {
            key: Key { webhook: webhook.id, subject: event.subject, version: event.version },
            kind: domain::told::type_of(event.what, event.to).to_owned(),
            body: webhook.back()?.tell_back(&moved)?,
        })
    };
    Ok(told.into_iter().filter_map(one).collect())
}
