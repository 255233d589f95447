//! How the statements are planned while a table is empty, as that of what is to be told mostly is: such a plan is kept, and used in
//! the rush.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use store::deliveries::{self, Key, New, Next, Tried};
use testbed::TestDatabase;
use time::OffsetDateTime;
use uuid::Uuid;

/// Tables that are empty as a rule, and hold a great deal once in a while.
const BY_TURNS: [&str; 4] = ["deliveries", "delivery_attempts", "open_charges", "holds"];
/// Names of tables that these may read from end to end: each reads the first few of an index.
const FIRST_FEW: [&str; 1] = ["ORDER BY id DESC LIMIT $2"];

/// What a plan reads without a key.
fn walked(node: &Value, into: &mut Vec<String>) {
    let (kind, table) = (node["Node Type"].as_str().unwrap_or(""), node["Relation Name"].as_str());
    let is_read = ["Seq Scan", "Index Scan", "Index Only Scan"].contains(&kind);
    if let (true, Some(table)) = (is_read && node.get("Index Cond").is_none(), table) {
        into.push(table.to_owned());
    }
    node["Plans"].as_array().into_iter().flatten().for_each(|node| walked(node, into));
}

/// What a statement reads without a key, as writers plan it.
async fn walks(conn: &mut PgConnection, sql: &str, parameters: usize) -> Result<Vec<String>> {
    let given = vec!["NULL"; parameters].join(", ");
    let given = if parameters == 0 { given } else { format!("({given})") };
    let mut tx = conn.begin().await?;
    tx.execute(AssertSqlSafe(format!("PREPARE asked AS {sql}"))).await?;
    let explain = format!("EXPLAIN (FORMAT JSON) EXECUTE asked{given}");
    let plan: Value = sqlx::query_scalar(AssertSqlSafe(explain)).fetch_one(&mut *tx).await?;
    tx.execute("DEALLOCATE asked").await?;
    tx.rollback().await?;
    let mut tables = Vec::new();
    walked(&plan[0]["Plan"], &mut tables);
    Ok(tables)
}

/// Every statement of ours that is given many keys at once, from `.sqlx`.
#[tokio::test]
async fn what_is_looked_up_by_keys_is_so_even_by_a_plan_of_empty_tables() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    conn.execute("VACUUM (ANALYZE)").await?;
    for set in [
        "plan_cache_mode = force_generic_plan",
        "enable_seqscan = off",
        "enable_hashjoin = off",
        "enable_mergejoin = off",
    ] {
        conn.execute(AssertSqlSafe(format!("SET {set}"))).await?;
    }
    let (mut seen, mut wrong) = (0, Vec::new());
    for file in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.sqlx"))? {
        let kept: Value = serde_json::from_str(&std::fs::read_to_string(file?.path())?)?;
        let sql = kept["query"].as_str().context("no query")?;
        if !(sql.contains("unnest(") || sql.contains("ANY(")) || FIRST_FEW.iter().any(|few| sql.contains(few))
        {
            continue;
        }
        let parameters = kept["describe"]["parameters"]["Left"].as_array().map_or(0, Vec::len);
        let mut walked = walks(&mut conn, sql, parameters).await.with_context(|| sql.to_owned())?;
        walked.retain(|table| BY_TURNS.contains(&&**table));
        if !walked.is_empty() {
            wrong.push(format!("{walked:?} from end to end: {sql}"));
        }
        seen += 1;
    }
    assert!(seen > 50, "only {seen} statements");
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// Rows of what is to be told that this transaction has read.
async fn deliveries_read(conn: &mut PgConnection) -> sqlx::Result<i64> {
    let read = "SELECT seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables WHERE relname = 'deliveries'";
    sqlx::query_scalar(read).fetch_one(conn).await
}

#[tokio::test]
async fn a_session_that_plans_anew_reads_few_rows_of_a_table_that_was_empty_a_moment_ago() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    conn.execute("VACUUM (ANALYZE)").await?;
    let webhook = Uuid::new_v4();
    let ended = |subject, epoch| Tried {
        key: Key { webhook, subject, version: 1 },
        epoch,
        at: OffsetDateTime::now_utc(),
        took_ms: 1,
        status: Some(200),
        fault: None,
        next: Next::Taken,
    };
    let mut session = database.database().session().planning_anew();
    let mut read = async |subjects: &[Uuid]| {
        let tried: Vec<Tried> = subjects.iter().map(|subject| ended(*subject, 0)).collect();
        let read = session.run(&tried[..], |conn, tried| {
            Box::pin(async move {
                let mut tx = conn.begin().await?;
                deliveries::end(&mut tx, tried).await?;
                let read = deliveries_read(&mut tx).await?;
                tx.commit().await?;
                Ok(read)
            })
        });
        read.await
    };
    read(&[Uuid::new_v4()]).await?;
    let mut subjects = Vec::new();
    for _ in 0..3_000 {
        let subject = Uuid::now_v7();
        let key = Key { webhook, subject, version: 1 };
        subjects.push(New { key, kind: "order.moved".to_owned(), body: "{}".to_owned() });
    }
    deliveries::add(&mut conn, &subjects).await?;
    // What it has planned is old now.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let few: Vec<Uuid> = subjects.iter().take(100).map(|new| new.key.subject).collect();
    let read = read(&few).await?;
    assert!(read < 1_500, "{read} rows read to end 100");
    Ok(())
}
