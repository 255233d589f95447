//! mail: customers whom the embedded issuer knows are written of their orders, one mail at most an event; and those who asked for it
//! when a price drops. This turns events into rows; `due` finds out what each is to say, `letter` says
//! it, `post` hands it over, `send` does so round after round.

mod due;
mod letter;
mod post;
pub mod send;
mod settings;

use std::time::Duration;

use domain::event::{Event, What};
use domain::mail::Mail;
use domain::told::type_of;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use store::deliveries::{Key, New, add};
use store::mail::{LANE, Recipient, SALES, recipients};
use store::sale_notices::{self, Notice};
use time::OffsetDateTime;
use uuid::Uuid;

pub use self::settings::{MailSettings, Outbox};
use crate::follow::Follows;

/// What is older when it is followed is written to nobody: a house that had its mail off for a while does not catch up.
const MAX_AGE: Duration = Duration::from_secs(24 * 3_600);

/// Rows of one sale that are added at once.
const AT_ONCE: i64 = 1_000;

/// What is to be sent, and to whom, as it stands in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum Task {
    /// Of an order, this.
    Order { mail: Mail, to: Uuid },
    /// That the price of a product dropped.
    Sale { sale: Uuid, to: Uuid },
}

impl Task {
    const fn to(self) -> Uuid {
        match self {
            Self::Order { to, .. } | Self::Sale { to, .. } => to,
        }
    }

    fn written(self) -> sqlx::Result<String> {
        serde_json::to_string(&self).map_err(|error| sqlx::Error::Encode(error.into()))
    }
}

/// What customers are to be written.
#[derive(Debug)]
pub struct Mails;

impl Follows for Mails {
    const NAME: &'static str = "mail";

    fn take<'c>(conn: &'c mut PgConnection, events: &'c [Event]) -> BoxFuture<'c, sqlx::Result<()>> {
        Box::pin(async move {
            let since = OffsetDateTime::now_utc() - MAX_AGE;
            let events = || events.iter().filter(move |event| event.at >= since);
            let dropped: Vec<&Event> = events().filter(|event| event.what == What::PriceDropped).collect();
            for event in dropped {
                notice(conn, event).await?;
            }
            let told = |event: &&Event| Mail::about(event.what, event.to, &Mail::ALL).is_some();
            let events: Vec<&Event> = events().filter(told).collect();
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
    let body = Task::Order { mail, to: recipient.person }.written();
    let key = Key { webhook: LANE, subject: event.subject, version: event.version };
    Some(body.map(|body| New { key, kind: type_of(event.what, event.to).to_owned(), body }))
}

/// Those who asked for it are to be told of a sale.
async fn notice(conn: &mut PgConnection, event: &Event) -> sqlx::Result<()> {
    let mut after = Uuid::nil();
    loop {
        let notices = sale_notices::of(conn, event.subject, after, AT_ONCE).await?;
        let Some(last) = notices.last() else { return Ok(()) };
        after = last.id;
        let new = |notice: &Notice| {
            let body = Task::Sale { sale: event.subject, to: notice.person }.written()?;
            let key = Key { webhook: SALES, subject: notice.id, version: event.version };
            Ok::<_, sqlx::Error>(New { key, kind: type_of(event.what, event.to).to_owned(), body })
        };
        add(conn, &notices.iter().map(new).collect::<Result<Vec<_>, _>>()?).await?;
    }
}
