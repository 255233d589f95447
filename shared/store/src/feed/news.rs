//! Whose events have been committed since the last look: for those who watch some orders and read these by their versions. No
//! cursor, no tick, nothing kept: who was not there a moment ago reads everything once.

use domain::event::{Event, What};
use domain::order::lines::Item;
use domain::order::status::OrderStatus;
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use crate::events::Row;

/// What had ended when it was last looked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    before_tx: i64,
    running: Vec<i64>,
}

/// Now.
pub async fn moment(conn: &mut PgConnection) -> sqlx::Result<Seen> {
    sqlx::query_as!(
        Seen,
        r#"SELECT txid_snapshot_xmax(now) AS "before_tx!", ARRAY(SELECT txid_snapshot_xip(now)) AS "running!: Vec<i64>"
           FROM txid_current_snapshot() now"#
    )
    .fetch_one(conn)
    .await
}

/// Whose events came since `seen`, and what is seen now: one statement, so that nothing falls between the two. Each half reads what
/// is new by the index on `tx`, and no more.
pub async fn since(conn: &mut PgConnection, seen: &Seen) -> sqlx::Result<(Vec<Uuid>, Seen)> {
    let row = sqlx::query!(
        r#"
        SELECT txid_snapshot_xmax(now) AS "before_tx!", ARRAY(SELECT txid_snapshot_xip(now)) AS "running!: Vec<i64>",
            ARRAY(
                SELECT subject FROM order_events WHERE tx >= $1
                UNION
                SELECT e.subject FROM unnest($2::bigint[]) late(tx) JOIN order_events e ON e.tx = late.tx
            ) AS "subjects!: Vec<Uuid>"
        FROM txid_current_snapshot() now
        "#,
        seen.before_tx,
        &seen.running
    )
    .fetch_one(conn)
    .await?;
    Ok((row.subjects, Seen { before_tx: row.before_tx, running: row.running }))
}

/// Every event of these orders that is written down, without its lines, by subject and version. A claim is written down with what
/// ended it: until then `events::history` shows one, which may yet come to nothing.
pub async fn written(conn: &mut PgConnection, subjects: &[Uuid]) -> sqlx::Result<Vec<Event>> {
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT subject AS "subject!", version AS "version!", what AS "what!: What", from_status AS "from: OrderStatus",
                  to_status AS "to: OrderStatus", actor AS "actor!", reason, payment_id, amount_minor,
                  NULL::json AS "items: Json<Vec<Item>>", at AS "at!", began_at
           FROM order_events WHERE subject = ANY($1)"#,
        subjects
    )
    .fetch_all(conn)
    .await?;
    let mut events: Vec<Event> = rows.into_iter().flat_map(Row::events).collect();
    events.sort_by_key(|event| (event.subject, event.version));
    Ok(events)
}
