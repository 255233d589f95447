//! accept: an order, its charge and its first event become durable together, a whole batch in one statement.

mod columns;
mod described;
mod plain;

use std::collections::HashMap;
use std::time::Duration;

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use self::plain::Ids;
use crate::names::{self, NameKind, Named};
use crate::read::{self, Original};

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
    /// SHA-256 of the body.
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
    /// The same key and body came before: this order, as it was accepted, was the answer.
    Replay(Box<Order>),
    /// The same key came before with another body.
    KeyReused,
    /// The same channel gave this name to an order of another content, which stands here.
    ChannelIdReused(OrderStatus),
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
    let written = if batch.iter().any(|one| one.order.details.is_some()) {
        described::insert(conn, batch, due_in).await?
    } else {
        match plain::insert(conn, batch, due_in, Ids::New).await {
            Err(sqlx::Error::Database(refusal)) if refusal.is_unique_violation() => {
                plain::insert(conn, batch, due_in, Ids::PerhapsThere).await?
            }
            written => written?,
        }
    };
    let missing: Vec<&Accept> = batch.iter().filter(|one| !written.has(one.order.id)).collect();
    let mut earlier = find_earlier(conn, &missing).await?;
    batch
        .iter()
        .map(|one| match earlier.remove(&one.order.id) {
            Some(found) => Ok(answer_from(one, found)),
            None if written.has(one.order.id) => Ok(Accepted::New { created_at: written.at }),
            // Neither written nor there: its key was forgotten this very moment.
            None => Err(sqlx::Error::RowNotFound),
        })
        .collect()
}

/// What stands where a new order should.
struct Earlier {
    /// The name that was taken; `None`: the order's own id is there.
    by: Option<(NameKind, Named)>,
    found: Original,
}

fn answer_from(one: &Accept, earlier: Earlier) -> Accepted {
    let Earlier { by, found } = earlier;
    if found.order.id == one.order.id {
        // An earlier try of this very batch took effect, though its answer was lost.
        return Accepted::New { created_at: found.order.created_at };
    }
    match by {
        Some((NameKind::ChannelOrder, named)) => by_channel(one.channel_key(), &named, found),
        by => {
            let asked = one.key.as_ref().map(|key| key.request_hash);
            let before = by.and_then(|(_, named)| named.hash);
            let same = asked.zip(before).is_some_and(|(asked, before)| asked[..] == before[..]);
            if same { Accepted::Replay(Box::new(found.order)) } else { Accepted::KeyReused }
        }
    }
}

fn by_channel(asked: Option<&ChannelKey>, named: &Named, found: Original) -> Accepted {
    let before = named.hash.as_deref();
    let same = asked.zip(before).is_some_and(|(asked, before)| asked.content[..] == *before);
    if same { Accepted::Replay(Box::new(found.order)) } else { Accepted::ChannelIdReused(found.status_now) }
}

/// What an order of a channel is answered that came before under this name; `None`: none did.
pub async fn answered_before(conn: &mut PgConnection, key: &ChannelKey) -> sqlx::Result<Option<Accepted>> {
    let kind = NameKind::ChannelOrder;
    let Some(named) = names::find(conn, kind, key.channel.as_str(), &key.order_id).await? else {
        return Ok(None);
    };
    let found = read::original(conn, named.id).await?;
    Ok(found.map(|found| by_channel(Some(key), &named, found)))
}

impl Accept {
    fn channel_key(&self) -> Option<&ChannelKey> {
        self.order.details.as_ref()?.key.as_ref()
    }
}

/// For each of `missing`: the order that stands under its key, under its channel's name for it, or under its own id. A
/// statement after the first, because only a new snapshot sees what others committed meanwhile.
async fn find_earlier(conn: &mut PgConnection, missing: &[&Accept]) -> sqlx::Result<HashMap<Uuid, Earlier>> {
    let mut found = HashMap::with_capacity(missing.len());
    for one in missing {
        let by = find_name(conn, one).await?;
        let id = by.as_ref().map_or(one.order.id, |(_, named)| named.id);
        if let Some(original) = read::original(conn, id).await? {
            found.insert(one.order.id, Earlier { by, found: original });
        }
    }
    Ok(found)
}

/// Which of its names is taken, and by what.
async fn find_name(conn: &mut PgConnection, one: &Accept) -> sqlx::Result<Option<(NameKind, Named)>> {
    if let Some(key) = &one.key {
        let kind = NameKind::IdempotencyKey;
        if let Some(named) = names::find(conn, kind, &key.principal, &key.key).await? {
            return Ok(Some((kind, named)));
        }
    }
    let Some(key) = one.channel_key() else { return Ok(None) };
    let kind = NameKind::ChannelOrder;
    Ok(names::find(conn, kind, key.channel.as_str(), &key.order_id).await?.map(|named| (kind, named)))
}
