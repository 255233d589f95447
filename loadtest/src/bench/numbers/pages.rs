//! A month of numbers by hours, of ten locations, as a manager's screen asks for it, and everything else that `/analytics` tells.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use reconcile::connect;
use sqlx::Connection;
use time::{Date, Duration, OffsetDateTime};

use super::super::shop::drive;
use super::super::stack::{Shape, Stack};
use super::cells::fill;
use crate::latency::Percentiles;

/// Screens that are open.
const CONNECTIONS: usize = 1;
/// Requests of each kind.
const REQUESTS: u64 = 500;
/// And before those are counted.
const WARM_UP: u64 = 20;
/// A month.
const DAYS: i64 = 31;

/// What there is to be read.
pub(super) struct Kept {
    pub(super) hours: u64,
    pub(super) megabytes: f64,
}

/// What is asked, and how long the answers took.
type Pages = Vec<(&'static str, Percentiles)>;

/// Reads every route of `/analytics` beside what so many orders come to.
pub(super) async fn read(stack: &Stack, orders: u64) -> Result<(Kept, Pages)> {
    let ground = stack.ground().await?;
    // Whoever sees to all ten locations.
    let admin = stack.operator(&ground, "admin")?;
    fill(&ground.database_url, i64::try_from(orders)?).await?;
    let kept = kept(&ground.database_url).await?;
    let mut services = stack.start_on(ground, Shape::ApiOnly, &[])?;
    services.until_ready().await?;
    let addr = services.api_addr;
    let mut pages = Vec::new();
    for (name, path) in paths() {
        let token = admin.clone();
        let request = move |_: u64, addr: SocketAddr| (get(&path, addr, &token), 200);
        drive(&[addr], CONNECTIONS, WARM_UP, request.clone()).await.context(name)?;
        pages.push((name, drive(&[addr], CONNECTIONS, REQUESTS, request).await.context(name)?.latencies));
    }
    services.stop(stack).await?;
    Ok((kept, pages))
}

/// What is asked; times are those of the locations but for one.
fn paths() -> Vec<(&'static str, String)> {
    let today = OffsetDateTime::now_utc().date();
    let day = |back: i64| -> Date { today.saturating_sub(Duration::days(back)) };
    let month = format!("from={}&to={}", day(DAYS), day(1));
    let of = |path: &str| format!("/analytics/{path}");
    vec![
        ("status-metrics, a month by hours", of(&format!("status-metrics?{month}&granularity=hour"))),
        (
            "the same in Kolkata, whose hours begin at half past",
            of(&format!("status-metrics?{month}&granularity=hour&time_zone=Asia/Kolkata")),
        ),
        ("status-metrics, a month by days", of(&format!("status-metrics?{month}"))),
        ("order-metrics, a month by hours", of(&format!("order-metrics?{month}&granularity=hour"))),
        ("revenue, a month by hours", of(&format!("revenue?{month}&granularity=hour"))),
        ("days/{date}", of(&format!("days/{}?location=main", day(2)))),
        ("customers/{id}/lifetime-orders", of("customers/customer-4711/lifetime-orders")),
        (
            "customers/lifetime-orders, those who ordered 50 times",
            of("customers/lifetime-orders?min_orders=50"),
        ),
        ("the same, 1,000 times: nobody", of("customers/lifetime-orders?min_orders=1000")),
        ("jobs/status", of("jobs/status?job_name=roll_up")),
    ]
}

fn get(path: &str, addr: SocketAddr, token: &str) -> Vec<u8> {
    format!("GET /api/v1{path} HTTP/1.1\r\nhost: {addr}\r\nauthorization: Bearer {token}\r\n\r\n")
        .into_bytes()
}

async fn kept(database_url: &str) -> Result<Kept> {
    let mut conn = connect(database_url).await?;
    let (hours, megabytes): (i64, f64) = sqlx::query_as(
        "SELECT count(*), pg_total_relation_size('rolled_hours')::float8 / 1e6 FROM rolled_hours",
    )
    .fetch_one(&mut conn)
    .await?;
    conn.close().await?;
    Ok(Kept { hours: hours.unsigned_abs(), megabytes })
}
