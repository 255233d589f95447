//! read, many at once: pages of orders, newest first, and how many match. Nothing here moves anything.
//!
//! No page costs more than a bounded look, whatever is asked for and however many orders there are: which orders are shown is
//! found first, by keys alone. Those that are not over stand in small tables of what they wait for (`board`); all others are
//! met by a walk from the newest on (`walk`), which ends after so many orders, and says where.

mod board;
mod later;
pub mod refunds;
mod walk;

use domain::channel::name::ChannelName;
use domain::order::Order;
use domain::order::adjustments::Adjustment;
use domain::order::details::{Fulfilment, Handover, LeftOut};
use domain::order::status::OrderStatus;
use serde_json::value::RawValue;
use sqlx::PgConnection;
use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;

use self::board::Board;
pub use self::later::{Later, later};
use self::walk::Walk;
use super::read::Row;
use crate::details::Columns;

/// Which orders to list; newest first.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only this customer's.
    pub customer_id: Option<String>,
    /// Only those of this channel.
    pub channel: Option<ChannelName>,
    /// Only those of these locations; of all, where none is named.
    pub locations: Vec<String>,
    /// Only those that stand at one of these; all, where none is named.
    pub statuses: Vec<OrderStatus>,
    /// Only those accepted at this time or later.
    pub from: Option<OffsetDateTime>,
    /// Only those accepted before this time.
    pub to: Option<OffsetDateTime>,
    /// Only those that are handed over so.
    pub fulfilment: Option<Fulfilment>,
    /// Only those that have changed at this time or later. (That a charge is claimed is written with no order, and so it is no change
    /// here.)
    pub updated_from: Option<OffsetDateTime>,
}

/// Where a page begins.
#[derive(Debug, Clone, Copy)]
pub enum PageStart {
    /// So many orders in: what page numbers come to. The deeper, the slower: [`MAX_COUNTED`] at most.
    Offset(usize),
    /// Behind this order: as quick at any depth.
    After(Uuid),
}

/// Some of the orders that match, and how many do.
#[derive(Debug)]
pub struct Page {
    /// Newest first.
    pub orders: Vec<Order>,
    /// Behind which order the next page begins; `None`: this is the last. There may be a next page though this one is not full:
    /// so far was looked.
    pub next: Option<Uuid>,
    /// How many match in all, as far as they were counted.
    pub total: Counted,
}

/// How many match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// Those that were counted, [`MAX_COUNTED`] at most.
    pub orders: usize,
    /// There may be more.
    pub capped: bool,
}

/// As far as the orders that match are counted, and as deep as pages have numbers: on the hundredth page of a hundred nobody
/// asks how many more there are, and among ten millions the answer would take seconds.
pub const MAX_COUNTED: usize = 10_000;
/// As many orders are looked at for a page, and as many for the count, where not each of them matches: some milliseconds.
pub const MAX_LOOKED_AT: usize = 20_000;
/// The same along the orders of a customer or a channel, which lie scattered among others: each may be a block to be read.
const MAX_SCATTERED: usize = 5_000;

/// Up to `limit` orders from `start` on.
pub async fn page(
    conn: &mut PgConnection,
    filter: &Filter,
    start: PageStart,
    limit: usize,
) -> sqlx::Result<Page> {
    let (before, passed) = match start {
        PageStart::Offset(offset) => (Uuid::max(), offset),
        PageStart::After(id) => (id, 0),
    };
    let board = Board::of(filter);
    let all = filter.ids();
    let range = Ids { before: before.min(all.before), ..all };
    // One more than is shown tells whether there is a next page.
    let wanted = passed + limit + 1;
    let (found, total) = match &board {
        Some(board) => board.find_and_count(conn, range, all, wanted).await?,
        None => {
            let walk = Walk::new(filter);
            (walk.find(conn, range, wanted).await?, walk.count(conn, all).await?)
        }
    };
    let shown: Vec<Uuid> = found.ids.iter().copied().skip(passed).take(limit).collect();
    let next = if found.ids.len() == wanted { shown.last().copied() } else { found.down_to };
    let orders = orders(conn, filter, &shown).await?;
    Ok(Page { orders, next, total })
}

/// Ids from `from` on, before `before`.
#[derive(Debug, Clone, Copy)]
struct Ids {
    from: Uuid,
    before: Uuid,
}

/// Orders that match, newest first.
#[derive(Debug, Default)]
struct Found {
    ids: Vec<Uuid>,
    /// Down to which order was looked; `None`: to the end, or until there were as many as were wanted.
    down_to: Option<Uuid>,
}

/// An id holds the time at which an api made it, by its own clock, and its order waited a moment to be written. Clocks that are
/// further apart than this let nobody log in, either. The times themselves are compared as well.
const SLACK: time::Duration = time::Duration::seconds(30);

impl Filter {
    /// The ids between which orders of these times lie.
    fn ids(&self) -> Ids {
        let from = self.from.and_then(|from| from.checked_sub(SLACK)).map_or(Uuid::nil(), first_of);
        let before = self.to.and_then(|to| to.checked_add(SLACK)).map_or(Uuid::max(), first_of);
        Ids { from, before }
    }

    /// The ids between which every order is one of these times.
    fn surely(&self) -> Ids {
        let from = self.from.and_then(|from| from.checked_add(SLACK)).map_or(Uuid::nil(), first_of);
        let before = self.to.and_then(|to| to.checked_sub(SLACK)).map_or(Uuid::max(), first_of);
        Ids { from, before }
    }
}

/// The first id of a time.
fn first_of(at: OffsetDateTime) -> Uuid {
    let millis = u64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap_or(0).min((1 << 48) - 1);
    Uuid::from_u128(u128::from(millis) << 80)
}

/// These orders, as far as they still match.
async fn orders(conn: &mut PgConnection, filter: &Filter, ids: &[Uuid]) -> sqlx::Result<Vec<Order>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query_as::<_, Row>(
        "SELECT o.id, customer_id, location, status, coalesce(o.items, first.items, '[]') AS items, total_minor, currency, o.version,
             created_at, updated_at, accept_by, cancel_requested_at, cancel_actor, cancel_reason
         FROM shown_orders o LEFT JOIN order_events first ON first.subject = o.id AND first.version = 1
         WHERE o.id = ANY($1) AND (cardinality($2::order_status[]) = 0 OR status = ANY($2))
             AND ($3::timestamptz IS NULL OR created_at >= $3) AND ($4::timestamptz IS NULL OR created_at < $4)
         ORDER BY o.id DESC",
    )
    .bind(ids)
    .bind(&filter.statuses)
    .bind(filter.from)
    .bind(filter.to)
    .fetch_all(&mut *conn)
    .await?;
    let mut orders = rows.into_iter().map(Order::try_from).collect::<sqlx::Result<Vec<_>>>()?;
    add_details(conn, &mut orders).await?;
    Ok(orders)
}

/// A number of rows as a statement takes it.
fn rows(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Adds what few orders have. A statement after the page's own, so that no plan of that one depends on it.
async fn add_details(conn: &mut PgConnection, orders: &mut [Order]) -> sqlx::Result<()> {
    let ids: Vec<Uuid> = orders.iter().map(|order| order.id).collect();
    let rows = sqlx::query!(
        r#"SELECT d.order_id, d.paid_elsewhere, d.on_delivery, d.collected, d.kept, d.expires_at, d.wanted_at, d.held_until,
                  d.left_out AS "left_out: Json<Vec<LeftOut>>", d.channel, d.channel_order_id, d.payment_reference, d.gateway_payment_method, d.gateway_customer, d.handover AS "handover: Json<Handover>",
                  d.metadata AS "metadata: Json<Box<RawValue>>", first.adjustments AS "adjustments: Json<Vec<Adjustment>>"
           FROM order_details d
           LEFT JOIN LATERAL (
               SELECT adjustments FROM order_events WHERE subject = d.order_id AND version = 1 OFFSET 0
           ) first ON true
           WHERE d.order_id = ANY($1)"#,
        &ids
    )
    .fetch_all(conn)
    .await?;
    for row in rows {
        if let Some(order) = orders.iter_mut().find(|order| order.id == row.order_id) {
            let details = Columns {
                paid_elsewhere: Some(row.paid_elsewhere),
                on_delivery: Some(row.on_delivery),
                collected: Some(row.collected),
                kept: Some(row.kept),
                expires_at: row.expires_at,
                wanted_at: row.wanted_at,
                held_until: row.held_until,
                left_out: row.left_out,
                channel: row.channel,
                channel_order_id: row.channel_order_id,
                payment_reference: row.payment_reference,
                gateway_payment_method: row.gateway_payment_method,
                gateway_customer: row.gateway_customer,
                handover: Some(row.handover),
                metadata: row.metadata,
            };
            order.details = details.with(row.adjustments);
        }
    }
    Ok(())
}
