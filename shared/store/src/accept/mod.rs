//! accept: an order, its charge and its first event become durable together, a whole batch in one statement.

mod columns;
mod described;
mod earlier;
mod plain;
mod stocked;

use std::time::Duration;

use sqlx::PgConnection;
use time::OffsetDateTime;

pub use self::earlier::{answered_before, answered_under, came_before};
use self::plain::Ids;
pub use self::stocked::accept_stocked;
use crate::stock::Short;

use domain::channel::name::ChannelKey;
use domain::order::status::OrderStatus;
use domain::order::{NewOrder, Order};

/// What a client asked: an order, under a key where it gave one.
#[derive(Debug, Clone)]
pub struct Accept {
    /// The order, with its ids fixed.
    pub order: NewOrder,
    /// The `Idempotency-Key`.
    pub key: Option<IdempotencyKey>,
}

/// A client's key and the request that it came with.
#[derive(Debug, Clone)]
pub struct IdempotencyKey {
    /// Whose key: the same key of two principals is two keys.
    pub principal: String,
    /// As the client gave it.
    pub key: String,
    /// SHA-256 of what was asked: of where it was sent to, and of what it says.
    pub request_hash: [u8; 32],
    /// How long it is kept, so that the same again is no second order.
    pub keep: Duration,
}

/// What became of it.
#[derive(Debug, Clone)]
pub enum Accepted {
    /// Durable now, since this moment of the database's clock.
    New {
        /// When.
        created_at: OffsetDateTime,
    },
    /// Durable now, but for what there was too little of: cut to this order, which says what it left.
    Partly(Box<Order>),
    /// The same was asked under the same key before: this order, as it was accepted, was the answer.
    Replay(Box<Order>),
    /// Something else was asked under the same key before.
    KeyReused,
    /// The same channel gave this name to an order of another content, which stands here.
    ChannelIdReused(OrderStatus),
    /// There is not enough of these.
    OutOfStock(Vec<Short>),
    /// Its cart is not as it was read, or was ordered already.
    CartChanged,
}

/// Writes all orders of `batch` and answers each, in the batch's order.
///
/// `due_in` is how long a lost publish may go unnoticed: after it, a sweep takes the payment up. Running it twice
/// with the same ids is harmless: the second run finds the first one's rows.
pub async fn accept(
    conn: &mut PgConnection,
    batch: &[Accept],
    due_in: Duration,
) -> sqlx::Result<Vec<Accepted>> {
    let written = if batch.iter().any(|one| one.order.details.is_some() || one.order.accept_in.is_some()) {
        described::insert(conn, &batch.iter().collect::<Vec<_>>(), due_in).await?
    } else {
        match plain::insert(conn, batch, due_in, Ids::New).await {
            Err(sqlx::Error::Database(refusal)) if refusal.is_unique_violation() => {
                plain::insert(conn, batch, due_in, Ids::PerhapsThere).await?
            }
            written => written?,
        }
    };
    let missing: Vec<&Accept> = batch.iter().filter(|one| !written.has(one.order.id)).collect();
    let mut earlier = earlier::find(conn, &missing).await?;
    batch
        .iter()
        .map(|one| match earlier.remove(&one.order.id) {
            Some(found) => Ok(found.answer(one)),
            None if written.has(one.order.id) => Ok(Accepted::New { created_at: written.at }),
            // Neither written nor there: its key was forgotten this very moment.
            None => Err(sqlx::Error::RowNotFound),
        })
        .collect()
}

impl Accept {
    fn channel_key(&self) -> Option<&ChannelKey> {
        self.order.details.as_ref()?.key.as_ref()
    }
}
