//! Whether the stock adds up, and orders hold what they should.

use anyhow::Result;
use futures_util::TryStreamExt;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::report::{Invariant, Report};

const ITEMS: &str = "
    SELECT s.id, s.available, s.held, s.sold, coalesce(c.put_in, 0)::bigint, coalesce(h.held, 0)::bigint,
        coalesce(h.sold, 0)::bigint
    FROM stock s
    LEFT JOIN (SELECT item, sum(change) AS put_in FROM stock_changes GROUP BY item) c ON c.item = s.id
    LEFT JOIN (
        SELECT item, sum(quantity) FILTER (WHERE state = 'held') AS held, sum(quantity) FILTER (WHERE state = 'sold') AS sold
        FROM holds GROUP BY item
    ) h ON h.item = s.id";

/// What a hold counts as, or will once it is looked at, and what its order says that it should.
const HOLDS: &str = "
    SELECT coalesce(h.owner, o.id), h.item, h.owner IS NOT NULL AND s.id IS NOT NULL AND
        CASE coalesce(h.becomes, h.state)
            WHEN 'held' THEN o.status NOT IN ('PAYMENT_FAILED', 'DELIVERED', 'REJECTED', 'CANCELLED')
            WHEN 'sold' THEN o.status = 'DELIVERED'
            WHEN 'back' THEN o.status IN ('PAYMENT_FAILED', 'REJECTED', 'CANCELLED')
            -- A cart's, which has no order; or an addition's.
            WHEN 'dropped' THEN CASE WHEN o.id IS NULL THEN h.part = h.owner ELSE h.part <> h.owner END
        END
    FROM holds h LEFT JOIN stock s ON s.id = h.item FULL JOIN (SELECT * FROM orders WHERE stocked) o ON o.id = h.owner";

pub(super) async fn check(conn: &mut PgConnection, report: &mut Report) -> Result<()> {
    let mut rows = sqlx::query_as::<_, (Uuid, i64, i64, i64, i64, i64, i64)>(ITEMS).fetch(&mut *conn);
    while let Some((id, available, held, sold, put_in, holds, got)) = rows.try_next().await? {
        let adds_up = available + held + sold == put_in && held == holds && sold == got;
        report.check(Invariant::StockAddsUp, adds_up, || {
            format!(
                "item {id}: {available} available, {held} held, {sold} sold; {put_in} put in, {holds} held by orders, {got} got by them"
            )
        });
    }
    drop(rows);
    let mut rows = sqlx::query_as::<_, (Uuid, Option<Uuid>, Option<bool>)>(HOLDS).fetch(conn);
    while let Some((order, item, is_right)) = rows.try_next().await? {
        report.check(Invariant::HoldsMatch, is_right == Some(true), || {
            let item = item.map_or_else(|| "nothing".to_owned(), |item| item.to_string());
            format!("order {order} holds {item}")
        });
    }
    Ok(())
}
