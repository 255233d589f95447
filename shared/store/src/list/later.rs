//! Orders that are wanted later and whose time has not come, soonest first. They are listed by the time until which they wait, so
//! that no page reads more than it shows and what was called off among it, and never further than so many.

use domain::order::Order;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Filter, MAX_SCATTERED, orders, rows};

/// Some of them.
#[derive(Debug)]
pub struct Later {
    /// Soonest first.
    pub orders: Vec<Order>,
    /// Behind which order the next page begins; `None`: this is the last. There may be a next page though this one is not full.
    pub next: Option<Uuid>,
}

/// Up to `limit` of these locations, or of all where none is named, behind `after`. Those that have ended are left out.
pub async fn later(
    conn: &mut PgConnection,
    locations: &[String],
    after: Option<Uuid>,
    limit: usize,
) -> sqlx::Result<Later> {
    let most = MAX_SCATTERED;
    let seen = sqlx::query!(
        r#"
        SELECT d.order_id, o.status NOT IN ('CANCELLED', 'REJECTED', 'PAYMENT_FAILED')
            AND (cardinality($1::text[]) = 0 OR o.location = ANY($1)) AS "matches!"
        FROM (
            SELECT order_id, held_until FROM order_details
            WHERE held_until > now() AND held_until >= coalesce((SELECT held_until FROM order_details WHERE order_id = $2), now())
                AND (held_until, order_id) > (coalesce((SELECT held_until FROM order_details WHERE order_id = $2), now()),
                                              coalesce($2, '00000000-0000-0000-0000-000000000000'))
            ORDER BY held_until, order_id LIMIT $3
        ) d CROSS JOIN LATERAL (SELECT status, location FROM orders WHERE id = d.order_id OFFSET 0) o
        ORDER BY d.held_until, d.order_id
        "#,
        locations,
        after,
        rows(most)
    )
    .fetch_all(&mut *conn)
    .await?;
    let matching: Vec<Uuid> = seen.iter().filter(|row| row.matches).map(|row| row.order_id).collect();
    let shown: Vec<Uuid> = matching.iter().copied().take(limit).collect();
    let next = if matching.len() > limit {
        shown.last().copied()
    } else if seen.len() == most {
        seen.last().map(|row| row.order_id)
    } else {
        None
    };
    let mut orders = orders(conn, &Filter::default(), &shown).await?;
    orders.sort_by_key(|order| shown.iter().position(|id| *id == order.id));
    Ok(Later { orders, next })
}
