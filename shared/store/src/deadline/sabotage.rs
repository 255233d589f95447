//! Bugs on purpose that need SQL of their own, for the chaos harness alone: it has to notice each of them.

use runtime::chaos::sabotaged;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::events::note;
use crate::refunds::{Owed, owe};

/// Rejects what is late, whatever the kitchen has answered, if this process is told to.
pub(super) async fn reject_answered(conn: &mut PgConnection) -> sqlx::Result<()> {
    if !sabotaged("deadline_without_guard") {
        return Ok(());
    }
    // The table of legal moves would refuse it.
    sqlx::query("SET session_replication_role = replica").execute(&mut *conn).await?;
    let mut tx = conn.begin().await?;
    let charges: Vec<(Uuid,)> = sqlx::query_as(
        "WITH moved AS (
             UPDATE orders SET status = 'REJECTED', version = version + 1, updated_at = now()
             WHERE status = 'ACCEPTED' AND accept_by <= now() RETURNING id, version
         ), noted AS (
             INSERT INTO order_events (subject, at, version, what, from_status, to_status, actor, reason)
             SELECT id, now(), version, 'moved', 'ACCEPTED', 'REJECTED', 'sweep', 'accept_deadline' FROM moved
         ), left_kitchen AS (
             DELETE FROM in_kitchen k USING moved m WHERE k.order_id = m.id
         )
         SELECT p.id FROM moved m JOIN payments p ON p.id = m.id OR (p.order_id = m.id AND p.id <> p.order_id)
         WHERE p.kind = 'charge' AND p.status = 'succeeded'",
    )
    .fetch_all(&mut *tx)
    .await?;
    // Nobody else touches these charges here, so they need not be held.
    let owed: Vec<Owed> = charges
        .into_iter()
        .map(|(charge_id,)| Owed { charge_id, why: "accept_deadline".to_owned(), actor: "sweep".to_owned() })
        .collect();
    let changes = owe(&mut tx, &owed).await?;
    note(&mut tx, &changes).await?;
    tx.commit().await
}
