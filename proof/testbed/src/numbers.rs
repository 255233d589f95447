//! Orders that were there at times of the test's own, and the follower that counts them: for tests of numbers.

use anyhow::Result;
use follower::follow::Step;
use follower::roll_up::Rolling;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::TestDatabase;

/// Counts all that has happened.
pub async fn roll_up(database: &TestDatabase) -> Result<()> {
    let mut rolling = Rolling::new(&database.database());
    while rolling.run_once().await? != Step::UpToDate {}
    Ok(())
}

/// An order of 10 USD of Ann's at the first location, whose moves are these: where it stood, and since when.
pub async fn told(conn: &mut PgConnection, moves: &[(&str, &str)]) -> Result<Uuid> {
    told_of(conn, ("ann", "main"), moves).await
}

/// The same of somebody, somewhere.
pub async fn told_of(
    conn: &mut PgConnection,
    (customer, location): (&str, &str),
    moves: &[(&str, &str)],
) -> Result<Uuid> {
    let id = Uuid::now_v7();
    sqlx::query(
        "INSERT INTO orders (id, total_minor, created_at, updated_at, version, status, currency, customer_id, location)
         VALUES ($1, 1000, now(), now(), 1, 'PENDING', 'USD', $2, $3)",
    )
    .bind(id)
    .bind(customer)
    .bind(location)
    .execute(&mut *conn)
    .await?;
    go_on(conn, id, 0, moves).await?;
    Ok(id)
}

/// And these behind so many versions. A move to `CONFIRMED` takes the money, unless the order began there.
pub async fn go_on(conn: &mut PgConnection, id: Uuid, behind: i32, moves: &[(&str, &str)]) -> Result<()> {
    for ((status, at), version) in moves.iter().zip(behind + 1..) {
        sqlx::query(
            "INSERT INTO order_events (subject, at, version, what, from_status, to_status, actor, amount_minor, payment_id)
             SELECT $1, $2::timestamptz, $3, CASE WHEN $3 = 1 THEN 'accepted' ELSE 'moved' END::event_what,
                 (SELECT to_status FROM order_events WHERE subject = $1 AND version = $3 - 1), $4::order_status, 'test',
                 CASE WHEN $3 = 1 OR $4 = 'CONFIRMED' THEN 1000 END, CASE WHEN $3 > 1 AND $4 = 'CONFIRMED' THEN $1 END",
        )
        .bind(id)
        .bind(at)
        .bind(version)
        .bind(status)
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}
