//! The frozen parts of the composed limit work, beside whatever the schema has become, and write what they wrote.

use anyhow::Result;
use loadtest::bench::frozen::Frozen;
use sqlx::{AssertSqlSafe, Executor, PgConnection};
use testbed::TestDatabase;

/// The rows that an order had at commit ae1e3cc: once it was settled, with what was in them, and once it was accepted.
const ROWS: [(&str, &str, i64, i64); 6] = [
    ("orders", "status = 'CONFIRMED' AND version = 3 AND total_minor = 3097 AND accept_by > now()", 1, 1),
    (
        "payments",
        "id = order_id AND status = 'succeeded' AND gateway_id = 'ch_1' AND answer_by > now()",
        1,
        1,
    ),
    ("payment_attempts", "outcome = 'succeeded' AND number = 1 AND epoch = 1", 1, 0),
    ("order_events", "actor IN ('api', 'worker') AND version BETWEEN 1 AND 3", 3, 1),
    ("idempotency_keys", "true", 0, 0),
    ("in_kitchen", "true", 0, 0),
];

async fn count(conn: &mut PgConnection, table: &str, condition: &str) -> Result<i64> {
    let sql = format!("SELECT count(*) FROM {table} WHERE {condition}");
    Ok(sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(conn).await?)
}

#[tokio::test]
async fn the_frozen_statements_write_the_rows_that_they_wrote() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut client = Frozen::connect(database.url()).await?;
    let lived = i64::try_from(client.live().await? + client.live().await?)?;
    let mut conn = database.connect().await?;
    conn.execute("SET search_path = frozen").await?;
    for (table, as_settled, settled, _) in ROWS {
        assert_eq!(count(&mut conn, table, "true").await?, lived * settled, "{table}");
        assert_eq!(count(&mut conn, table, as_settled).await?, lived * settled, "{table}: {as_settled}");
    }
    client.insert(10).await?;
    for (table, _, settled, accepted) in ROWS {
        assert_eq!(count(&mut conn, table, "true").await?, lived * settled + 10 * accepted, "{table}");
    }
    assert_eq!(count(&mut conn, "public.orders", "true").await?, 0, "written into the service's own tables");
    Ok(())
}
