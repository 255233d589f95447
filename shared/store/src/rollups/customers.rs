//! Customers' lifetime: how often they ordered, and what it came to.

use sqlx::PgConnection;
use time::OffsetDateTime;

/// What a customer's orders come to, in one currency, at all locations that are asked for.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "named after the columns")]
pub struct CustomerNumbers {
    pub customer_id: String,
    pub currency: String,
    pub first_at: OffsetDateTime,
    pub last_at: OffsetDateTime,
    pub orders: i64,
    pub delivered: i64,
    pub paid_minor: i64,
    pub back_minor: i64,
}

/// Which customers.
#[derive(Debug, Clone, Default)]
pub struct Chosen {
    /// With orders at these locations, and of those alone.
    pub locations: Vec<String>,
    /// Who ordered so often,
    pub min_orders: i64,
    /// or less often,
    pub max_orders: Option<i64>,
    /// and last from then on,
    pub last_from: Option<OffsetDateTime>,
    /// or before.
    pub last_to: Option<OffsetDateTime>,
    /// Behind this one.
    pub after: String,
}

/// One customer's, a currency each; empty: they are not known at these locations.
pub async fn one(
    conn: &mut PgConnection,
    customer: &str,
    locations: &[String],
) -> sqlx::Result<Vec<CustomerNumbers>> {
    sqlx::query_as!(
        CustomerNumbers,
        r#"
        SELECT customer_id AS "customer_id!", currency AS "currency!", min(first_at) AS "first_at!", max(last_at) AS "last_at!",
            sum(orders)::bigint AS "orders!", sum(delivered)::bigint AS "delivered!", sum(paid_minor)::bigint AS "paid_minor!",
            sum(back_minor)::bigint AS "back_minor!"
        FROM rolled_customers WHERE customer_id = $1 AND location = ANY($2) GROUP BY customer_id, currency ORDER BY currency
        "#,
        customer,
        locations
    )
    .fetch_all(conn)
    .await
}

/// Those chosen, by their ids, no more than so many customers; of each all currencies.
pub async fn page(
    conn: &mut PgConnection,
    chosen: &Chosen,
    limit: i64,
) -> sqlx::Result<Vec<CustomerNumbers>> {
    sqlx::query_as!(
        CustomerNumbers,
        r#"
        WITH chosen AS (
            SELECT customer_id FROM rolled_customers WHERE customer_id > $1 AND location = ANY($2)
            GROUP BY customer_id
            HAVING sum(orders) >= $3::bigint AND ($4::bigint IS NULL OR sum(orders) <= $4)
                AND ($5::timestamptz IS NULL OR max(last_at) >= $5) AND ($6::timestamptz IS NULL OR max(last_at) < $6)
            ORDER BY customer_id LIMIT $7
        )
        SELECT c.customer_id AS "customer_id!", c.currency AS "currency!", min(c.first_at) AS "first_at!",
            max(c.last_at) AS "last_at!", sum(c.orders)::bigint AS "orders!", sum(c.delivered)::bigint AS "delivered!",
            sum(c.paid_minor)::bigint AS "paid_minor!", sum(c.back_minor)::bigint AS "back_minor!"
        FROM chosen JOIN rolled_customers c USING (customer_id) WHERE c.location = ANY($2)
        GROUP BY c.customer_id, c.currency ORDER BY c.customer_id, c.currency
        "#,
        chosen.after,
        &chosen.locations,
        chosen.min_orders,
        chosen.max_orders,
        chosen.last_from,
        chosen.last_to,
        limit
    )
    .fetch_all(conn)
    .await
}
