//! The operators' own endpoints: one bad row holds up no sweep, and lists have no depth.

use anyhow::{Result, bail};
use runtime::serve::{ServeLimits, serve};
use runtime::tasks::Stop;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection};
use testbed::TestDatabase;
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::api;
use crate::orders::staff_and_customers::confirmed;

/// Lets `look` ask them over this database, where it is told.
async fn served(database: &TestDatabase, look: impl AsyncFnOnce(String) -> Result<()>) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let internal = format!("http://{}/internal", listener.local_addr()?);
    let database = database.database();
    let routes = api::operations::router(&database, &testbed::people::identity(&database)?);
    tokio::select! {
        looked = look(internal) => looked,
        () = serve(listener, routes, ServeLimits::default(), Stop::new()) => bail!("nobody told it to stop"),
    }
}

#[tokio::test]
async fn an_order_that_cannot_be_rejected_is_left_and_the_others_are() -> Result<()> {
    let (database, pipeline) = api().await?;
    let client = &pipeline.client;
    let mut conn = database.connect().await?;
    let mut late = Vec::new();
    for _ in 0..3 {
        late.push(confirmed(&database, client).await?);
    }
    // The bad one is first in line.
    sqlx::query("UPDATE payments SET answer_by = now() - CASE WHEN id = $1 THEN interval '1 h' ELSE interval '1 min' END")
        .bind(late[0])
        .execute(&mut conn)
        .await?;
    let spoil = format!(
        "CREATE FUNCTION refuse_all() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN RAISE EXCEPTION 'a row that has gone bad'; END $$;
         CREATE TRIGGER bad_row BEFORE UPDATE ON payments FOR EACH ROW WHEN (OLD.id = '{}') EXECUTE FUNCTION refuse_all()",
        late[0]
    );
    sqlx::raw_sql(AssertSqlSafe(spoil)).execute(&mut conn).await?;
    served(&database, async |internal| {
        let sweep = async || -> Result<Value> {
            Ok(client.http.post(format!("{internal}/sweeps/stale-orders")).send().await?.json().await?)
        };
        assert_eq!(sweep().await?, json!({"rejected": 2, "left": 1}));
        assert_eq!(client.read(late[1]).await?["status"], "REJECTED");
        assert_eq!(sweep().await?, json!({"rejected": 0, "left": 1}));
        sqlx::raw_sql("DROP FUNCTION refuse_all CASCADE").execute(&mut conn).await?;
        // Now somebody holds its row, for as long as they like.
        let another = confirmed(&database, client).await?;
        sqlx::query("UPDATE payments SET answer_by = now() WHERE id = $1")
            .bind(another)
            .execute(&mut conn)
            .await?;
        let mut operator = database.connect().await?;
        let mut session = operator.begin().await?;
        let hold = "SELECT id FROM orders WHERE id = $1 FOR UPDATE";
        sqlx::query(hold).bind(late[0]).execute(&mut *session).await?;
        assert_eq!(sweep().await?, json!({"rejected": 1, "left": 1}));
        session.rollback().await?;
        assert_eq!(sweep().await?, json!({"rejected": 1, "left": 0}));
        Ok(())
    })
    .await?;
    pipeline.stop().await
}

#[tokio::test]
async fn refunds_are_listed_by_pages_with_numbers_and_by_cursors_without_depth() -> Result<()> {
    let (database, pipeline) = api().await?;
    let client = &pipeline.client;
    sqlx::query(
        "INSERT INTO payments (id, order_id, refund_of, amount_minor, created_at, due_at, kind, status, currency)
         SELECT gen_random_uuid(), $1, $1, 100, now() - (i / 7) * interval '1 s', now(), 'refund', 'pending', 'USD'
         FROM generate_series(1, 150) i",
    )
    .bind(Uuid::now_v7())
    .execute(&mut database.connect().await?)
    .await?;
    served(&database, async |internal| {
        let get = async |query: &str| -> Result<Value> {
            Ok(client.http.get(format!("{internal}/refunds{query}")).send().await?.json().await?)
        };
        let ids = |page: &Value| -> Vec<String> {
            let refunds = page["refunds"].as_array().into_iter().flatten();
            refunds.filter_map(|one| one["id"].as_str().map(str::to_owned)).collect()
        };
        for status in ["", "&status=pending"] {
            let first = get(&format!("?page=1{status}")).await?;
            let cursor = first["next_cursor"].as_str().unwrap_or("none");
            let second = get(&format!("?cursor={cursor}{status}")).await?;
            assert_eq!(ids(&second), ids(&get(&format!("?page=2{status}")).await?));
            assert_eq!(second["next_cursor"], Value::Null);
            let mut all = [ids(&first), ids(&second)].concat();
            assert_eq!((ids(&first).len(), all.len()), (100, 150));
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len(), 150, "each once");
        }
        let stranger = Uuid::now_v7();
        for (query, attr, code) in [
            ("?page=0".to_owned(), "page", "out_of_range"),
            ("?page=101".to_owned(), "page", "too_deep"),
            (format!("?page=1&cursor={stranger}"), "page", "conflict"),
            (format!("?cursor={stranger}"), "cursor", "invalid"),
            ("?cursor=x".to_owned(), "query", "invalid"),
        ] {
            let wrong = get(&query).await?;
            assert_eq!(
                (&wrong["errors"][0]["attr"], &wrong["errors"][0]["code"]),
                (&json!(attr), &json!(code)),
                "{query}"
            );
        }
        assert_eq!(get("?page=100").await?["refunds"], json!([]));
        Ok(())
    })
    .await?;
    pipeline.stop().await
}
