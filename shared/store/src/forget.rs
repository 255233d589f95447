//! forget: the personal data of an order that is over. To whom it went and what they wanted minded goes, from its details, from the
//! lines of its events and of what was added, and from documents of its channel that were refused; what was ordered, and the
//! money, stays. It stays forgotten whatever its channel sends again (`told.rs`).

use domain::event::What;
use domain::order::forgetting::Notes;
use domain::order::lines::Item;
use domain::order::status::OrderStatus;
use sqlx::types::Json;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::events::{Change, note};
use super::mail;
use super::moves::{lock_charges, lock_order};

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forgot {
    /// It is forgotten, now or before.
    Done,
    /// Somebody still needs it: the order is under way, or its money is.
    UnderWay(OrderStatus),
    /// There is no such order.
    NotFound,
}

/// Forgets the personal data of an order. Running it twice is harmless.
pub async fn forget(conn: &mut PgConnection, order_id: Uuid, by: &str) -> sqlx::Result<Forgot> {
    let mut tx = conn.begin().await?;
    lock_charges(&mut tx, &[order_id]).await?;
    let Some(order) = lock_order(&mut tx, order_id).await? else { return Ok(Forgot::NotFound) };
    if !is_over(&mut tx, order_id, order.status).await? {
        return Ok(Forgot::UnderWay(order.status));
    }
    if forget_details(&mut tx, order_id).await? {
        let mut notes = Notes::default();
        forget_events(&mut tx, order_id, &mut notes).await?;
        forget_lines(&mut tx, order_id, &mut notes).await?;
        forget_refused(&mut tx, order_id).await?;
        mail::forget(&mut tx, order_id).await?;
        let change = Change {
            order_id,
            what: What::Forgotten,
            actor: by.to_owned(),
            reason: None,
            money: None,
            items: None,
            request: None,
        };
        note(&mut tx, &[change]).await?;
    }
    tx.commit().await?;
    Ok(Forgot::Done)
}

/// Whether nobody cooks it, brings it, or moves money for it any more.
async fn is_over(conn: &mut PgConnection, order_id: Uuid, status: OrderStatus) -> sqlx::Result<bool> {
    use OrderStatus::{Cancelled, Delivered, PaymentFailed, Rejected};
    if !matches!(status, Cancelled | Delivered | PaymentFailed | Rejected) {
        return Ok(false);
    }
    sqlx::query_scalar!(
        r#"SELECT NOT EXISTS (
               SELECT FROM shown_payments
               WHERE (id = $1 OR (order_id = $1 AND id <> order_id)) AND status NOT IN ('succeeded', 'failed')) AS "over!""#,
        order_id
    )
    .fetch_one(conn)
    .await
}

/// What stands with the order itself; false: it is forgotten already.
async fn forget_details(conn: &mut PgConnection, order_id: Uuid) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "INSERT INTO order_details (order_id, paid_elsewhere, handover, forgotten) VALUES ($1, false, '{}', true)
         ON CONFLICT (order_id) DO UPDATE
         SET handover = order_details.handover - 'customer' - 'delivery_address' - 'note', imported = NULL, metadata = NULL,
             document = order_details.document - 'said', gateway_payment_method = NULL, gateway_customer = NULL,
             forgotten = true
         WHERE NOT order_details.forgotten",
        order_id
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Notes of the lines that it came with, and of what was added and taken off again.
async fn forget_events(conn: &mut PgConnection, order_id: Uuid, notes: &mut Notes) -> sqlx::Result<()> {
    let rows = sqlx::query!(
        r#"SELECT version, items AS "items!: Json<Vec<Item>>" FROM order_events
           WHERE subject = $1 AND items IS NOT NULL ORDER BY version"#,
        order_id
    )
    .fetch_all(&mut *conn)
    .await?;
    for mut row in rows {
        if notes.forget(&mut row.items.0) {
            sqlx::query!(
                "UPDATE order_events SET items = $3 WHERE subject = $1 AND version = $2",
                order_id,
                row.version,
                row.items as _
            )
            .execute(&mut *conn)
            .await?;
        }
    }
    Ok(())
}

/// Those of its lines as they are now, and of what each addition's charge is for.
async fn forget_lines(conn: &mut PgConnection, order_id: Uuid, notes: &mut Notes) -> sqlx::Result<()> {
    let now = sqlx::query_scalar!(
        r#"SELECT items AS "items: Json<Vec<Item>>" FROM orders WHERE id = $1"#,
        order_id
    );
    if let Some(mut items) = now.fetch_one(&mut *conn).await?
        && notes.forget(&mut items.0)
    {
        sqlx::query!("UPDATE orders SET items = $2 WHERE id = $1", order_id, items as _)
            .execute(&mut *conn)
            .await?;
    }
    let added = sqlx::query!(
        r#"SELECT id, added AS "added!: Json<Vec<Item>>" FROM payments
           WHERE order_id = $1 AND id <> order_id AND added IS NOT NULL ORDER BY id"#,
        order_id
    );
    for mut row in added.fetch_all(&mut *conn).await? {
        if notes.forget(&mut row.added.0) {
            sqlx::query!("UPDATE payments SET added = $2 WHERE id = $1", row.id, row.added as _)
                .execute(&mut *conn)
                .await?;
        }
    }
    Ok(())
}

/// Documents of its channel that could not be taken, and that name it.
async fn forget_refused(conn: &mut PgConnection, order_id: Uuid) -> sqlx::Result<()> {
    let rows = sqlx::query!(
        r#"SELECT r.id, r.body, d.channel_order_id AS "number!" FROM refused_documents r, order_details d
           WHERE d.order_id = $1 AND r.channel = d.channel
               AND position(convert_to(d.channel_order_id, 'UTF8') IN r.body) > 0"#,
        order_id
    )
    .fetch_all(&mut *conn)
    .await?;
    // The number may stand in another order's document, too: as a postal code, or within a longer one.
    let theirs: Vec<Uuid> =
        rows.into_iter().filter(|row| is_of(&row.body, &row.number)).map(|row| row.id).collect();
    sqlx::query!("DELETE FROM refused_documents WHERE id = ANY($1)", &theirs).execute(conn).await.map(drop)
}

/// Whether a document calls its order so, in any dialect. Of what cannot be read nobody knows; it is forgotten with its time.
fn is_of(body: &[u8], number: &str) -> bool {
    let Ok(document) = serde_json::from_slice::<serde_json::Value>(body) else { return false };
    let called = |field: &str| match &document[field] {
        serde_json::Value::String(text) => text.trim() == number,
        serde_json::Value::Number(value) => value.to_string() == number,
        _ => false,
    };
    ["channelOrderId", "id"].into_iter().any(called)
}
