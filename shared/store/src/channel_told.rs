//! told by a channel: what it says later of an order that it sent before is written down, each thing that changes by an event of
//! its own. The rules stand in `domain::channel::told`.

use domain::channel::document::Document;
use domain::channel::name::ChannelName;
use domain::channel::told::{CalledOff, Change, Kept, Ruling, Told, Wanted};
use domain::event::What;
use domain::location::MAIN;
use domain::order::details::Handover;
use domain::order::moves::Actor;
use domain::order::payment_method::PaymentMethod;
use domain::order::status::OrderStatus;
use serde_json::value::RawValue;
use sqlx::types::Json;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::accept::IdempotencyKey;
use super::channels;
use super::events::{self, done_before, note};
use super::keyed::{Keyed, Request};
use super::moves::{Decided, Moved, answer, end, lock_charges, lock_order, note_processing};

/// A document of an order that is there.
#[derive(Debug, Clone)]
pub struct Tell {
    /// This request: carried out twice, it knows itself again.
    pub request: Uuid,
    /// The order.
    pub order_id: Uuid,
    /// Who hands it in.
    pub by: Actor,
    /// What it says.
    pub told: Told,
}

/// Writes down what a document says otherwise. Running it twice is harmless.
pub async fn tell(conn: &mut PgConnection, asked: impl Into<Keyed<'_, Tell>>) -> sqlx::Result<Moved> {
    let Keyed { ask, key } = asked.into();
    let request = Request { order_id: ask.order_id, id: ask.request, key };
    let mut tx = conn.begin().await?;
    let decided = rule_and_tell(&mut tx, ask).await?;
    let decided = end(tx, decided, request).await?;
    answer(conn, decided, request).await
}

/// Holds the charges and then the order, as whoever moves it does: so the kitchen has begun, or it has not.
async fn rule_and_tell(conn: &mut PgConnection, ask: &Tell) -> sqlx::Result<Decided> {
    const DONE: Decided = Decided::Done { wish: false };
    lock_charges(conn, &[ask.order_id]).await?;
    let Some(order) = lock_order(conn, ask.order_id).await? else { return Ok(Decided::NotFound) };
    if !ask.by.may_see(&order.customer_id, &order.location) {
        return Ok(Decided::NotFound);
    }
    if done_before(conn, ask.order_id, ask.request).await? {
        return Ok(DONE);
    }
    let Some(kept) = kept(conn, ask.order_id).await? else { return Ok(Decided::NotFound) };
    let changes = match kept.rule(&ask.told, order.status) {
        Ruling::Nothing => return Ok(DONE),
        Ruling::Refused(refusal) => return Ok(Decided::Refused { refusal, status: order.status }),
        Ruling::Changes(changes) => changes,
    };
    note_processing(conn, &[ask.order_id]).await?;
    keep(conn, ask.order_id, &kept.document_after(&ask.told), &ask.told, changes.len()).await?;
    if let (true, Some(wanted)) = (changes.contains(&Change::PickupTime), ask.told.wanted) {
        move_time(conn, ask.order_id, wanted).await?;
    }
    let change = |change: &Change| events::Change {
        order_id: ask.order_id,
        what: What::Told,
        actor: ask.by.name(),
        reason: Some(change.name().to_owned()),
        money: None,
        items: None,
        request: Some(ask.request),
    };
    note(conn, &changes.iter().map(change).collect::<Vec<_>>()).await?;
    Ok(DONE)
}

async fn keep(
    conn: &mut PgConnection,
    order_id: Uuid,
    document: &Document,
    told: &Told,
    changes: usize,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE order_details SET handover = $2, imported = $3::text::json, document = $4, told = told + $5
         WHERE order_id = $1",
        order_id,
        Json(&told.handover) as _,
        told.imported.get(),
        Json(document) as _,
        i32::try_from(changes).unwrap_or(i32::MAX)
    )
    .execute(conn)
    .await
    .map(drop)
}

/// What is held until its time is held until the one that is told now; and the kitchen's time, of what needs no charge, counts from then.
/// What is not held any more goes on as it is.
async fn move_time(conn: &mut PgConnection, order_id: Uuid, wanted: Wanted) -> sqlx::Result<()> {
    sqlx::query!(
        "WITH held AS (
             SELECT held_until AS before, greatest($3, now()) AS until FROM order_details
             WHERE order_id = $1 AND held_until > now()
         ), charged AS (
             UPDATE payments SET held_until = held.until FROM held
             WHERE id = $1 AND status = 'held' AND payments.held_until IS NOT NULL
         ), uncharged AS (
             UPDATE payments p SET answer_by = p.answer_by + (held.until - held.before) FROM held
             WHERE p.id = $1 AND p.kind <> 'charge' AND p.answer_by IS NOT NULL
             RETURNING p.answer_by
         ), shown AS (
             UPDATE orders SET accept_by = u.answer_by FROM uncharged u WHERE id = $1 AND status = 'CONFIRMED'
         )
         UPDATE order_details d SET wanted_at = $2, held_until = held.until FROM held WHERE d.order_id = $1",
        order_id,
        wanted.at,
        wanted.held_until
    )
    .execute(conn)
    .await
    .map(drop)
}

/// What is kept of an order that a channel sent; `None`: there is no such order.
async fn kept(conn: &mut PgConnection, order_id: Uuid) -> sqlx::Result<Option<Kept>> {
    let row = sqlx::query!(
        r#"SELECT d.handover AS "handover: Json<Handover>", d.imported AS "imported: Json<Box<RawValue>>",
                  d.document AS "document: Json<Document>", d.paid_elsewhere, d.on_delivery, d.forgotten,
                  d.collected OR o.total_minor = 0 AS "is_settled!"
           FROM order_details d JOIN orders o ON o.id = d.order_id
           WHERE d.order_id = $1 AND d.channel IS NOT NULL"#,
        order_id
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Kept {
        handover: row.handover.0,
        imported: row.imported.map(|Json(imported)| imported),
        document: row.document.map(|Json(document)| document).unwrap_or_default(),
        method: match (row.paid_elsewhere, row.on_delivery) {
            (true, _) => PaymentMethod::Elsewhere,
            (false, true) => PaymentMethod::OnDelivery,
            (false, false) => PaymentMethod::Card,
        },
        is_settled: row.is_settled,
        is_forgotten: row.forgotten,
    }))
}

/// What would become of what is told, and where the order stands, if it is any business of theirs: looked at without a lock, for most
/// of what comes again says nothing new.
pub async fn look(
    conn: &mut PgConnection,
    order_id: Uuid,
    by: &Actor,
    told: &Told,
) -> sqlx::Result<Option<(Ruling, OrderStatus)>> {
    let Some(kept) = kept(conn, order_id).await? else { return Ok(None) };
    let order = sqlx::query!(
        r#"SELECT status AS "status!: OrderStatus", customer_id AS "customer_id!", location AS "location!"
           FROM shown_orders WHERE id = $1"#,
        order_id
    )
    .fetch_one(conn)
    .await?;
    let is_theirs = by.may_see(&order.customer_id, &order.location);
    Ok(is_theirs.then(|| (kept.rule(told, order.status), order.status)))
}

/// An order that a channel calls by a number, or that a document made.
#[derive(Debug, Clone)]
pub struct Found {
    /// Which.
    pub id: Uuid,
    /// Where it stands.
    pub status: OrderStatus,
}

/// The order that a document is about. Where numbers come again, another one may have its number by now: so it is the one that
/// came by this very document (under `key`), or the one of this number, at the location that the document names, if it does, that is not
/// said to have come by another.
pub async fn of_document(
    conn: &mut PgConnection,
    channel: &ChannelName,
    off: &CalledOff,
    key: Option<&IdempotencyKey>,
) -> sqlx::Result<Option<Found>> {
    let scopes = match off.location.as_deref() {
        Some(location) => vec![channel.scope(Some(location).filter(|location| *location != MAIN))],
        None => channels::scopes(conn, channel).await?,
    };
    let (principal, name) = key.map(|key| (key.principal.as_str(), key.key.as_str())).unzip();
    let rows = sqlx::query!(
        r#"SELECT o.id AS "id!", o.status AS "status!: OrderStatus", met.by_document AS "by_document!",
                  d.document AS "document: Json<Document>", d.named_until IS NULL AS "is_for_good!"
           FROM (
               SELECT named, true AS by_document FROM names
               WHERE kind = 'idempotency_key' AND scope = $3 AND name = $4 AND request IS NULL
               UNION ALL
               SELECT named, false FROM names WHERE kind = 'channel_order' AND scope = ANY($1) AND name = $2
           ) met
           CROSS JOIN LATERAL (SELECT id, status FROM shown_orders WHERE id = met.named OFFSET 0) o
           CROSS JOIN LATERAL (SELECT document, named_until FROM order_details WHERE order_id = met.named OFFSET 0) d
           ORDER BY met.named DESC"#,
        &scopes,
        off.order_id,
        principal,
        name
    )
    .fetch_all(conn)
    .await?;
    let by_document = rows.iter().find(|row| row.by_document);
    let is_this =
        |kept: &Option<Json<Document>>| kept.as_ref().is_none_or(|Json(kept)| off.document.is_surely(kept));
    // Of several that may be meant the one that surely is, if any.
    let by_number = || rows.iter().filter(|row| !row.by_document);
    let sure = by_number().find(|row| is_this(&row.document));
    let by_number = sure.or_else(|| by_number().find(|row| row.is_for_good));
    Ok(by_document.or(by_number).map(|row| Found { id: row.id, status: row.status }))
}
