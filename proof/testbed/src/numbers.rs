//! Orders that were there at times of the test's own, and the follower that counts them: for tests of numbers.

use anyhow::{Result, ensure};
use domain::rolled::hour::Hour;
use domain::rolled::packed::Packed;
use follower::follow::Step;
use follower::roll_up::Rolling;
use sqlx::PgConnection;
use time::OffsetDateTime;
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

/// Where and when an hour is: location, beginning, channel.
pub type Key = (String, OffsetDateTime, String);

/// Every hour that is kept, by its key.
pub async fn hours(conn: &mut PgConnection) -> Result<Vec<(Key, Hour)>> {
    type Row = (String, OffsetDateTime, String, Vec<u8>, Vec<u8>, Vec<u8>, Vec<u8>);
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT location, hour, channel, orders, statuses, money, reasons FROM rolled_hours ORDER BY 1, 2, 3",
    )
    .fetch_all(conn)
    .await?;
    let hours = rows.into_iter().map(|(location, hour, channel, orders, statuses, money, reasons)| {
        let packed = Packed { orders, statuses, money, reasons, ..Packed::default() };
        Ok(((location, hour, channel), Hour::unpack(&packed)?))
    });
    hours.collect()
}

/// Writes an hour that is there anew.
pub async fn keep(conn: &mut PgConnection, (location, hour, channel): &Key, is: &Hour) -> Result<()> {
    let Packed { orders, statuses, hourly, money, reasons } = is.pack();
    let kept = sqlx::query(
        "UPDATE rolled_hours SET orders = $4, statuses = $5, hourly = $6, money = $7, reasons = $8
         WHERE location = $1 AND hour = $2 AND channel = $3",
    );
    let kept = kept.bind(location).bind(hour).bind(channel);
    let kept = kept.bind(orders).bind(statuses).bind(hourly).bind(money).bind(reasons);
    ensure!(kept.execute(conn).await?.rows_affected() == 1, "there is no such hour");
    Ok(())
}
