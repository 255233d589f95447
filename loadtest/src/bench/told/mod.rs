//! What it costs to tell others what happens, and how soon they know: webhooks, streams, and the plain order beside both.

pub mod following;
mod receiver;
pub mod streams;
pub mod webhooks;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use reconcile::connect;
use serde_json::json;
use sqlx::{Connection, PgConnection};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::program::Program;
use super::shop::ask;
use super::stack::{Ground, Services, Shape, Stack};

/// Between looks whether something is so.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Until a follower has begun.
const BEGUN_WITHIN: Duration = Duration::from_secs(30);

/// Programs over a ground of their own, and a manager's token. Made before: an api that runs would hear of it a moment later.
pub(super) async fn start(stack: &Stack, shape: Shape) -> Result<(Services, String)> {
    let ground = stack.ground().await?;
    let manager = stack.operator(&ground, "manager")?;
    let mut services = stack.start_on(ground, shape, &[("SECRETS_KEY_FILE", stack.secrets()?)])?;
    services.until_ready().await?;
    Ok((services, manager))
}

/// A webhook that leads there, for these types; all, where none is named.
async fn webhook(services: &Services, manager: &str, url: &str, types: &[&str]) -> Result<()> {
    let body = json!({ "url": url, "types": types });
    ask(services.api_addr, manager, "POST", "/webhooks", &body).await.context("no webhook").map(drop)
}

/// A follower over this ground that may tell us, and has begun.
pub(super) async fn follower(
    stack: &Stack,
    ground: &Ground,
    further: &[(&'static str, String)],
) -> Result<Program> {
    let follower = stack.follower(ground, further)?;
    let (mut conn, started) = (connect(&ground.database_url).await?, Instant::now());
    while count(&mut conn, "SELECT count(*) FROM feed_cursors WHERE follower = 'webhooks'").await? == 0 {
        ensure!(started.elapsed() < BEGUN_WITHIN, "the follower does not begin; see its log");
        tokio::time::sleep(LOOK_EVERY).await;
    }
    conn.close().await?;
    Ok(follower)
}

async fn count(conn: &mut PgConnection, sql: &'static str) -> Result<i64> {
    Ok(sqlx::query_scalar(sql).fetch_one(conn).await?)
}

/// Microseconds since 1970, by this machine's clock, which is the database's.
fn now() -> i64 {
    micros(OffsetDateTime::now_utc())
}

fn micros(at: OffsetDateTime) -> i64 {
    i64::try_from(at.unix_timestamp_nanos() / 1_000).unwrap_or(i64::MAX)
}

/// The time that stands behind this name in a JSON object of ours.
fn time_in(text: &str, name: &str) -> Option<i64> {
    let (_, rest) = text.split_once(name)?;
    let (text, _) = rest.split_once('"')?;
    OffsetDateTime::parse(text, &Rfc3339).ok().map(micros)
}

/// From a moment to a later one.
fn between(from: i64, to: i64) -> Duration {
    Duration::from_micros(u64::try_from(to - from).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_found_by_its_name() {
        let text = r#"{"id":"x","time":"2026-01-31T17:02:11.5Z","data":{}}"#;
        assert_eq!(time_in(text, r#""time":""#), Some(1_769_878_931_500_000));
        assert_eq!(time_in(text, r#""at":""#), None);
    }
}
