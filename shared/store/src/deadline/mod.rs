//! deadline: confirmed orders that the kitchen did not answer in time are rejected, and their money goes back: a move like any
//! other, asked for by the clock.

#[cfg(feature = "chaos")]
mod sabotage;

use domain::order::status::OrderStatus;
use runtime::chaos::crash_point;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::moves::{Step, apply, lock_charges};

/// What a sweep of unanswered orders found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unanswered {
    /// Deadlines that had passed.
    pub found: usize,
    /// Orders that were rejected for it; the others had moved on.
    pub rejected: usize,
}

/// The payments of up to `limit` confirmed orders whose deadline has passed, longest overdue first, but for `except`.
pub async fn unanswered(conn: &mut PgConnection, limit: u32, except: &[Uuid]) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        "SELECT id FROM payments WHERE answer_by <= now() AND id <> ALL($2) ORDER BY answer_by LIMIT $1",
        i64::from(limit),
        except
    )
    .fetch_all(conn)
    .await
}

/// Rejects up to `limit` confirmed orders whose deadline has passed, longest overdue first, and gives their money back.
pub async fn reject_unanswered(conn: &mut PgConnection, limit: u32) -> sqlx::Result<Unanswered> {
    reject_late(conn, limit, None, &[]).await
}

/// The same without the orders of these payments.
pub async fn reject_unanswered_but(
    conn: &mut PgConnection,
    limit: u32,
    except: &[Uuid],
) -> sqlx::Result<Unanswered> {
    reject_late(conn, limit, None, except).await
}

/// The same for the order of one payment, if its deadline has passed.
pub async fn reject_unanswered_one(conn: &mut PgConnection, payment_id: Uuid) -> sqlx::Result<Unanswered> {
    reject_late(conn, 1, Some(payment_id), &[]).await
}

/// What another sweep or the kitchen is just deciding is passed over: it holds the order's own charge, which everybody locks
/// first, or the one that has the deadline. So nothing is waited for while a row is held. An order is late by the database's clock, and by the one column that its acceptance looks at, under the same lock.
/// While the clock is not believed (`clock.rs`), nobody is late.
/// (`now()` and not the clock itself, which no index serves: the transaction has only just begun.)
async fn reject_late(
    conn: &mut PgConnection,
    limit: u32,
    only: Option<Uuid>,
    except: &[Uuid],
) -> sqlx::Result<Unanswered> {
    #[cfg(feature = "chaos")]
    sabotage::reject_answered(conn).await?;
    let mut tx = conn.begin().await?;
    let late = sqlx::query!(
        r#"SELECT p.id, p.order_id FROM payments p JOIN payments own ON own.id = p.order_id
           WHERE p.answer_by <= now() AND ($2::uuid IS NULL OR p.id = $2) AND p.id <> ALL($3)
               AND now() <= (SELECT until FROM clock_trust)
           ORDER BY p.answer_by LIMIT $1 FOR UPDATE OF own, p SKIP LOCKED"#,
        i64::from(limit),
        only,
        except
    )
    .fetch_all(&mut *tx)
    .await?;
    if late.is_empty() {
        tx.rollback().await?;
        return Ok(Unanswered::default());
    }
    let charges: Vec<Uuid> = late.iter().map(|row| row.id).collect();
    let mut orders: Vec<Uuid> = late.iter().map(|row| row.order_id).collect();
    orders.sort_unstable();
    let locked = lock_charges(&mut tx, &orders).await?;
    crash_point("worker.mid_deadline");
    let steps: Vec<Step> = orders
        .into_iter()
        .map(|order_id| Step {
            order_id,
            from: OrderStatus::Confirmed,
            to: OrderStatus::Rejected,
            actor: "sweep".to_owned(),
            reason: Some("accept_deadline".to_owned()),
            refund_reason: "accept_deadline",
            keeps: false,
            request: None,
        })
        .collect();
    let rejected = apply(&mut tx, &steps, &locked, &[]).await?.len();
    // Whatever else the order did meanwhile: the question is answered.
    sqlx::query!(
        "UPDATE payments SET answer_by = NULL WHERE id = ANY($1) AND answer_by IS NOT NULL",
        &charges
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(Unanswered { found: charges.len(), rejected })
}
