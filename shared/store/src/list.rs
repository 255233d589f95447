//! read, many at once: pages of orders, newest first, and how many match. Nothing here moves anything.

use domain::channel::name::ChannelName;
use domain::order::Order;
use domain::order::details::{Details, Handover};
use domain::order::status::OrderStatus;
use sqlx::types::Json;
use sqlx::{PgConnection, Postgres, QueryBuilder};
use time::OffsetDateTime;
use uuid::Uuid;

use super::read::Row;

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

/// Some of the orders that match, and how many do.
#[derive(Debug)]
pub struct Page {
    /// Newest first.
    pub orders: Vec<Order>,
    /// How many match in all, [`MAX_COUNTED`] at most.
    pub total: i64,
}

/// As far as the orders that match are counted: on the hundredth page of a hundred nobody asks how many more there are,
/// and among ten millions the answer would take seconds.
pub const MAX_COUNTED: i64 = 10_000;

/// Up to `limit` orders from `start` on.
pub async fn page(
    conn: &mut PgConnection,
    filter: &Filter,
    start: PageStart,
    limit: i64,
) -> sqlx::Result<Page> {
    let (after, offset) = match start {
        PageStart::Offset(offset) => (Uuid::max(), offset),
        PageStart::After(id) => (id, 0),
    };
    let asked = Asked { filter, those: not_over(conn, filter).await? };
    let mut query = asked.newest(ROWS, "shown_orders", after, limit);
    query.push(" OFFSET ").push_bind(offset).push(WITH_LINES);
    let rows: Vec<Row> = query.build_query_as().fetch_all(&mut *conn).await?;
    let mut orders = rows.into_iter().map(Order::try_from).collect::<sqlx::Result<Vec<_>>>()?;
    add_details(conn, &mut orders).await?;
    // From the newest too: what is looked for by its status mostly lies there.
    let mut query = asked.newest(COUNT, asked.counted(), Uuid::max(), MAX_COUNTED);
    query.push(") AS counted");
    let total = query.build_query_scalar().fetch_one(conn).await?;
    Ok(Page { orders, total })
}

/// What [`Row`] holds. The lines are fetched once the page is known: no plan of the page's depends on them.
const ROWS: &str = "SELECT page.id, customer_id, status, coalesce(page.items, first.items, '[]') AS items, total_minor, \
    currency, page.version, created_at, updated_at, accept_by, cancel_requested_at, cancel_actor, cancel_reason \
    FROM (SELECT o.* FROM ";
const COUNT: &str = "SELECT count(*) FROM (SELECT FROM ";
const WITH_LINES: &str = ") page LEFT JOIN order_events first ON first.subject = page.id AND first.version = 1 \
    ORDER BY page.id DESC";

/// What is asked for. A statement has a condition for each filter that is given and for no other, so that each shape has
/// a plan of its own; all that comes from outside is bound.
struct Asked<'a> {
    filter: &'a Filter,
    /// Only these can match.
    those: Option<Vec<Uuid>>,
}

impl Asked<'_> {
    /// Whether what is written with an order leaves open if it matches: `PENDING` there may be `PAYMENT_PROCESSING`.
    fn is_for_its_charge_to_say(&self) -> bool {
        let has = |status| self.filter.statuses.contains(&status);
        has(OrderStatus::Pending) != has(OrderStatus::PaymentProcessing)
    }

    /// Where those that match can be counted.
    fn counted(&self) -> &'static str {
        if self.is_for_its_charge_to_say() { "shown_orders" } else { "orders" }
    }

    /// `select` the newest `limit` orders `of` this table or view before `before` that match.
    fn newest(&self, select: &str, of: &str, before: Uuid, limit: i64) -> QueryBuilder<Postgres> {
        let Filter { customer_id, channel, statuses, from, to } = self.filter;
        let (first, last) = self.filter.ids();
        let mut query = QueryBuilder::new(select);
        // A channel's orders are found, and sorted, by the index of its own table.
        let id = if let Some(channel) = channel {
            query.push("order_details d JOIN ").push(of).push(" o ON o.id = d.order_id WHERE d.channel = ");
            query.push_bind(channel.as_str()).push(" AND ");
            "d.order_id"
        } else {
            query.push(of).push(" o WHERE ");
            "o.id"
        };
        query.push(id).push(" < ").push_bind(before.min(last));
        query.push(" AND ").push(id).push(" >= ").push_bind(first);
        if let Some(those) = &self.those {
            query.push(" AND ").push(id).push(" = ANY(").push_bind(those).push(")");
        }
        if let Some(customer_id) = customer_id {
            query.push(" AND o.customer_id = ").push_bind(customer_id);
        }
        if !statuses.is_empty() {
            // What is written is known as soon as the row is.
            let written = of == "shown_orders" && !self.is_for_its_charge_to_say();
            query.push(if written { " AND o.written_status" } else { " AND o.status" });
            query.push(" = ANY(").push_bind(statuses).push(")");
        }
        if let Some(from) = from {
            query.push(" AND o.created_at >= ").push_bind(from);
        }
        if let Some(to) = to {
            query.push(" AND o.created_at < ").push_bind(to);
        }
        query.push(" ORDER BY ").push(id).push(" DESC LIMIT ").push_bind(limit);
        query
    }
}

/// The orders that a restaurant's board shows, a few among millions that are over: no index on their status finds them
/// (it would have to be written at each move, with every other index of the row), but what they wait for does. A payment
/// that is due, the kitchen's answer, or being handed over.
///
/// `None`: other orders are asked for as well, or another index finds them, or these are so many that they are
/// met soon among the newest.
async fn not_over(conn: &mut PgConnection, filter: &Filter) -> sqlx::Result<Option<Vec<Uuid>>> {
    use OrderStatus::{Accepted, Confirmed, PaymentProcessing, Pending, Preparing, Ready};
    let wanted = |of: &[OrderStatus]| filter.statuses.iter().filter(|status| of.contains(status)).count();
    let (payment, answer) = (wanted(&[Pending, PaymentProcessing]), wanted(&[Confirmed]));
    let kitchen = wanted(&[Accepted, Preparing, Ready]);
    let elsewhere = filter.customer_id.is_some() || filter.channel.is_some();
    if elsewhere || filter.statuses.is_empty() || payment + answer + kitchen < filter.statuses.len() {
        return Ok(None);
    }
    // In the order of the partial indexes: only they can serve it.
    let those = sqlx::query_scalar!(
        r#"(SELECT id AS "order_id!" FROM open_charges WHERE $1 AND (began_at IS NOT NULL OR $5) ORDER BY due_at LIMIT $4)
           UNION ALL
           (SELECT order_id FROM payments WHERE $1 AND due_at IS NOT NULL ORDER BY due_at LIMIT $4)
           UNION ALL
           (SELECT order_id FROM payments WHERE $2 AND answer_by IS NOT NULL ORDER BY answer_by LIMIT $4)
           UNION ALL
           (SELECT order_id FROM in_kitchen WHERE $3 ORDER BY order_id LIMIT $4)"#,
        payment > 0,
        answer > 0,
        kitchen > 0,
        MAX_COUNTED,
        wanted(&[Pending]) > 0,
    )
    .fetch_all(conn)
    .await?;
    let all = i64::try_from(those.len()).is_ok_and(|found| found < MAX_COUNTED);
    Ok(all.then_some(those))
}

/// Adds what few orders have. A statement after the page's own, so that no plan of that one depends on it.
async fn add_details(conn: &mut PgConnection, orders: &mut [Order]) -> sqlx::Result<()> {
    let ids: Vec<Uuid> = orders.iter().map(|order| order.id).collect();
    let rows = sqlx::query!(
        r#"SELECT order_id, paid_elsewhere, channel, channel_order_id, handover AS "handover: Json<Handover>"
           FROM order_details WHERE order_id = ANY($1)"#,
        &ids
    )
    .fetch_all(conn)
    .await?;
    for row in rows {
        if let Some(order) = orders.iter_mut().find(|order| order.id == row.order_id) {
            let channel = row.channel.zip(row.channel_order_id);
            let details = Details { handover: row.handover.0, channel, paid_elsewhere: row.paid_elsewhere };
            order.details = Some(Box::new(details));
        }
    }
    Ok(())
}
