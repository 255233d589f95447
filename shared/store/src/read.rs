//! read: orders, their payments and attempts; pages of orders stand in `list.rs`, histories in `events.rs`. Nothing here
//! moves anything.

use std::collections::HashMap;

use domain::event::Event;
use domain::location::MAIN;
use domain::money::{Money, currency_of};
use domain::order::adjustments::Adjustment;
use domain::order::details::{Handover, LeftOut};
use domain::order::lines::Item;
use domain::order::status::OrderStatus;
use domain::order::{CancelWish, Order};
use domain::payment::{AttemptAction, AttemptOutcome, PaymentKind, PaymentStatus};
use serde_json::value::RawValue;
use sqlx::PgConnection;
use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;

use super::details::Columns;
use super::events::history;

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

/// An order's row as the statements below select it.
#[derive(sqlx::FromRow)]
pub(super) struct Row {
    pub(super) id: Uuid,
    pub(super) customer_id: String,
    pub(super) location: String,
    pub(super) status: OrderStatus,
    pub(super) items: Json<Vec<Item>>,
    pub(super) total_minor: i64,
    pub(super) currency: String,
    pub(super) version: i32,
    pub(super) created_at: OffsetDateTime,
    pub(super) updated_at: OffsetDateTime,
    pub(super) accept_by: Option<OffsetDateTime>,
    pub(super) cancel_requested_at: Option<OffsetDateTime>,
    pub(super) cancel_actor: Option<String>,
    pub(super) cancel_reason: Option<String>,
}

impl TryFrom<Row> for Order {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> sqlx::Result<Self> {
        Ok(Self {
            id: row.id,
            customer_id: row.customer_id,
            location: Some(row.location).filter(|location| location != MAIN),
            status: row.status,
            items: canonical_items(&row.items.0)?,
            total: money(row.total_minor, &row.currency)?,
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
            accept_by: row.accept_by,
            cancel_wish: row.cancel_requested_at.map(|at| CancelWish {
                at,
                by: row.cancel_actor.unwrap_or_default(),
                reason: row.cancel_reason,
            }),
            details: None,
        })
    }
}

/// The lines in the shape and order of fields in which they were accepted, however they came into the database.
pub(super) fn canonical_items(items: &[Item]) -> sqlx::Result<Box<RawValue>> {
    serde_json::value::to_raw_value(items).map_err(|error| sqlx::Error::Decode(error.into()))
}

/// Money from its two columns.
pub(super) fn money(minor: i64, currency: &str) -> sqlx::Result<Money> {
    match currency_of(currency) {
        Some(currency) => Ok(Money::from_minor(minor, currency)),
        None => Err(sqlx::Error::Decode(format!("unknown currency {currency:?} in the database").into())),
    }
}

/// One order.
pub async fn order(conn: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<Order>> {
    let row = sqlx::query!(
        r#"SELECT o.id AS "id!", customer_id AS "customer_id!", location AS "location!",
                  status AS "status!: OrderStatus", coalesce(o.items, first.items) AS "items!: Json<Vec<Item>>", total_minor AS "total_minor!",
                  currency AS "currency!", o.version AS "version!", created_at AS "created_at!", updated_at AS "updated_at!",
                  accept_by, cancel_requested_at, cancel_actor, cancel_reason,
                  d.paid_elsewhere AS "paid_elsewhere?", d.on_delivery AS "on_delivery?", d.collected AS "collected?",
                  d.kept AS "kept?", d.expires_at, d.wanted_at, d.held_until, d.left_out AS "left_out: Json<Vec<LeftOut>>", d.channel, d.channel_order_id, d.payment_reference,
                  d.gateway_payment_method, d.gateway_customer, d.handover AS "handover?: Json<Handover>",
                  d.metadata AS "metadata: Json<Box<RawValue>>",
                  coalesce(o.adjustments, first.adjustments) AS "adjustments: Json<Vec<Adjustment>>"
           FROM shown_orders o JOIN order_events first ON first.subject = o.id AND first.version = 1
           LEFT JOIN order_details d ON d.order_id = o.id WHERE o.id = $1"#,
        id
    )
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let details = Columns {
        paid_elsewhere: row.paid_elsewhere,
        on_delivery: row.on_delivery,
        collected: row.collected,
        kept: row.kept,
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
    let order = Order::try_from(Row {
        id: row.id,
        customer_id: row.customer_id,
        location: row.location,
        status: row.status,
        items: row.items,
        total_minor: row.total_minor,
        currency: row.currency,
        version: row.version,
        created_at: row.created_at,
        updated_at: row.updated_at,
        accept_by: row.accept_by,
        cancel_requested_at: row.cancel_requested_at,
        cancel_actor: row.cancel_actor,
        cancel_reason: row.cancel_reason,
    })?;
    Ok(Some(Order { details, ..order }))
}

/// What came with an order of its life elsewhere, to the letter; `None`: nothing.
pub async fn imported(conn: &mut PgConnection, order_id: Uuid) -> sqlx::Result<Option<Box<RawValue>>> {
    let imported = sqlx::query_scalar!(
        r#"SELECT imported AS "imported: Json<Box<RawValue>>" FROM order_details WHERE order_id = $1"#,
        order_id
    )
    .fetch_optional(conn)
    .await?;
    Ok(imported.flatten().map(|Json(imported)| imported))
}

/// Every try of every payment of an order, oldest first.
pub async fn attempts(conn: &mut PgConnection, order_id: Uuid) -> sqlx::Result<Vec<Attempt>> {
    sqlx::query_as!(
        Attempt,
        r#"SELECT a.payment_id AS "payment_id!", p.kind AS "kind!: PaymentKind", a.number AS "number!",
                  a.action AS "action!: AttemptAction", a.outcome AS "outcome: AttemptOutcome", a.code, a.message,
                  a.started_at AS "started_at!", a.finished_at
           FROM shown_payments p
           -- As shown_attempts, with the payment looked up in each half: through the view all tries of all would be read.
           CROSS JOIN LATERAL (
               SELECT t.payment_id, t.number, t.action, t.outcome, t.code, t.message, t.started_at, t.finished_at
               FROM payment_attempts t WHERE t.payment_id = p.id
               UNION ALL
               SELECT c.id, c.attempts, c.trying, NULL, NULL, NULL, c.claimed_at, NULL
               FROM open_charges c WHERE c.id = p.id AND c.trying IS NOT NULL
           ) a
           WHERE p.id = $1 OR (p.order_id = $1 AND p.id <> p.order_id) ORDER BY p.created_at, p.id, a.number"#,
        order_id
    )
    .fetch_all(conn)
    .await
}

/// An order with all that belongs to it.
#[derive(Debug, Clone)]
pub struct Whole {
    /// The order.
    pub order: Order,
    /// Its payments, oldest first.
    pub payments: Vec<Paid>,
    /// Their tries.
    pub attempts: Vec<Attempt>,
    /// What happened to it, oldest first.
    pub events: Vec<Event>,
}

/// A payment of an order.
#[derive(Debug, Clone)]
pub struct Paid {
    /// The gateway's idempotency key.
    pub id: Uuid,
    /// The order.
    pub order_id: Uuid,
    /// What it does.
    pub kind: PaymentKind,
    /// Where it stands.
    pub status: PaymentStatus,
    /// How much.
    pub amount: Money,
    /// The client's name for it.
    pub reference: Option<String>,
    /// Of a refund: the charge that it gives back.
    pub refund_of: Option<Uuid>,
    /// Of a refund: why. Of a charge that failed: the code.
    pub reason: Option<String>,
    /// Of a charge: that it is for what was added later.
    pub is_addition: bool,
    /// Since when it is there.
    pub created_at: OffsetDateTime,
    /// When it is called off, where that is said.
    pub expires_at: Option<OffsetDateTime>,
    /// Of an order for later: until when it is held.
    pub held_until: Option<OffsetDateTime>,
}

impl Paid {
    /// A charge whose outcome is not known.
    pub const fn is_open_charge(&self) -> bool {
        use PaymentStatus::{Held, Pending, Processing, Waiting};
        matches!(self.kind, PaymentKind::Charge)
            && matches!(self.status, Held | Pending | Processing | Waiting)
    }
}

struct PaidRow {
    id: Uuid,
    order_id: Uuid,
    kind: PaymentKind,
    status: PaymentStatus,
    amount_minor: i64,
    currency: String,
    reference: Option<String>,
    refund_of: Option<Uuid>,
    reason: Option<String>,
    is_addition: bool,
    created_at: OffsetDateTime,
    expires_at: Option<OffsetDateTime>,
    held_until: Option<OffsetDateTime>,
}

impl TryFrom<PaidRow> for Paid {
    type Error = sqlx::Error;

    fn try_from(row: PaidRow) -> sqlx::Result<Self> {
        Ok(Self {
            id: row.id,
            order_id: row.order_id,
            kind: row.kind,
            status: row.status,
            amount: money(row.amount_minor, &row.currency)?,
            reference: row.reference,
            refund_of: row.refund_of,
            reason: row.reason,
            is_addition: row.is_addition,
            created_at: row.created_at,
            expires_at: row.expires_at,
            held_until: row.held_until,
        })
    }
}

/// One order with all that belongs to it. Several statements: what moves between them may show in some only.
pub async fn whole(conn: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<Whole>> {
    let Some(order) = order(conn, id).await? else { return Ok(None) };
    let payments = named_payments(conn, &order).await?;
    let attempts = attempts(conn, id).await?;
    let events = history(conn, id).await?;
    Ok(Some(Whole { order, payments, attempts, events }))
}

/// Every payment of an order, oldest first.
pub async fn payments(conn: &mut PgConnection, order_id: Uuid) -> sqlx::Result<Vec<Paid>> {
    let rows = sqlx::query_as!(
        PaidRow,
        r#"SELECT id AS "id!", order_id AS "order_id!", kind AS "kind!: PaymentKind", status AS "status!: PaymentStatus",
                  amount_minor AS "amount_minor!", currency AS "currency!", reference, refund_of,
                  coalesce(reason, failure_code) AS reason, added IS NOT NULL AS "is_addition!", created_at AS "created_at!",
                  expires_at, held_until
           FROM shown_payments WHERE id = $1 OR (order_id = $1 AND id <> order_id) ORDER BY created_at, id"#,
        order_id
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Paid::try_from).collect()
}

/// The same, each with what its client calls it: of a refund, the charge that it gives back.
async fn named_payments(conn: &mut PgConnection, order: &Order) -> sqlx::Result<Vec<Paid>> {
    let mut payments = payments(conn, order.id).await?;
    if let Some(own) = payments.iter_mut().find(|one| one.id == order.id) {
        own.reference = own_reference(order).cloned();
    }
    if payments.iter().all(|one| one.refund_of.is_none()) {
        return Ok(payments);
    }
    let charges: HashMap<Uuid, Option<String>> =
        payments.iter().map(|one| (one.id, one.reference.clone())).collect();
    for refund in &mut payments {
        if let Some(reference) = refund.refund_of.and_then(|charge| charges.get(&charge)) {
            refund.reference.clone_from(reference);
        }
    }
    Ok(payments)
}

/// What its client calls its own payment stands with its details.
fn own_reference(order: &Order) -> Option<&String> {
    order.details.as_ref().and_then(|details| details.payment.reference.as_ref())
}

/// What its client calls the payments that these events of an order are about.
pub async fn references(
    conn: &mut PgConnection,
    order: &Order,
    events: &[Event],
) -> sqlx::Result<HashMap<Uuid, String>> {
    if events.iter().all(|event| event.payment_id.is_none_or(|id| id == order.id)) {
        return Ok(own_reference(order).map(|name| (order.id, name.clone())).into_iter().collect());
    }
    let payments = named_payments(conn, order).await?;
    Ok(payments.into_iter().filter_map(|one| Some((one.id, one.reference?))).collect())
}
