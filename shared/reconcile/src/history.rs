//! The history: each order's events, read in their order, lead by legal moves to where the order stands; and replayed alone
//! they say what it is made of and where its money is.

use anyhow::Result;
use domain::event::{Event, Replayed, What};
use domain::order::lines::Item;
use domain::order::status::OrderStatus;
use futures_util::TryStreamExt;
use sqlx::PgConnection;
use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;

use super::orders::{Order, Orders};
use super::{Invariant, Report};

/// An event, without what says nothing about where things stand.
#[derive(sqlx::FromRow)]
struct Row {
    subject: Uuid,
    version: i32,
    what: What,
    from_status: Option<OrderStatus>,
    to_status: Option<OrderStatus>,
    payment_id: Option<Uuid>,
    amount_minor: Option<i64>,
    began_at: Option<OffsetDateTime>,
    items: Option<Json<Vec<Item>>>,
    /// The order's lines now, where they are no longer those that it was accepted with; with its first event.
    lines_now: Option<Json<Vec<Item>>>,
}

/// The events of one order so far.
struct Story {
    subject: Uuid,
    replayed: Replayed,
    lines_now: Option<Vec<Item>>,
}

/// The lines of millions that were never added to stand in one place only, so there is nothing to compare them with.
const EVENTS: &str = "
    SELECT e.subject, e.version, e.what, e.from_status, e.to_status, e.payment_id, e.amount_minor, e.began_at,
        CASE WHEN e.what <> 'accepted' OR o.items IS NOT NULL THEN e.items END AS items, o.items AS lines_now
    FROM order_events e LEFT JOIN orders o ON o.id = e.subject AND e.version = 1
    WHERE NOT EXISTS (SELECT FROM products WHERE id = e.subject)
    ORDER BY e.subject, e.version";

/// Of each product: how many events there are, the last one's version, and whether any is an order's.
const OF_PRODUCTS: &str = "
    SELECT p.id, count(*), max(e.version), bool_or(e.what = ANY($1))
    FROM products p JOIN order_events e ON e.subject = p.id GROUP BY p.id";

/// Reads the events of products and checks that none is missing.
pub(super) async fn check_products(conn: &mut PgConnection, report: &mut Report) -> Result<()> {
    let of_orders = What::ALL.to_vec();
    let mut rows = sqlx::query_as::<_, (Uuid, i64, i32, bool)>(OF_PRODUCTS).bind(of_orders).fetch(conn);
    while let Some((product, events, last, is_an_orders)) = rows.try_next().await? {
        report.check(Invariant::HistoryWhole, events == i64::from(last) && !is_an_orders, || {
            format!("product {product}: {events} events, the last one of version {last}, an order's: {is_an_orders}")
        });
    }
    Ok(())
}

/// Reads all events and checks them; leaves their number with each order.
pub(super) async fn check(conn: &mut PgConnection, orders: &mut Orders, report: &mut Report) -> Result<()> {
    let mut rows = sqlx::query_as::<_, Row>(EVENTS).fetch(conn);
    let mut story: Option<Story> = None;
    while let Some(row) = rows.try_next().await? {
        if let Some(ended) = story.take_if(|story| story.subject != row.subject) {
            ended.end(orders, report);
        }
        let story = story.get_or_insert_with(|| Story {
            subject: row.subject,
            replayed: Replayed::default(),
            lines_now: row.lines_now.as_ref().map(|lines| lines.0.clone()),
        });
        for event in row.events() {
            story.apply(&event, orders, report);
        }
    }
    if let Some(ended) = story {
        ended.end(orders, report);
    }
    Ok(())
}

impl Row {
    /// The events that it stands for.
    fn events(self) -> impl Iterator<Item = Event> {
        let row = self;
        let event = Event {
            subject: row.subject,
            version: row.version,
            what: row.what,
            from: row.from_status,
            to: row.to_status,
            actor: String::new(),
            reason: None,
            payment_id: row.payment_id,
            amount_minor: row.amount_minor,
            items: row.items.map(|items| items.0),
            at: OffsetDateTime::UNIX_EPOCH,
        };
        event.with_begin(row.began_at)
    }
}

impl Story {
    fn apply(&mut self, event: &Event, orders: &mut Orders, report: &mut Report) {
        let Event { subject, version, what, .. } = event;
        let stood = name(self.replayed.status);
        let verdict = self.replayed.apply(event);
        let order = orders.get_mut(*subject);
        let begins_right = *what != What::Accepted
            || event.to == order.as_ref().map_or(Some(OrderStatus::Pending), |order| begins_at(order));
        report.check(Invariant::HistoryLegal, verdict.is_legal && begins_right, || {
            format!(
                "order {subject} version {version}, {}: {} -> {}",
                what.as_str(),
                name(event.from),
                name(event.to)
            )
        });
        report.check(Invariant::HistoryWhole, verdict.follows, || {
            format!(
                "order {subject}: version {version}, {} from {}, does not follow: it stood at {stood}",
                what.as_str(),
                name(event.from)
            )
        });
        report.check(Invariant::EventsExplain, verdict.lacks.is_none(), || {
            let lacks = verdict.lacks.unwrap_or_default();
            format!("order {subject} version {version}, {}: {lacks}", what.as_str())
        });
        if let Some(order) = order {
            order.events += 1;
        }
    }

    /// What the events come to must be what the other tables say.
    fn end(self, orders: &mut Orders, report: &mut Report) {
        let Self { subject, replayed, lines_now } = self;
        let order = orders.get_mut(subject);
        report.check(Invariant::RowsBelong, order.is_some(), || {
            format!("events of order {subject}, which is not")
        });
        let Some(order) = order else { return };
        report.check(Invariant::HistoryWhole, replayed.status == Some(order.status), || {
            let says = name(replayed.status);
            format!("order {subject} is {}, its events say {says}", order.status.as_str())
        });
        order.kept = replayed.kept;
        let total = order.total.minor();
        report.check(Invariant::EventsExplain, replayed.total_minor == total, || {
            format!("order {subject} comes to {total}, its events to {}", replayed.total_minor)
        });
        for (money, events, payments) in [
            ("charged", replayed.charged, order.charged),
            ("collected", replayed.collected, order.collected),
            ("to be refunded", replayed.owed, order.owed),
            ("refunded", replayed.refunded, order.refunded),
        ] {
            report.check(Invariant::EventsExplain, events == payments, || {
                format!("order {subject}, {money}: by its events {events:?}, by its payments {payments:?}")
            });
        }
        let changed = replayed.lines_changed || lines_now.is_some();
        let same = !changed
            || (lines_now.is_some() && text(replayed.items.as_deref()) == text(lines_now.as_deref()));
        report.check(Invariant::EventsExplain, same, || {
            format!("order {subject} has other lines than its events come to")
        });
        report.check(Invariant::EventsExplain, replayed.told == order.told, || {
            format!("order {subject} was told {} changes, by its events {}", order.told, replayed.told)
        });
        report.check(Invariant::EventsExplain, replayed.forgotten == order.is_forgotten, || {
            format!(
                "order {subject}: by its events forgotten {}, by its row {}",
                replayed.forgotten, order.is_forgotten
            )
        });
        report.check(Invariant::EventsExplain, replayed.wished == order.is_wished, || {
            format!(
                "order {subject}: by its events to be cancelled {}, by its row {}",
                replayed.wished, order.is_wished
            )
        });
    }
}

/// Where an order begins: one for which nothing is charged waits for no charge.
const fn begins_at(order: &Order) -> Option<OrderStatus> {
    Some(if order.is_uncharged() { OrderStatus::Confirmed } else { OrderStatus::Pending })
}

/// Lines to be compared; none are equal to none.
fn text(lines: Option<&[Item]>) -> Option<String> {
    lines.and_then(|lines| serde_json::to_string(lines).ok())
}

fn name(status: Option<OrderStatus>) -> &'static str {
    status.map_or("nothing", OrderStatus::as_str)
}
