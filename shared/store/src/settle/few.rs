//! A payment that waits for days has many tries and few rows of them: the first, the last, and what tells whether its money may
//! have moved. Their numbers say how many were between.

use sqlx::PgConnection;
use uuid::Uuid;

use super::Settlement;

/// Rows that are kept of a payment's first tries, and as many of its last.
pub const KEPT: i32 = 10;

/// Removes what is between of those in `batch` that have more and have just `moved`. Few have, and for the others nothing is asked.
/// Only of those that moved, which the caller holds, and one after the other: a worker that comes late would lock rows that belong
/// to whoever has the payment now, and wait for them while they wait for it.
///
/// Of the tries at which the gateway may have looked, of those among them that may move money yet, and of those of which nobody knows,
/// the first and the last stay: whoever asks whether anything was ever sent, or is in doubt, is told the same as before.
pub(super) async fn keep(conn: &mut PgConnection, batch: &[Settlement], moved: &[Uuid]) -> sqlx::Result<()> {
    let many = batch.iter().filter(|one| one.number > 2 * KEPT && moved.contains(&one.payment_id));
    let mut many: Vec<(Uuid, i32)> = many.map(|one| (one.payment_id, one.number)).collect();
    if many.is_empty() {
        return Ok(());
    }
    many.sort_unstable();
    let (ids, numbers): (Vec<Uuid>, Vec<i32>) = many.into_iter().unzip();
    sqlx::query(
        "
        WITH tried AS (
            SELECT a.payment_id, a.number, i.number - $3 AS last, CASE a.outcome
                WHEN 'unavailable' THEN 0 WHEN 'pending' THEN 2 WHEN 'in_doubt' THEN 3 WHEN 'abandoned' THEN 3 ELSE 1 END AS looked
            FROM unnest($1::uuid[], $2::int[]) AS i(id, number)
            JOIN payment_attempts a ON a.payment_id = i.id
            WHERE a.outcome IS NOT NULL
        )
        DELETE FROM payment_attempts a USING tried t
        WHERE a.payment_id = t.payment_id AND a.number = t.number AND t.number > $3 AND t.number <= t.last
            AND (t.looked = 0 OR (SELECT min(e.number) < t.number AND max(e.number) > t.number
                FROM tried e WHERE e.payment_id = t.payment_id AND e.looked >= t.looked))
        ",
    )
    .bind(ids)
    .bind(numbers)
    .bind(KEPT)
    .execute(conn)
    .await
    .map(drop)
}
