//! webhooks: of what has happened, what each endpoint is to be told becomes a row. Sending them is for others (`deliver`).

use std::collections::HashMap;

use domain::event::Event;
use domain::told::{About, Told};
use futures_util::future::BoxFuture;
use sqlx::PgConnection;
use store::deliveries::{Key, New, add};
use store::told;
use store::webhooks::{self, Webhook};
use uuid::Uuid;

use crate::follow::Follows;

/// What is to be told to the endpoints.
#[derive(Debug)]
pub struct Webhooks;

impl Follows for Webhooks {
    const NAME: &'static str = "webhooks";

    fn take<'c>(conn: &'c mut PgConnection, events: &'c [Event]) -> BoxFuture<'c, sqlx::Result<()>> {
        Box::pin(async move {
            let webhooks = webhooks::list(conn, false).await?;
            if webhooks.is_empty() {
                return Ok(());
            }
            let mut orders: Vec<Uuid> = events.iter().map(|event| event.subject).collect();
            orders.dedup();
            let about = told::about(conn, &orders).await?;
            let new = new(&webhooks, events, &about)?;
            if new.is_empty() { Ok(()) } else { add(conn, &new).await }
        })
    }
}

fn new(webhooks: &[Webhook], events: &[Event], about: &HashMap<Uuid, About>) -> sqlx::Result<Vec<New>> {
    let mut new = Vec::new();
    for event in events {
        let Some(about) = about.get(&event.subject) else { continue };
        let told = Told::new(event, about);
        let wanted = webhooks.iter().filter(|webhook| webhook.wants(told.r#type, about));
        let wanted: Vec<Uuid> = wanted.map(|webhook| webhook.id).collect();
        if wanted.is_empty() {
            continue;
        }
        let body = serde_json::to_string(&told).map_err(|error| sqlx::Error::Encode(error.into()))?;
        let (subject, version, kind) = (event.subject, event.version, told.r#type);
        new.extend(wanted.into_iter().map(|webhook| New {
            key: Key { webhook, subject, version },
            kind: kind.to_owned(),
            body: body.clone(),
        }));
    }
    Ok(new)
}
