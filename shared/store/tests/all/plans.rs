//! How the statements are planned while a table is empty, as that of what is to be told mostly is: such a plan is kept, and used in
//! the rush.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use testbed::TestDatabase;

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
    for set in ["plan_cache_mode = force_generic_plan", "enable_seqscan = off", "enable_hashjoin = off", "enable_mergejoin = off"] {
        conn.execute(AssertSqlSafe(format!("SET {set}"))).await?;
    }
    let (mut seen, mut wrong) = (0, Vec::new());
    for file in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.sqlx"))? {
        let kept: Value = serde_json::from_str(&std::fs::read_to_string(file?.path())?)?;
        let sql = kept["query"].as_str().context("no query")?;
        if !(sql.contains("unnest(") || sql.contains("ANY(")) || FIRST_FEW.iter().any(|few| sql.contains(few)) {
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
