//! Migrations that make nobody wait: CONCURRENTLY, a statement by itself.

use sqlx::migrate::Migration;
use sqlx::{Executor, PgConnection};

/// Drops the index that an interrupted CREATE INDEX CONCURRENTLY left: it serves no query, and its name is taken.
pub(super) async fn drop_leftover(conn: &mut PgConnection, migration: &Migration) -> sqlx::Result<()> {
    let Some(index) = index_made(migration) else { return Ok(()) };
    let is_left: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass($1) AND NOT indisvalid)",
    )
    .bind(index)
    .fetch_one(&mut *conn)
    .await?;
    if is_left {
        tracing::warn!(index, "dropping the index that a try before this one left half-made");
        conn.execute(sqlx::AssertSqlSafe(format!("DROP INDEX CONCURRENTLY {index}"))).await?;
    }
    Ok(())
}

/// The index that a migration makes CONCURRENTLY.
fn index_made(migration: &Migration) -> Option<&str> {
    if !is_concurrent(migration) {
        return None;
    }
    let mut words = words(migration).skip_while(|word| !word.eq_ignore_ascii_case("CREATE"));
    words.find(|word| word.eq_ignore_ascii_case("CONCURRENTLY"))?;
    words.find(|word| !["IF", "NOT", "EXISTS"].iter().any(|other| word.eq_ignore_ascii_case(other)))
}

/// Whether it makes nobody wait while it waits. PostgreSQL lets only a statement by itself do so, outside a transaction.
pub(super) fn is_concurrent(migration: &Migration) -> bool {
    migration.no_tx && words(migration).any(|word| word.eq_ignore_ascii_case("CONCURRENTLY"))
}

/// A migration's words without its comments.
fn words(migration: &Migration) -> impl Iterator<Item = &str> {
    let lines = migration.sql.as_str().lines();
    lines.flat_map(|line| line.split("--").next().unwrap_or_default().split_whitespace())
}
