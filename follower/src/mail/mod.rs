//! mail: customers whom the embedded issuer knows are written of their orders. This turns events into rows, one at most an event;
//! `send` sends them, `letter` says what stands in them, `post` hands them over.

mod letter;
mod post;
pub mod send;
mod settings;

use std::time::Duration;

use domain::event::Event;
use domain::mail::Mail;
use domain::told::type_of;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use store::deliveries::{Key, New, add};
use store::mail::{LANE, Recipient, recipients};
use time::OffsetDateTime;
use uuid::Uuid;

pub use self::settings::{MailSettings, Outbox};
use crate::follow::Follows;

/// What is older when it is followed is written to nobody: a house that had its mail off for a while does not catch up.
const MAX_AGE: Duration = Duration::from_secs(24 * 3_600);

/// What is to be sent, as it stands in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Task {
    /// Which mail.
    mail: Mail,
    /// To whom.
    to: Uuid,
}

/// What customers are to be written.
#[derive(Debug)]
pub struct Mails;

impl Follows for Mails {
    const NAME: &'static str = "mail";

    fn take<'c>(conn: &'c mut PgConnection, events: &'c [Event]) -> BoxFuture<'c, sqlx::Result<()>> {
        Box::pin(async move {
            let since = OffsetDateTime::now_utc() - MAX_AGE;
            let told =
                |event: &&Event| event.at >= since && Mail::about(event.what, event.to, &Mail::ALL).is_some();
            let events: Vec<&Event> = events.iter().filter(told).collect();
            let mut orders: Vec<Uuid> = events.iter().map(|event| event.subject).collect();
            orders.dedup();
            if orders.is_empty() {
                return Ok(());
            }
            let recipients = recipients(conn, &orders).await?;
            let new: Vec<New> =
                events.into_iter().filter_map(|event| new(event, &recipients)).collect::<Result<_, _>>()?;
            if new.is_empty() { Ok(()) } else { add(conn, &new).await }
        })
    }
}

/// The mail that this event leads to.
fn new(event: &Event, recipients: &[Recipient]) -> Option<sqlx::Result<New>> {
    let recipient = recipients.iter().find(|one| one.order == event.subject)?;
    let mail = Mail::about(event.what, event.to, &recipient.mails)?;
    let task = Task { mail, to: recipient.person };
    let body = serde_json::to_string(&task).map_err(|error| sqlx::Error::Encode(error.into()));
    let key = Key { webhook: LANE, subject: event.subject, version: event.version };
    Some(body.map(|body| New { key, kind: type_of(event.what, event.to).to_owned(), body }))
}
