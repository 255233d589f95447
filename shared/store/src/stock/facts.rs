//! What operators must know of the stock.

use sqlx::PgConnection;

/// Now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StockFacts {
    /// Items that can be ordered, were there once and are not any more.
    pub sold_out: i64,
    /// Items whose counts are not what was put in.
    pub wrong: i64,
}

/// Looks at the newest `limit` items.
pub async fn facts(conn: &mut PgConnection, limit: i64) -> sqlx::Result<StockFacts> {
    sqlx::query_as!(
        StockFacts,
        r#"SELECT count(*) FILTER (WHERE s.available = 0 AND s.turned > 0 AND p.tracked AND p.deleted_at IS NULL) AS "sold_out!",
                  count(*) FILTER (WHERE s.available + s.held + s.sold <> c.put_in) AS "wrong!"
           FROM (SELECT * FROM stock ORDER BY id DESC LIMIT $1) s
           LEFT JOIN products p ON p.id = s.product_id
           CROSS JOIN LATERAL (
               SELECT coalesce(sum(change), 0)::bigint AS put_in FROM stock_changes WHERE item = s.id
           ) c"#,
        limit
    )
    .fetch_one(conn)
    .await
}
