//! accept: an order, its charge and its first event become durable together, a whole batch in one statement.

use std::collections::HashMap;
use std::time::Duration;

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::extras;
use super::read::{self, KeyedOrder};
use crate::channel::ChannelKey;
use crate::order::{NewOrder, Order, OrderStatus};

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
}

/// What became of it.
#[derive(Debug, Clone)]
pub enum Accepted {
    /// Durable now, since this moment of the database's clock.
    New {
        /// When.
        created_at: OffsetDateTime,
    },
    /// The same key and body came before: this order was the answer.
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
    let created = if batch.iter().any(|one| one.order.extra.is_some()) {
        extras::insert(conn, batch, due_in).await?
    } else {
        match insert(conn, batch, due_in, Ids::New).await {
            Err(sqlx::Error::Database(refusal)) if refusal.is_unique_violation() => {
                insert(conn, batch, due_in, Ids::PerhapsThere).await?
            }
            created => created?,
        }
    };
    let earlier = if created.len() == batch.len() {
        HashMap::new()
    } else {
        let missing: Vec<&Accept> = batch.iter().filter(|one| !created.contains_key(&one.order.id)).collect();
        find_earlier(conn, &missing).await?
    };
    batch
        .iter()
        .map(|one| match (created.get(&one.order.id), earlier.get(&one.order.id)) {
            (Some(created_at), _) => Ok(Accepted::New { created_at: *created_at }),
            (None, Some(found)) => Ok(answer_from(one, found)),
            // Neither written nor there: cannot happen while keys are only forgotten a day later.
            (None, None) => Err(sqlx::Error::RowNotFound),
        })
        .collect()
}

fn answer_from(one: &Accept, found: &Earlier) -> Accepted {
    let (Earlier::ByKey(earlier) | Earlier::ByChannel(earlier)) = found;
    if earlier.order.id == one.order.id {
        // An earlier try of this very batch took effect, though its answer was lost.
        return Accepted::New { created_at: earlier.order.created_at };
    }
    let asked = match found {
        Earlier::ByKey(_) => one.key.as_ref().map(|key| key.request_hash),
        Earlier::ByChannel(_) => one.channel_key().map(|key| key.content),
    };
    match (asked, &earlier.request_hash, found) {
        (Some(asked), Some(hash), _) if asked[..] == hash[..] => {
            Accepted::Replay(Box::new(earlier.order.clone()))
        }
        (.., Earlier::ByKey(_)) => Accepted::KeyReused,
        (.., Earlier::ByChannel(_)) => Accepted::ChannelIdReused(earlier.order.status),
    }
}

/// The order that stands where a new one should, and why it does.
enum Earlier {
    /// It has the `Idempotency-Key`, or the new one's own id.
    ByKey(KeyedOrder),
    /// Its channel calls it so.
    ByChannel(KeyedOrder),
}

impl Accept {
    fn channel_key(&self) -> Option<&ChannelKey> {
        self.order.extra.as_ref()?.key.as_ref()
    }
}

/// Whether the orders' ids may be in the tables already: after a try whose answer was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ids {
    /// A conflict is an error.
    New,
    /// What is there is passed over. Dearer: each row is looked up first, and logged twice.
    PerhapsThere,
}

/// The statement, with what is to be done about ids that are there.
macro_rules! insert {
    ($if_there:literal, $($input:expr),+) => {
        sqlx::query!(
            r#"
        WITH input AS (
            SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[],
                                 $6::text[], $7::text[], $8::bytea[])
                AS input(id, total_minor, currency, customer_id, items, principal, key, request_hash)
        ), keyed AS (
            INSERT INTO idempotency_keys (order_id, created_at, principal, key, request_hash)
            SELECT id, now(), principal, key, request_hash FROM input WHERE key IS NOT NULL ORDER BY principal, key
            ON CONFLICT (principal, key) DO NOTHING
            RETURNING order_id
        ), fresh AS (
            SELECT * FROM input WHERE key IS NULL OR id IN (SELECT order_id FROM keyed)
        ), ordered AS (
            INSERT INTO orders (id, total_minor, created_at, updated_at, version, status, currency, customer_id, items)
            SELECT id, total_minor, now(), now(), 1, 'PENDING', currency, customer_id, items::json FROM fresh
            "# + $if_there + r#"
            RETURNING id, created_at
        ), paid AS (
            INSERT INTO payments (id, order_id, amount_minor, created_at, due_at, kind, status, currency)
            SELECT id, id, total_minor, now(), now() + $9::bigint * interval '1 ms', 'charge', 'pending', currency
            FROM fresh
            "# + $if_there + r#"
        ), noted AS (
            INSERT INTO order_events (order_id, at, version, to_status, actor)
            SELECT id, now(), 1, 'PENDING', 'api' FROM fresh
            "# + $if_there + r#"
        )
        SELECT id, created_at FROM ordered
        "#,
            $($input),+
        )
    };
}

/// The one statement. Returns when each order was created; those that it did not write are missing.
async fn insert(
    conn: &mut PgConnection,
    batch: &[Accept],
    due_in: Duration,
    ids_are: Ids,
) -> sqlx::Result<HashMap<Uuid, OffsetDateTime>> {
    let columns = Columns::of(batch);
    // Keys are inserted in their own order, so that two writers that hold the same two keys cannot wait for each
    // other. A key that somebody is just inserting makes ours wait until that is decided.
    let due_in = super::millis(due_in);
    macro_rules! rows {
        ($if_there:literal) => {
            insert!(
                $if_there,
                &columns.ids,
                &columns.totals,
                &columns.currencies,
                &columns.customers,
                &columns.items,
                &columns.principals as &[Option<String>],
                &columns.keys as &[Option<String>],
                &columns.hashes as &[Option<Vec<u8>>],
                due_in
            )
            .fetch_all(conn)
            .await?
            .into_iter()
            .map(|row| (row.id, row.created_at))
            .collect()
        };
    }
    Ok(match ids_are {
        Ids::New => rows!(""),
        Ids::PerhapsThere => rows!("ON CONFLICT DO NOTHING"),
    })
}

/// A batch by columns, as `unnest` takes it.
pub(super) struct Columns {
    pub(super) ids: Vec<Uuid>,
    pub(super) totals: Vec<i64>,
    pub(super) currencies: Vec<String>,
    pub(super) customers: Vec<String>,
    pub(super) items: Vec<String>,
    pub(super) principals: Vec<Option<String>>,
    pub(super) keys: Vec<Option<String>>,
    pub(super) hashes: Vec<Option<Vec<u8>>>,
}

impl Columns {
    pub(super) fn of<'a>(batch: impl IntoIterator<Item = &'a Accept> + Clone) -> Self {
        let all = || batch.clone().into_iter();
        let orders = || all().map(|one| &one.order);
        let key = |field: fn(&IdempotencyKey) -> String| -> Vec<Option<String>> {
            all().map(|one| one.key.as_ref().map(field)).collect()
        };
        Self {
            ids: orders().map(|order| order.id).collect(),
            totals: orders().map(|order| order.total.minor()).collect(),
            currencies: orders().map(|order| order.total.currency().code().to_owned()).collect(),
            customers: orders().map(|order| order.customer_id.clone()).collect(),
            items: orders().map(|order| order.items.get().to_owned()).collect(),
            principals: key(|key| key.principal.clone()),
            keys: key(|key| key.key.clone()),
            hashes: all().map(|one| one.key.as_ref().map(|key| key.request_hash.to_vec())).collect(),
        }
    }
}

/// For each of `missing`: the order that stands under its key, under its channel's name for it, or under its own id. A
/// statement after the first, because only a new snapshot sees what others committed meanwhile.
async fn find_earlier(conn: &mut PgConnection, missing: &[&Accept]) -> sqlx::Result<HashMap<Uuid, Earlier>> {
    let mut found = HashMap::with_capacity(missing.len());
    for one in missing {
        let mut earlier = match &one.key {
            Some(key) => read::order_by_key(conn, &key.principal, &key.key).await?.map(Earlier::ByKey),
            None => None,
        };
        if let (None, Some(key)) = (&earlier, one.channel_key()) {
            earlier = read::order_by_channel(conn, key).await?.map(Earlier::ByChannel);
        }
        if earlier.is_none() {
            let order = read::order(conn, one.order.id).await?;
            earlier = order.map(|order| Earlier::ByKey(KeyedOrder { order, request_hash: None }));
        }
        if let Some(earlier) = earlier {
            found.insert(one.order.id, earlier);
        }
    }
    Ok(found)
}
