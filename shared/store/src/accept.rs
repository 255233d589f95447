//! accept: an order, its charge and its first event become durable together, a whole batch in one statement.

use std::collections::HashMap;
use std::time::Duration;

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::extras;
use super::names::{self, NameKind, Named};
use super::read::{self, Original};
use domain::channel::ChannelKey;
use domain::order::{NewOrder, Order, OrderStatus};

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
    let written = if batch.iter().any(|one| one.order.extra.is_some()) {
        extras::insert(conn, batch, due_in).await?
    } else {
        match insert(conn, batch, due_in, Ids::New).await {
            Err(sqlx::Error::Database(refusal)) if refusal.is_unique_violation() => {
                insert(conn, batch, due_in, Ids::PerhapsThere).await?
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

/// The statement: which orders are to be written, and what is to be done about ids that are there.
macro_rules! insert {
    ($fresh:literal, $if_there:literal, $($input:expr),+) => {
        sqlx::query_as!(
            Written,
            "WITH " + $fresh + r#", ordered AS (
            INSERT INTO orders (id, total_minor, created_at, updated_at, version, status, currency, customer_id)
            SELECT id, total_minor, now(), now(), 1, 'PENDING', currency, customer_id FROM fresh
            "# + $if_there + r#"
            RETURNING id, total_minor, currency
        ), charged AS (
            -- Only with its order: one that is there already may have been charged since, and its queue row be gone.
            INSERT INTO open_charges (id, amount_minor, created_at, due_at, currency)
            SELECT id, total_minor, now(), now() + $6::bigint * interval '1 ms', currency FROM ordered
        ), noted AS (
            INSERT INTO order_events (subject, at, amount_minor, version, what, to_status, actor, items)
            SELECT id, now(), total_minor, 1, 'accepted', 'PENDING', 'api', items::json FROM fresh
            "# + $if_there + r#"
        )
        SELECT now() AS "at!",
            CASE WHEN (SELECT count(*) FROM ordered) < cardinality($1) THEN ARRAY(SELECT id FROM ordered) END AS only
        "#,
            $($input),+
        )
    };
}

/// The same for orders under keys: those of which the key is free. Keys are inserted in their own order, so that two writers
/// that hold the same two keys cannot wait for each other. A key that somebody is just inserting makes ours wait until that is
/// decided.
macro_rules! insert_keyed {
    ($if_there:literal, $($input:expr),+) => {
        insert!(
            r#"input AS (
            SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[],
                                 $7::text[], $8::text[], $9::bytea[], $10::bigint[])
                AS input(id, total_minor, currency, customer_id, items, principal, key, request_hash, keep_ms)
        ), keyed AS (
            INSERT INTO names (named, until, kind, scope, name, hash)
            SELECT id, now() + keep_ms * interval '1 ms', 'idempotency_key', principal, key, request_hash
            FROM input WHERE key IS NOT NULL ORDER BY principal, key
            ON CONFLICT (kind, scope, name) DO NOTHING
            RETURNING named
        ), fresh AS (
            SELECT * FROM input WHERE key IS NULL OR id IN (SELECT named FROM keyed)
        )"#, $if_there, $($input),+
        )
    };
}

/// Which orders of a batch were written: the rest is there already, or its names are taken.
pub(super) struct Written {
    /// Since when they are there.
    pub(super) at: OffsetDateTime,
    /// `None`: all of them.
    pub(super) only: Option<Vec<Uuid>>,
}

impl Written {
    pub(super) fn has(&self, id: Uuid) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(&id))
    }
}

/// The one statement.
async fn insert(
    conn: &mut PgConnection,
    batch: &[Accept],
    due_in: Duration,
    ids_are: Ids,
) -> sqlx::Result<Written> {
    let columns = Columns::of(batch);
    let due_in = super::millis(due_in);
    macro_rules! rows {
        ($insert:ident!($($literal:literal),+) $(, $keys:expr)*) => {
            $insert!(
                $($literal),+,
                &columns.ids,
                &columns.totals,
                &columns.currencies as &[&str],
                &columns.customers as &[&str],
                &columns.items as &[&str],
                due_in
                $(, $keys)*
            )
            .fetch_one(conn)
            .await
        };
        ($if_there:literal) => {
            rows!(
                insert_keyed!($if_there),
                &columns.principals as &[Option<&str>],
                &columns.keys as &[Option<&str>],
                &columns.hashes as &[Option<&[u8]>],
                &columns.keeps as &[Option<i64>]
            )
        };
    }
    match ids_are {
        Ids::New if batch.iter().all(|one| one.key.is_none()) => rows!(insert!(
            "fresh AS (
            SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[])
                AS input(id, total_minor, currency, customer_id, items)
        )",
            ""
        )),
        Ids::New => rows!(""),
        Ids::PerhapsThere => rows!("ON CONFLICT DO NOTHING"),
    }
}

/// A batch by columns, as `unnest` takes it.
pub(super) struct Columns<'a> {
    pub(super) ids: Vec<Uuid>,
    pub(super) totals: Vec<i64>,
    pub(super) currencies: Vec<&'a str>,
    pub(super) customers: Vec<&'a str>,
    pub(super) items: Vec<&'a str>,
    pub(super) principals: Vec<Option<&'a str>>,
    pub(super) keys: Vec<Option<&'a str>>,
    pub(super) hashes: Vec<Option<&'a [u8]>>,
    pub(super) keeps: Vec<Option<i64>>,
}

impl<'a> Columns<'a> {
    pub(super) fn of(batch: impl IntoIterator<Item = &'a Accept> + Clone) -> Self {
        let orders = || batch.clone().into_iter().map(|one| &one.order);
        let keys = || batch.clone().into_iter().map(|one| one.key.as_ref());
        Self {
            ids: orders().map(|order| order.id).collect(),
            totals: orders().map(|order| order.total.minor()).collect(),
            currencies: orders().map(|order| order.total.currency().code()).collect(),
            customers: orders().map(|order| order.customer_id.as_str()).collect(),
            items: orders().map(|order| order.items.get()).collect(),
            principals: keys().map(|key| Some(key?.principal.as_str())).collect(),
            keys: keys().map(|key| Some(key?.key.as_str())).collect(),
            hashes: keys().map(|key| Some(key?.request_hash.as_slice())).collect(),
            keeps: keys().map(|key| Some(super::millis(key?.keep))).collect(),
        }
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
