//! read, many at once: pages of orders, newest first, and how many match. Nothing here moves anything.

use sqlx::PgConnection;
use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;

use super::read::Row;
use crate::channel::ChannelName;
use crate::details::{Details, Extra};
use crate::order::{Item, Order, OrderStatus};

/// Which orders to list; newest first.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only this customer's.
    pub customer_id: Option<String>,
    /// Only those of this channel.
    pub channel: Option<ChannelName>,
    /// Only those that stand at one of these; all, where none is named.
    pub statuses: Vec<OrderStatus>,
    /// Only those accepted at this time or later.
    pub from: Option<OffsetDateTime>,
    /// Only those accepted before this time.
    pub to: Option<OffsetDateTime>,
}

impl Filter {
    /// The ids between which orders of these times lie. An id holds the time at which an api made it; its clock may be
    /// wrong by an hour, and the times themselves are compared as well.
    fn ids(&self) -> (Uuid, Uuid) {
        const SLACK: time::Duration = time::Duration::HOUR;
        let first = |at: OffsetDateTime| {
            let millis = u64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap_or(0).min((1 << 48) - 1);
            Uuid::from_u128(u128::from(millis) << 80)
        };
        let from = self.from.and_then(|from| from.checked_sub(SLACK)).map_or(Uuid::nil(), first);
        let to = self.to.and_then(|to| to.checked_add(SLACK)).map_or(Uuid::max(), first);
        (from, to)
    }
}

/// Where a page begins.
#[derive(Debug, Clone, Copy)]
pub enum PageStart {
    /// So many orders in: what page numbers come to. The deeper, the slower.
    Offset(i64),
    /// Behind this order: as quick at any depth.
    After(Uuid),
}

/// One page of orders, newest first. A channel's page, a customer's and a page of all orders are statements of their own, so
/// that each keeps the index that it needs whatever plan the server has cached.
pub async fn page(
    conn: &mut PgConnection,
    filter: &Filter,
    start: PageStart,
    limit: i64,
) -> sqlx::Result<Vec<Order>> {
    let (after, offset) = match start {
        PageStart::Offset(offset) => (Uuid::max(), offset),
        PageStart::After(id) => (id, 0),
    };
    let (first, last) = filter.ids();
    let before = after.min(last);
    let rows = match (&filter.channel, &filter.customer_id) {
        (Some(channel), customer_id) => sqlx::query_as!(
            Row,
            r#"SELECT o.id, customer_id, status AS "status: OrderStatus", items AS "items: Json<Vec<Item>>", total_minor,
                      currency, version, created_at, updated_at, accept_by,
                      cancel_requested_at, cancel_actor, cancel_reason
               FROM order_details d JOIN orders o ON o.id = d.order_id
               WHERE d.channel = $1 AND d.order_id < $2 AND d.order_id >= $3
                   AND ($9::text IS NULL OR customer_id = $9)
                   AND (cardinality($4::order_status[]) = 0 OR status = ANY($4))
                   AND ($5::timestamptz IS NULL OR created_at >= $5) AND ($6::timestamptz IS NULL OR created_at < $6)
               ORDER BY d.order_id DESC LIMIT $7 OFFSET $8"#,
            channel.as_str(),
            before,
            first,
            &filter.statuses as &[OrderStatus],
            filter.from,
            filter.to,
            limit,
            offset,
            customer_id.as_deref()
        )
        .fetch_all(&mut *conn)
        .await?,
        (None, Some(customer_id)) => sqlx::query_as!(
            Row,
            r#"SELECT id, customer_id, status AS "status: OrderStatus", items AS "items: Json<Vec<Item>>", total_minor,
                      currency, version, created_at, updated_at, accept_by,
                      cancel_requested_at, cancel_actor, cancel_reason
               FROM orders
               WHERE customer_id = $1 AND id < $2 AND id >= $3
                   AND (cardinality($4::order_status[]) = 0 OR status = ANY($4))
                   AND ($5::timestamptz IS NULL OR created_at >= $5) AND ($6::timestamptz IS NULL OR created_at < $6)
               ORDER BY id DESC LIMIT $7 OFFSET $8"#,
            customer_id,
            before,
            first,
            &filter.statuses as &[OrderStatus],
            filter.from,
            filter.to,
            limit,
            offset
        )
        .fetch_all(&mut *conn)
        .await?,
        (None, None) => sqlx::query_as!(
            Row,
            r#"SELECT id, customer_id, status AS "status: OrderStatus", items AS "items: Json<Vec<Item>>", total_minor,
                      currency, version, created_at, updated_at, accept_by,
                      cancel_requested_at, cancel_actor, cancel_reason
               FROM orders
               WHERE id < $1 AND id >= $2 AND (cardinality($3::order_status[]) = 0 OR status = ANY($3))
                   AND ($4::timestamptz IS NULL OR created_at >= $4) AND ($5::timestamptz IS NULL OR created_at < $5)
               ORDER BY id DESC LIMIT $6 OFFSET $7"#,
            before,
            first,
            &filter.statuses as &[OrderStatus],
            filter.from,
            filter.to,
            limit,
            offset
        )
        .fetch_all(&mut *conn)
        .await?,
    };
    let mut orders = rows.into_iter().map(Order::try_from).collect::<sqlx::Result<Vec<_>>>()?;
    add_extras(conn, &mut orders).await?;
    Ok(orders)
}

/// Adds what few orders have. A statement after the page's own, so that no plan of that one depends on it.
async fn add_extras(conn: &mut PgConnection, orders: &mut [Order]) -> sqlx::Result<()> {
    let ids: Vec<Uuid> = orders.iter().map(|order| order.id).collect();
    let rows = sqlx::query!(
        r#"SELECT order_id, paid_elsewhere, channel, channel_order_id, details AS "details: Json<Details>"
           FROM order_details WHERE order_id = ANY($1)"#,
        &ids
    )
    .fetch_all(conn)
    .await?;
    for row in rows {
        if let Some(order) = orders.iter_mut().find(|order| order.id == row.order_id) {
            let channel = row.channel.zip(row.channel_order_id);
            let extra = Extra { details: row.details.0, channel, paid_elsewhere: row.paid_elsewhere };
            order.extra = Some(Box::new(extra));
        }
    }
    Ok(())
}

/// As far as the orders that match are counted: on the hundredth page of a hundred nobody asks how many more there are,
/// and among ten millions the answer would take seconds.
pub const MAX_COUNTED: i64 = 10_000;

/// How many orders match; [`MAX_COUNTED`] means that or more. From the newest, as they are listed: what is looked for by its
/// status mostly lies there.
pub async fn count(conn: &mut PgConnection, filter: &Filter) -> sqlx::Result<i64> {
    let (first, last) = filter.ids();
    match (&filter.channel, &filter.customer_id) {
        (Some(channel), customer_id) => {
            sqlx::query_scalar!(
                r#"SELECT count(*) AS "count!" FROM (SELECT FROM order_details d JOIN orders o ON o.id = d.order_id
                   WHERE d.channel = $1 AND d.order_id <= $2 AND d.order_id >= $3
                       AND ($7::text IS NULL OR customer_id = $7)
                       AND (cardinality($4::order_status[]) = 0 OR status = ANY($4))
                       AND ($5::timestamptz IS NULL OR created_at >= $5)
                       AND ($6::timestamptz IS NULL OR created_at < $6)
                   ORDER BY d.order_id DESC LIMIT $8) AS counted"#,
                channel.as_str(),
                last,
                first,
                &filter.statuses as &[OrderStatus],
                filter.from,
                filter.to,
                customer_id.as_deref(),
                MAX_COUNTED
            )
            .fetch_one(conn)
            .await
        }
        (None, Some(customer_id)) => {
            sqlx::query_scalar!(
                r#"SELECT count(*) AS "count!" FROM (SELECT FROM orders
                   WHERE customer_id = $1 AND id <= $2 AND id >= $3
                       AND (cardinality($4::order_status[]) = 0 OR status = ANY($4))
                       AND ($5::timestamptz IS NULL OR created_at >= $5)
                       AND ($6::timestamptz IS NULL OR created_at < $6)
                   ORDER BY id DESC LIMIT $7) AS counted"#,
                customer_id,
                last,
                first,
                &filter.statuses as &[OrderStatus],
                filter.from,
                filter.to,
                MAX_COUNTED
            )
            .fetch_one(conn)
            .await
        }
        (None, None) => {
            sqlx::query_scalar!(
                r#"SELECT count(*) AS "count!" FROM (SELECT FROM orders
                   WHERE id <= $1 AND id >= $2 AND (cardinality($3::order_status[]) = 0 OR status = ANY($3))
                       AND ($4::timestamptz IS NULL OR created_at >= $4)
                       AND ($5::timestamptz IS NULL OR created_at < $5)
                   ORDER BY id DESC LIMIT $6) AS counted"#,
                last,
                first,
                &filter.statuses as &[OrderStatus],
                filter.from,
                filter.to,
                MAX_COUNTED
            )
            .fetch_one(conn)
            .await
        }
    }
}
