//! Bugs on purpose that need SQL of their own, for the chaos harness alone: it has to notice each of them.

use domain::payment::AttemptAction;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Claimed, Terms};
use crate::read::money;

/// Says what a claim of orders' own charges would be, and writes nothing; other payments are claimed.
pub(super) async fn pretend_to_claim(
    conn: &mut PgConnection,
    hints: &[Uuid],
    terms: Terms,
) -> sqlx::Result<Vec<Claimed>> {
    let own: Vec<(Uuid, i64, String, i32, i32, i32, AttemptAction)> = sqlx::query_as(
        "SELECT id, amount_minor, currency, epoch + 1, attempts + 1, spent,
             CASE WHEN voiding THEN 'void' ELSE 'charge' END::attempt_action
         FROM open_charges WHERE id = ANY($1) AND (epoch = 0 OR (due_at <= now() AND trying IS NULL))",
    )
    .bind(hints)
    .fetch_all(&mut *conn)
    .await?;
    let mut claimed = own
        .into_iter()
        .map(|(id, amount_minor, currency, epoch, number, spent, action)| {
            Ok(Claimed {
                payment_id: id,
                order_id: id,
                refund_of: None,
                amount: money(amount_minor, &currency)?,
                epoch,
                number,
                action,
                spent,
                queued: true,
                origin: None,
                names: None,
            })
        })
        .collect::<sqlx::Result<Vec<_>>>()?;
    let is_other = |id: &&Uuid| !claimed.iter().any(|one: &Claimed| one.payment_id == **id);
    let others: Vec<Uuid> = hints.iter().filter(is_other).copied().collect();
    // None of these is own and may be claimed, so nothing else is.
    claimed.extend(super::write(conn, &others, terms).await?);
    Ok(claimed)
}

/// Makes a new payment, with a new key, of each of these.
pub async fn copy_payments(conn: &mut PgConnection, ids: &[Uuid]) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO payments (id, order_id, amount_minor, created_at, due_at, kind, status, currency)
         SELECT gen_random_uuid(), order_id, amount_minor, now(), now(), kind, 'pending', currency
         FROM shown_payments WHERE id = ANY($1)",
    )
    .bind(ids)
    .execute(conn)
    .await?;
    Ok(())
}
