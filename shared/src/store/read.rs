//! read: orders, their attempts and their history. Each function is one statement and moves nothing.

use serde_json::value::RawValue;
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::money::{Currency, Money};
use crate::order::{Item, Order, OrderStatus};
use crate::payment::{AttemptAction, AttemptOutcome, PaymentKind};

/// An order and the hash of the request that made it, where a key came with it.
#[derive(Debug, Clone)]
pub struct KeyedOrder {
    /// The order.
    pub order: Order,
    /// SHA-256 of the body.
    pub request_hash: Option<Vec<u8>>,
}

/// One try at the gateway.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// Which payment.
    pub payment_id: Uuid,
    /// What that payment does.
    pub kind: PaymentKind,
    /// 1, 2, ... within the payment.
    pub number: i32,
    /// What was asked.
    pub action: AttemptAction,
    /// How it ended; `None` while under way.
    pub outcome: Option<AttemptOutcome>,
    /// The gateway's code, or ours.
    pub code: Option<String>,
    /// For people.
    pub message: Option<String>,
    /// Before the call.
    pub started_at: OffsetDateTime,
    /// After it.
    pub finished_at: Option<OffsetDateTime>,
}

/// One move of an order.
#[derive(Debug, Clone)]
pub struct Event {
    /// 1, 2, ... without a gap.
    pub version: i32,
    /// `None`: the order came to be.
    pub from: Option<OrderStatus>,
    /// Where it stands since.
    pub to: OrderStatus,
    /// Who moved it.
    pub actor: String,
    /// Why, where there is more to say.
    pub reason: Option<String>,
    /// When.
    pub at: OffsetDateTime,
}

/// Which orders to list; newest first.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only this customer's.
    pub customer_id: Option<String>,
    /// Only those that stand here.
    pub status: Option<OrderStatus>,
}

/// Where a page begins.
#[derive(Debug, Clone, Copy)]
pub enum PageStart {
    /// So many orders in: what page numbers come to. The deeper, the slower.
    Offset(i64),
    /// Behind this order: as quick at any depth.
    After(Uuid),
}

/// An order's row as the statements below select it.
struct Row {
    id: Uuid,
    customer_id: String,
    status: OrderStatus,
    items: Json<Vec<Item>>,
    total_minor: i64,
    currency: String,
    version: i32,
    created_at: OffsetDateTime,
    updated_at: OffsetDateTime,
    accept_by: Option<OffsetDateTime>,
}

impl TryFrom<Row> for Order {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> sqlx::Result<Self> {
        Ok(Self {
            id: row.id,
            customer_id: row.customer_id,
            status: row.status,
            items: canonical_items(&row.items.0)?,
            total: money(row.total_minor, &row.currency)?,
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
            accept_by: row.accept_by,
        })
    }
}

/// The lines in the shape and order of fields in which they were accepted; `jsonb` keeps only the former.
fn canonical_items(items: &[Item]) -> sqlx::Result<Box<RawValue>> {
    serde_json::value::to_raw_value(items).map_err(|error| sqlx::Error::Decode(error.into()))
}

/// Money from its two columns.
pub(super) fn money(minor: i64, currency: &str) -> sqlx::Result<Money> {
    match Currency::from_code(currency) {
        Some(currency) => Ok(Money::from_minor(minor, currency)),
        None => Err(sqlx::Error::Decode(format!("unknown currency {currency:?} in the database").into())),
    }
}

/// One order.
pub async fn order(conn: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<Order>> {
    sqlx::query_as!(
        Row,
        r#"SELECT id, customer_id, status AS "status: OrderStatus", items AS "items: Json<Vec<Item>>", total_minor,
                  currency, version, created_at, updated_at, accept_by
           FROM orders WHERE id = $1"#,
        id
    )
    .fetch_optional(conn)
    .await?
    .map(Order::try_from)
    .transpose()
}

/// The order that was accepted under a key.
pub async fn order_by_key(
    conn: &mut PgConnection,
    principal: &str,
    key: &str,
) -> sqlx::Result<Option<KeyedOrder>> {
    let found = sqlx::query!(
        "SELECT order_id, request_hash FROM idempotency_keys WHERE principal = $1 AND key = $2",
        principal,
        key
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(found) = found else { return Ok(None) };
    let order = order(conn, found.order_id).await?;
    Ok(order.map(|order| KeyedOrder { order, request_hash: Some(found.request_hash) }))
}

/// Every try of every payment of an order, oldest first.
pub async fn attempts(conn: &mut PgConnection, order_id: Uuid) -> sqlx::Result<Vec<Attempt>> {
    sqlx::query_as!(
        Attempt,
        r#"SELECT a.payment_id, p.kind AS "kind: PaymentKind", a.number, a.action AS "action: AttemptAction",
                  a.outcome AS "outcome: AttemptOutcome", a.code, a.message, a.started_at, a.finished_at
           FROM payments p JOIN payment_attempts a ON a.payment_id = p.id
           WHERE p.order_id = $1 ORDER BY p.created_at, p.id, a.number"#,
        order_id
    )
    .fetch_all(conn)
    .await
}

/// Every move of an order, oldest first; empty where there is no such order.
pub async fn history(conn: &mut PgConnection, order_id: Uuid) -> sqlx::Result<Vec<Event>> {
    sqlx::query_as!(
        Event,
        r#"SELECT version, from_status AS "from: OrderStatus", to_status AS "to: OrderStatus", actor, reason, at
           FROM order_events WHERE order_id = $1 ORDER BY version"#,
        order_id
    )
    .fetch_all(conn)
    .await
}

/// One page of orders, newest first. A customer's page and a page of all orders are two statements, so that each
/// keeps the index that it needs whatever plan the server has cached.
pub async fn list(
    conn: &mut PgConnection,
    filter: &Filter,
    start: PageStart,
    limit: i64,
) -> sqlx::Result<Vec<Order>> {
    let (after, offset) = match start {
        PageStart::Offset(offset) => (Uuid::max(), offset),
        PageStart::After(id) => (id, 0),
    };
    let rows =
        match &filter.customer_id {
            Some(customer_id) => sqlx::query_as!(
                Row,
                r#"SELECT id, customer_id, status AS "status: OrderStatus", items AS "items: Json<Vec<Item>>",
                          total_minor, currency, version, created_at, updated_at, accept_by
                   FROM orders
                   WHERE customer_id = $1 AND id < $2 AND ($3::order_status IS NULL OR status = $3)
                   ORDER BY id DESC LIMIT $4 OFFSET $5"#,
                customer_id,
                after,
                filter.status as Option<OrderStatus>,
                limit,
                offset
            )
            .fetch_all(conn)
            .await?,
            None => sqlx::query_as!(
                Row,
                r#"SELECT id, customer_id, status AS "status: OrderStatus", items AS "items: Json<Vec<Item>>",
                          total_minor, currency, version, created_at, updated_at, accept_by
                   FROM orders
                   WHERE id < $1 AND ($2::order_status IS NULL OR status = $2)
                   ORDER BY id DESC LIMIT $3 OFFSET $4"#,
                after,
                filter.status as Option<OrderStatus>,
                limit,
                offset
            )
            .fetch_all(conn)
            .await?,
        };
    rows.into_iter().map(Order::try_from).collect()
}

/// How many orders match.
pub async fn count(conn: &mut PgConnection, filter: &Filter) -> sqlx::Result<i64> {
    match &filter.customer_id {
        Some(customer_id) => {
            sqlx::query_scalar!(
                r#"SELECT count(*) AS "count!" FROM orders
                   WHERE customer_id = $1 AND ($2::order_status IS NULL OR status = $2)"#,
                customer_id,
                filter.status as Option<OrderStatus>
            )
            .fetch_one(conn)
            .await
        }
        None => {
            sqlx::query_scalar!(
                r#"SELECT count(*) AS "count!" FROM orders WHERE ($1::order_status IS NULL OR status = $1)"#,
                filter.status as Option<OrderStatus>
            )
            .fetch_one(conn)
            .await
        }
    }
}

/// Whether the database answers.
pub async fn ping(pool: &PgPool) -> sqlx::Result<()> {
    sqlx::query!(r#"SELECT 1 AS "one!""#).fetch_one(pool).await.map(drop)
}
