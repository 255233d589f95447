//! events: what changed is written down, each change under the next version of its order; and read again. Moves are written
//! by the statements that move (`accept`, `claim`, `settle`, `moves`); all other changes by `note`.

use sqlx::PgConnection;
use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;

use domain::event::{Event, What};
use domain::order::lines::Item;
use domain::order::status::OrderStatus;
use runtime::chaos::sabotaged;

/// A change that moves no order.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) order_id: Uuid,
    pub(super) what: What,
    pub(super) actor: String,
    pub(super) reason: Option<String>,
    /// The payment that it is about, and its money in minor units.
    pub(super) money: Option<(Uuid, i64)>,
    pub(super) items: Option<Vec<Item>>,
    pub(super) request: Option<Uuid>,
}

impl Change {
    /// One that is all about a payment.
    pub(super) fn of_payment(
        order_id: Uuid,
        what: What,
        actor: &str,
        reason: Option<String>,
        money: (Uuid, i64),
    ) -> Self {
        let actor = actor.to_owned();
        Self { order_id, what, actor, reason, money: Some(money), items: None, request: None }
    }
}

/// Notes `changes`, those of one order in the order given. The caller holds the orders' rows, or several notes at once
/// could wait for each other.
///
/// `UPDATE .. FROM` touches an order once, however many rows join it: so its changes are numbered first, and its version
/// goes up by their number. The version before is the one that this statement's snapshot shows, because nobody else can have
/// changed a row that the caller holds.
pub(super) async fn note(conn: &mut PgConnection, changes: &[Change]) -> sqlx::Result<()> {
    if changes.is_empty() || sabotaged("event_left_out") {
        return Ok(());
    }
    let amount = |minor: i64| if sabotaged("event_wrong_amount") { minor + 1 } else { minor };
    let orders: Vec<Uuid> = changes.iter().map(|change| change.order_id).collect();
    let whats: Vec<What> = changes.iter().map(|change| change.what).collect();
    let actors: Vec<String> = changes.iter().map(|change| change.actor.clone()).collect();
    let reasons: Vec<Option<String>> = changes.iter().map(|change| change.reason.clone()).collect();
    let payments: Vec<Option<Uuid>> = changes.iter().map(|change| change.money.map(|(id, _)| id)).collect();
    let amounts: Vec<Option<i64>> =
        changes.iter().map(|change| change.money.map(|(_, minor)| amount(minor))).collect();
    let items: Vec<Option<String>> = changes
        .iter()
        .map(|change| change.items.as_ref().map(serde_json::to_string).transpose())
        .collect::<Result<_, _>>()
        .map_err(|error| sqlx::Error::Encode(error.into()))?;
    let requests: Vec<Option<Uuid>> = changes.iter().map(|change| change.request).collect();
    sqlx::query!(
        r#"
        WITH input AS (
            SELECT *, row_number() OVER (PARTITION BY subject ORDER BY place)::int AS nth,
                count(*) OVER (PARTITION BY subject)::int AS many
            FROM unnest($1::uuid[], $2::event_what[], $3::text[], $4::text[], $5::uuid[], $6::bigint[], $7::text[], $8::uuid[])
                WITH ORDINALITY AS input(subject, what, actor, reason, payment_id, amount_minor, items, request, place)
        ), counted AS (
            UPDATE orders o SET version = o.version + i.many, updated_at = now()
            FROM input i WHERE o.id = i.subject AND i.nth = 1
        )
        INSERT INTO order_events (subject, at, version, what, actor, reason, payment_id, amount_minor, items, request)
        SELECT i.subject, now(), before.version + i.nth, i.what, i.actor, i.reason, i.payment_id, i.amount_minor,
            i.items::json, i.request
        FROM input i JOIN orders before ON before.id = i.subject
        "#,
        &orders,
        &whats as &[What],
        &actors,
        &reasons as &[Option<String>],
        &payments as &[Option<Uuid>],
        &amounts as &[Option<i64>],
        &items as &[Option<String>],
        &requests as &[Option<Uuid>],
    )
    .execute(&mut *conn)
    .await?;
    #[cfg(feature = "chaos")]
    uncount(conn, &orders).await?;
    Ok(())
}

/// Takes back what was counted for events of these orders, if this process is told to.
#[cfg(feature = "chaos")]
async fn uncount(conn: &mut PgConnection, orders: &[Uuid]) -> sqlx::Result<()> {
    if !sabotaged("event_not_counted") {
        return Ok(());
    }
    sqlx::query("UPDATE orders SET version = version - 1 WHERE id = ANY($1)")
        .bind(orders)
        .execute(conn)
        .await
        .map(drop)
}

/// An event as it is selected.
pub(super) struct Row {
    pub(super) subject: Uuid,
    pub(super) version: i32,
    pub(super) what: What,
    pub(super) from: Option<OrderStatus>,
    pub(super) to: Option<OrderStatus>,
    pub(super) actor: String,
    pub(super) reason: Option<String>,
    pub(super) payment_id: Option<Uuid>,
    pub(super) amount_minor: Option<i64>,
    pub(super) items: Option<Json<Vec<Item>>>,
    pub(super) at: OffsetDateTime,
    pub(super) began_at: Option<OffsetDateTime>,
}

impl Row {
    /// The events that it stands for.
    pub(super) fn events(self) -> impl Iterator<Item = Event> {
        let row = self;
        let event = Event {
            subject: row.subject,
            version: row.version,
            what: row.what,
            from: row.from,
            to: row.to,
            actor: row.actor,
            reason: row.reason,
            payment_id: row.payment_id,
            amount_minor: row.amount_minor,
            items: row.items.map(|Json(items)| items),
            at: row.at,
        };
        event.with_begin(row.began_at)
    }
}

/// Every event of an order, oldest first; empty where there is no such order. With the move to `PAYMENT_PROCESSING` of one whose
/// charge has been claimed, which is not written down yet.
pub async fn history(conn: &mut PgConnection, order_id: Uuid) -> sqlx::Result<Vec<Event>> {
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT subject AS "subject!", version AS "version!", what AS "what!: What", from_status AS "from: OrderStatus",
                  to_status AS "to: OrderStatus", actor AS "actor!", reason, payment_id, amount_minor,
                  items AS "items: Json<Vec<Item>>", at AS "at!", NULL::timestamptz AS began_at
           FROM shown_events WHERE subject = $1 ORDER BY version"#,
        order_id
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().flat_map(Row::events).collect())
}

/// Whether this request has changed the order already: an earlier run of it took effect, though its answer was lost.
pub(super) async fn done_before(
    conn: &mut PgConnection,
    order_id: Uuid,
    request: Uuid,
) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM order_events WHERE subject = $1 AND request = $2) AS "done!""#,
        order_id,
        request
    )
    .fetch_one(conn)
    .await
}
