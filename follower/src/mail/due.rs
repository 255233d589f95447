//! due: what is to be written now, to whom, and of what: looked up when it is sent, so that what is forgotten by then, or belongs to
//! another address, is written to nobody it was not for.

use std::time::Duration;

use domain::catalogue::product::Product;
use domain::mail::Mail;
use domain::order::Order;
use runtime::secrets::Secrets;
use runtime::unsubscribe::{List, token};
use sqlx::PgConnection;
use store::deliveries::{self, Claimed};
use store::mail::{Addressee, LANE, SALES};
use store::sale_notices;

use super::letter::{Envelope, about, about_sale, name_of, name_of_sale};
use super::post::Answer;
use super::{Outbox, Task};

/// A mail that this process is to send.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) claimed: Claimed,
    /// `None`: there is nobody to write to, or nothing that may be written.
    pub(super) found: Option<Found>,
}

pub(super) struct Found {
    task: Task,
    to: Addressee,
    what: What,
}

/// What is to be written of.
enum What {
    /// An order of theirs, which is made at a location called so.
    Order(Box<Order>, String, Mail),
    /// A product whose price dropped.
    Sale(Box<Product>),
}

/// Whom it is for stands in no log.
impl std::fmt::Debug for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Found").field("task", &self.task).finish_non_exhaustive()
    }
}

/// Claims what is due, and reads what is to be written.
pub(super) async fn claim(conn: &mut PgConnection, room: i64, lease: Duration) -> sqlx::Result<Vec<Due>> {
    let mut claimed = deliveries::claim(conn, &[(LANE, room)], lease).await?;
    // Those of sales where there is room.
    let left = room - i64::try_from(claimed.len()).unwrap_or(room);
    if left > 0 {
        claimed.extend(deliveries::claim(conn, &[(SALES, left)], lease).await?);
    }
    let mut due = Vec::with_capacity(claimed.len());
    for claimed in claimed {
        let found = find(conn, &claimed).await?;
        due.push(Due { claimed, found });
    }
    Ok(due)
}

async fn find(conn: &mut PgConnection, claimed: &Claimed) -> sqlx::Result<Option<Found>> {
    let task: Task =
        serde_json::from_str(&claimed.body).map_err(|error| sqlx::Error::Decode(error.into()))?;
    let Some(to) = store::mail::addressee(conn, task.to()).await? else { return Ok(None) };
    let what = match task {
        Task::Order { mail, .. } => store::mail::order(conn, claimed.key.subject)
            .await?
            .map(|(order, location)| What::Order(Box::new(order), location, mail)),
        Task::Sale { .. } => {
            let product = sale_notices::product(conn, claimed.key.subject).await?;
            product.map(|product| What::Sale(Box::new(product)))
        }
    };
    Ok(what.map(|what| Found { task, to, what }))
}

/// Writes a mail and hands it over.
pub(super) async fn write(outbox: &Outbox, secrets: &Secrets, claimed: &Claimed, found: &Found) -> Answer {
    let Found { task, to, what } = found;
    let (list, name) = match what {
        What::Order(_, _, mail) => (List::Orders, name_of(claimed.key.subject, claimed.key.version, *mail)),
        What::Sale(_) => (List::Sales, name_of_sale(claimed.key.subject, claimed.key.version)),
    };
    let Ok(token) = token(secrets, task.to(), list) else { return Answer::Fault("no_key") };
    let Ok(unsubscribe) = outbox.links.join(&format!("/api/v1/unsubscribe/{token}")) else {
        return Answer::Fault("no_link");
    };
    let envelope = Envelope { name: &name, from: &outbox.from, to, unsubscribe: &unsubscribe };
    let message = match what {
        What::Order(order, location, mail) => about(*mail, order, location, &envelope),
        What::Sale(product) => about_sale(product, &envelope),
    };
    match message {
        Ok(message) => outbox.post.send(&name, &message).await,
        Err(why) => Answer::Unsendable(why),
    }
}
