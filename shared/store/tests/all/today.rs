//! What is shown of today is of today, in the first location's time zone, and of all locations.

use anyhow::Result;
use domain::order::status::OrderStatus;
use domain::rolled::cells::{Cells, Place};
use domain::rolled::hour::{Hour, Sum, at_of};
use domain::rolled::money::MoneyKind;
use sqlx::{Connection, Executor, PgConnection};
use store::rollups::read::{Which, outstanding};
use store::rollups::today::today;
use testbed::TestDatabase;
use time::{Duration, OffsetDateTime};

/// What happened at once, in the quarter of this time.
async fn happened(conn: &mut PgConnection, location: &str, at: OffsetDateTime) -> Result<()> {
    let (begins, quarter) = at_of(at);
    let mut hour = Hour::default();
    hour.orders.entry(quarter).or_default().accepted = 3;
    hour.statuses.entry((quarter, OrderStatus::Ready)).or_default().end(60_000);
    for (kind, amount) in [
        (MoneyKind::Charged, 1_000),
        (MoneyKind::Collected, 500),
        (MoneyKind::RefundOwed, 300),
        (MoneyKind::Refunded, 200),
        (MoneyKind::Tip, 100),
    ] {
        hour.money.insert((quarter, "USD".into(), kind), Sum { times: 1, amount });
    }
    let place = Place { location: location.into(), channel: "".into() };
    let mut cells = Cells::default();
    cells.hours.insert((place, begins), hour);
    Ok(store::rollups::add_cells(conn, cells).await?)
}

#[tokio::test]
async fn today_begins_at_midnight_where_the_first_location_is_and_is_of_all_of_them() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    conn.execute(
        "UPDATE locations SET time_zone = 'Asia/Kolkata';
         INSERT INTO locations (id, name, time_zone, currency, lead_minutes, updated_by)
         VALUES ('soho', 'Soho', 'Europe/London', 'JPY', 0, 'test')",
    )
    .await?;
    // One moment for all of it, whenever that is.
    let mut tx = conn.begin().await?;
    let (now, midnight): (OffsetDateTime, OffsetDateTime) =
        sqlx::query_as("SELECT now(), date_trunc('day', now(), 'Asia/Kolkata')").fetch_one(&mut *tx).await?;
    let nothing = today(&mut tx).await?;
    assert_eq!(nothing.orders.accepted, 0);
    assert_eq!(
        nothing.money.into_iter().collect::<Vec<_>>(),
        [("JPY".to_owned(), (0, 0)), ("USD".to_owned(), (0, 0))]
    );
    happened(&mut tx, "main", midnight - Duration::MINUTE).await?;
    happened(&mut tx, "soho", midnight).await?;
    happened(&mut tx, "main", now).await?;
    let seen = today(&mut tx).await?;
    assert_eq!(seen.orders.accepted, 6, "yesterday's are not among them");
    assert_eq!(seen.money["USD"], (3_000, 400), "what is owed has not gone back yet");
    // Of the last hour, also of yesterday's.
    let recent = [midnight - Duration::MINUTE, midnight, now];
    let from = domain::rolled::quarter_of(now - Duration::HOUR);
    let stays = recent.into_iter().filter(|at| domain::rolled::quarter_of(*at) >= from).count() as i64;
    assert_eq!(seen.stays, [(OrderStatus::Ready, stays, stays * 60_000)]);
    Ok(tx.rollback().await?)
}

#[tokio::test]
async fn what_has_gone_back_has_not_to_go_back_any_more() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let at = OffsetDateTime::UNIX_EPOCH + Duration::WEEK;
    happened(&mut conn, "main", at).await?;
    happened(&mut conn, "main", at + Duration::DAY).await?;
    let which = Which { locations: vec!["main".to_owned()], channel: None };
    for (until, owed) in [(at + Duration::HOUR, 100), (at + Duration::WEEK, 200)] {
        assert_eq!(outstanding(&mut conn, &which, until).await?, [("USD".to_owned(), 0, owed)]);
    }
    Ok(())
}
