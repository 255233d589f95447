//! A page of events is told, order by order, behind what each order's earlier events say.

use std::collections::HashMap;

use domain::event::{Event, What};
use domain::order::adjustments::Adjustment;
use domain::order::lines::Item;
use domain::order::status::OrderStatus;
use domain::rolled::cells::{Cells, Place};
use domain::rolled::story::{Of, Story};
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use super::write;
use crate::events::Row;

/// Adds these events: those of one order beside each other, by their versions, none left out between.
pub async fn add(conn: &mut PgConnection, events: &[Event]) -> sqlx::Result<()> {
    let of_orders = || events.chunk_by(|one, next| one.subject == next.subject).filter_map(<[Event]>::first);
    let orders: Vec<Uuid> = of_orders().map(|event| event.subject).collect();
    let of = of(conn, &orders).await?;
    let (begun, from): (Vec<Uuid>, Vec<i32>) =
        of_orders().filter(|event| event.version > 1).map(|event| (event.subject, event.version)).unzip();
    let mut earlier = earlier(conn, &begun, &from).await?;
    let (mut counted, mut cells) = (Cells::default(), Cells::default());
    for events in events.chunk_by(|one, next| one.subject == next.subject) {
        let Some((first, of)) = events.first().and_then(|event| Some((event, of.get(&event.subject)?)))
        else {
            continue;
        };
        let mut story = Story::new(of);
        for event in earlier.remove(&first.subject).into_iter().flatten() {
            if event.version < first.version {
                story.tell(&event, &mut counted);
            }
        }
        for event in events {
            story.tell(event, &mut cells);
        }
    }
    write::cells(conn, cells).await
}

/// What is counted by. (What stands beside an order's lines stands with its first event; few orders have any, and those have
/// details.)
async fn of(conn: &mut PgConnection, orders: &[Uuid]) -> sqlx::Result<HashMap<Uuid, Of>> {
    let rows = sqlx::query!(
        r#"SELECT o.id AS "id!", o.location AS "location!", o.customer_id AS "customer_id!", o.currency AS "currency!",
               coalesce(d.channel, '') AS "channel!", first.adjustments AS "adjustments?: Json<Vec<Adjustment>>"
           FROM unnest($1::uuid[]) AS asked(id) JOIN orders o ON o.id = asked.id
           LEFT JOIN order_details d ON d.order_id = o.id
           LEFT JOIN order_events first ON first.subject = d.order_id AND first.version = 1"#,
        orders
    )
    .fetch_all(conn)
    .await?;
    let of = rows.into_iter().map(|row| {
        let place = Place { location: row.location.into(), channel: row.channel.into() };
        let adjustments = row.adjustments.map(|Json(all)| all).unwrap_or_default();
        let of = Of { place, customer: row.customer_id.into(), currency: row.currency.into(), adjustments };
        (row.id, of)
    });
    Ok(of.collect())
}

/// What happened to these orders up to these versions, those among it: a row may be two events, of which the first is told already.
/// Of lines only those with amounts beside them.
async fn earlier(
    conn: &mut PgConnection,
    orders: &[Uuid],
    versions: &[i32],
) -> sqlx::Result<HashMap<Uuid, Vec<Event>>> {
    if orders.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT e.subject AS "subject!", e.version AS "version!", e.what AS "what!: What",
               e.from_status AS "from: OrderStatus", e.to_status AS "to: OrderStatus", '' AS "actor!", e.reason, e.payment_id,
               e.amount_minor,
               CASE WHEN strpos(e.items::text, '"adjustments"') > 0 THEN e.items END AS "items: Json<Vec<Item>>",
               e.at AS "at!", e.began_at
           FROM unnest($1::uuid[], $2::int[]) AS asked(subject, version)
           JOIN order_events e ON e.subject = asked.subject AND e.version <= asked.version
           ORDER BY e.subject, e.version"#,
        orders,
        versions
    )
    .fetch_all(conn)
    .await?;
    let mut earlier: HashMap<Uuid, Vec<Event>> = HashMap::with_capacity(orders.len());
    for event in rows.into_iter().flat_map(Row::events) {
        earlier.entry(event.subject).or_default().push(event);
    }
    Ok(earlier)
}
