//! What stands where new orders should: an order that came under the same key, by the same channel's name, or in an earlier run
//! of the same batch. One look for a whole batch, because clients that got no answer ask again all at once.

use std::collections::HashMap;

use domain::channel::name::ChannelKey;
use domain::location::MAIN;
use domain::order::Order;
use domain::order::adjustments::Adjustment;
use domain::order::details::{Handover, LeftOut};
use domain::order::lines::Item;
use domain::order::status::OrderStatus;
use serde_json::value::RawValue;
use sqlx::PgConnection;
use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Accept, Accepted, IdempotencyKey};
use crate::details::Columns;
use crate::read::{canonical_items, money};

/// What is there, as it was accepted, whatever became of it since: what its first event says.
pub(super) struct Earlier {
    order: Order,
    status_now: OrderStatus,
    by: By,
}

/// What led to it.
enum By {
    /// A client's key, and what came under it. `moved`: it came with a request to move that order.
    Key { hash: Vec<u8>, moved: bool },
    /// A channel's name, and what was ordered under it.
    Channel(Vec<u8>),
    /// Its own id.
    Id,
}

/// What an order may be known by.
struct Names<'a> {
    id: Uuid,
    key: Option<&'a IdempotencyKey>,
    channel: Option<&'a ChannelKey>,
}

impl Earlier {
    pub(super) fn answer(self, one: &Accept) -> Accepted {
        if self.order.id == one.order.id {
            // An earlier try of this very batch took effect, though its answer was lost.
            return match self.order.details.as_ref().is_some_and(|details| !details.left_out.is_empty()) {
                true => Accepted::Partly(Box::new(self.order)),
                false => Accepted::New { created_at: self.order.created_at },
            };
        }
        match self.by {
            By::Channel(_) => self.answer_to_channel(one.channel_key()),
            By::Key { .. } | By::Id => self.answer_to_key(one.key.as_ref()),
        }
    }

    fn answer_to_key(self, key: Option<&IdempotencyKey>) -> Accepted {
        match self.by {
            By::Key { hash, moved: false } if key.is_some_and(|key| key.request_hash[..] == *hash) => {
                Accepted::Replay(Box::new(self.order))
            }
            _ => Accepted::KeyReused,
        }
    }

    fn answer_to_channel(self, key: Option<&ChannelKey>) -> Accepted {
        match self.by {
            By::Channel(hash) if key.is_some_and(|key| key.content[..] == *hash) => {
                Accepted::Replay(Box::new(self.order))
            }
            _ => Accepted::ChannelIdReused(self.status_now),
        }
    }
}

/// What an order of a channel is answered that came before under this name; `None`: none did.
pub async fn answered_before(conn: &mut PgConnection, key: &ChannelKey) -> sqlx::Result<Option<Accepted>> {
    let nobody = Names { id: Uuid::nil(), key: None, channel: Some(key) };
    let found = look(conn, &[nobody]).await?.into_values().next();
    Ok(found.map(|found| found.answer_to_channel(Some(key))))
}

/// What a request under this key is answered, if one came under it before; `None`: none did.
pub async fn answered_under(conn: &mut PgConnection, key: &IdempotencyKey) -> sqlx::Result<Option<Accepted>> {
    let nobody = Names { id: Uuid::nil(), key: Some(key), channel: None };
    let found = look(conn, &[nobody]).await?.into_values().next();
    Ok(found.map(|found| found.answer_to_key(Some(key))))
}

/// Whether something came before under one of the names of `one`.
pub async fn came_before(conn: &mut PgConnection, one: &Accept) -> sqlx::Result<bool> {
    Ok(!find(conn, &[one]).await?.is_empty())
}

/// For each of `missing` what is there instead. A statement after the one that inserts, because only a new snapshot sees what
/// others committed meanwhile.
pub(super) async fn find(
    conn: &mut PgConnection,
    missing: &[&Accept],
) -> sqlx::Result<HashMap<Uuid, Earlier>> {
    if missing.is_empty() {
        return Ok(HashMap::new());
    }
    let names: Vec<Names<'_>> = missing
        .iter()
        .map(|one| Names { id: one.order.id, key: one.key.as_ref(), channel: one.channel_key() })
        .collect();
    look(conn, &names).await
}

struct Row {
    asked: Uuid,
    id: Uuid,
    key_hash: Option<Vec<u8>>,
    moved: bool,
    channel_hash: Option<Vec<u8>>,
    customer_id: String,
    location: String,
    currency: String,
    created_at: OffsetDateTime,
    accept_by: Option<OffsetDateTime>,
    status_now: OrderStatus,
    status: OrderStatus,
    items: Json<Vec<Item>>,
    total_minor: i64,
    paid_elsewhere: Option<bool>,
    on_delivery: Option<bool>,
    channel: Option<String>,
    channel_order_id: Option<String>,
    payment_reference: Option<String>,
    gateway_payment_method: Option<String>,
    gateway_customer: Option<String>,
    handover: Option<Json<Handover>>,
    metadata: Option<Json<Box<RawValue>>>,
    adjustments: Option<Json<Vec<Adjustment>>>,
    expires_at: Option<OffsetDateTime>,
    wanted_at: Option<OffsetDateTime>,
    held_until: Option<OffsetDateTime>,
    left_out: Option<Json<Vec<LeftOut>>>,
}

/// A client's key goes before a channel's name, and that before the order's own id.
///
/// OFFSET 0: each is looked up by its whole key. Joined, they could be planned as a walk through all names and all orders.
async fn look(conn: &mut PgConnection, names: &[Names<'_>]) -> sqlx::Result<HashMap<Uuid, Earlier>> {
    let ids: Vec<Uuid> = names.iter().map(|one| one.id).collect();
    let principals: Vec<Option<&str>> = names.iter().map(|one| Some(one.key?.principal.as_str())).collect();
    let keys: Vec<Option<&str>> = names.iter().map(|one| Some(one.key?.key.as_str())).collect();
    let scopes: Vec<Option<String>> = names.iter().map(|one| Some(one.channel?.scope())).collect();
    let order_ids: Vec<Option<&str>> = names.iter().map(|one| Some(one.channel?.order_id.as_str())).collect();
    let rows = sqlx::query_as!(
        Row,
        r#"
        WITH met AS (
            SELECT input.id AS asked, coalesce(k.named, c.named, input.id) AS id, k.hash AS key_hash,
                k.request IS NOT NULL AS moved, c.hash AS channel_hash
            FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[])
                AS input(id, principal, key, scope, channel_order_id)
            LEFT JOIN LATERAL (
                SELECT named, hash, request FROM names
                WHERE kind = 'idempotency_key' AND scope = input.principal AND name = input.key OFFSET 0
            ) k ON true
            LEFT JOIN LATERAL (
                SELECT named, hash FROM names
                WHERE kind = 'channel_order' AND scope = input.scope AND name = input.channel_order_id OFFSET 0
            ) c ON true
        )
        SELECT met.asked AS "asked!", met.id AS "id!", met.key_hash, met.moved AS "moved!", met.channel_hash,
            o.customer_id AS "customer_id!", o.location AS "location!", o.currency AS "currency!", o.created_at AS "created_at!", o.accept_by,
            o.status AS "status_now!: OrderStatus", first.to_status AS "status!: OrderStatus",
            first.items AS "items!: Json<Vec<Item>>", first.amount_minor AS "total_minor!",
            d.paid_elsewhere AS "paid_elsewhere?", d.on_delivery AS "on_delivery?", d.channel, d.channel_order_id,
            d.payment_reference, d.gateway_payment_method, d.gateway_customer, d.handover AS "handover?: Json<Handover>",
            d.metadata AS "metadata: Json<Box<RawValue>>", first.adjustments AS "adjustments: Json<Vec<Adjustment>>",
            d.expires_at, d.wanted_at, d.held_until, d.left_out AS "left_out: Json<Vec<LeftOut>>"
        FROM met
        CROSS JOIN LATERAL (SELECT * FROM shown_orders WHERE id = met.id OFFSET 0) o
        CROSS JOIN LATERAL (SELECT * FROM order_events WHERE subject = met.id AND version = 1 OFFSET 0) first
        LEFT JOIN LATERAL (SELECT * FROM order_details WHERE order_id = met.id OFFSET 0) d ON true
        "#,
        &ids,
        &principals as &[Option<&str>],
        &keys as &[Option<&str>],
        &scopes as &[Option<String>],
        &order_ids as &[Option<&str>],
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(|row| Ok((row.asked, Earlier::try_from(row)?))).collect()
}

impl TryFrom<Row> for Earlier {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> sqlx::Result<Self> {
        // As they were then: nothing had come in, and nothing was kept.
        let details = Columns {
            paid_elsewhere: row.paid_elsewhere,
            on_delivery: row.on_delivery,
            collected: None,
            kept: None,
            expires_at: row.expires_at,
            wanted_at: row.wanted_at,
            held_until: row.held_until,
            left_out: row.left_out,
            channel: row.channel,
            channel_order_id: row.channel_order_id,
            payment_reference: row.payment_reference,
            gateway_payment_method: row.gateway_payment_method,
            gateway_customer: row.gateway_customer,
            handover: row.handover,
            metadata: row.metadata,
        };
        let details = details.with(row.adjustments);
        let order = Order {
            id: row.id,
            customer_id: row.customer_id,
            location: Some(row.location).filter(|location| location != MAIN),
            status: row.status,
            items: canonical_items(&row.items.0)?,
            total: money(row.total_minor, &row.currency)?,
            version: 1,
            created_at: row.created_at,
            updated_at: row.created_at,
            accept_by: row.accept_by.filter(|_| row.status == OrderStatus::Confirmed),
            cancel_wish: None,
            details,
        };
        let by = match (row.key_hash, row.channel_hash) {
            (Some(hash), _) => By::Key { hash, moved: row.moved },
            (None, Some(hash)) => By::Channel(hash),
            (None, None) => By::Id,
        };
        Ok(Self { order, status_now: row.status_now, by })
    }
}
