//! told: what others are told of an order or a product beside its events, so that they can be chosen by: where it is made, and by
//! which channel it came; where it is sold. Nothing of who ordered.

use std::collections::HashMap;

use domain::event::What;
use domain::money::currency_of;
use domain::order::adjustments::Adjustment;
use domain::order::lines::Item;
use domain::order::status::OrderStatus;
use domain::told::{About, Past};
use serde_json::value::RawValue;
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use crate::events::Row;

/// What there is to say of these orders and products.
pub async fn about(conn: &mut PgConnection, subjects: &[Uuid]) -> sqlx::Result<HashMap<Uuid, About>> {
    let rows = sqlx::query!(
        r#"SELECT o.id AS "id!", o.location AS "location!", d.channel AS "channel?", d.channel_order_id AS "channel_order_id?"
           FROM orders o LEFT JOIN order_details d ON d.order_id = o.id WHERE o.id = ANY($1)"#,
        subjects
    )
    .fetch_all(&mut *conn)
    .await?;
    let of_orders = rows.into_iter().map(|row| {
        let (location, channel, channel_order_id) = (row.location, row.channel, row.channel_order_id);
        (row.id, About { location, channel, channel_order_id, sold_at: None })
    });
    let mut about: HashMap<Uuid, About> = of_orders.collect();
    let others: Vec<Uuid> = subjects.iter().copied().filter(|subject| !about.contains_key(subject)).collect();
    if !others.is_empty() {
        let rows = sqlx::query!("SELECT id, locations FROM products WHERE id = ANY($1)", &others);
        let products = rows.fetch_all(conn).await?;
        about.extend(products.into_iter().map(|row| (row.id, About::product(row.locations))));
    }
    Ok(about)
}

/// The documents by which channels sent these orders, to the letter, as far as they are there.
pub async fn documents(
    conn: &mut PgConnection,
    orders: &[Uuid],
) -> sqlx::Result<HashMap<Uuid, Box<RawValue>>> {
    let rows = sqlx::query!(
        r#"SELECT order_id AS "order_id!", imported AS "imported!: Json<Box<RawValue>>"
           FROM order_details WHERE order_id = ANY($1) AND imported IS NOT NULL"#,
        orders
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.order_id, row.imported.0)).collect())
}

/// All that happened to these orders, with their lines: what each was after each change can be told from it.
pub async fn pasts(conn: &mut PgConnection, orders: &[Uuid]) -> sqlx::Result<HashMap<Uuid, Past>> {
    let firsts = sqlx::query!(
        r#"SELECT o.id AS "id!", o.currency AS "currency!", first.adjustments AS "adjustments: Json<Vec<Adjustment>>"
           FROM orders o JOIN order_events first ON first.subject = o.id AND first.version = 1 WHERE o.id = ANY($1)"#,
        orders
    )
    .fetch_all(&mut *conn)
    .await?;
    let mut pasts = HashMap::new();
    for row in firsts {
        let unknown = || sqlx::Error::Decode("an order in an unknown currency".into());
        let currency = currency_of(&row.currency).ok_or_else(unknown)?;
        let adjustments = row.adjustments.map(|Json(all)| all).unwrap_or_default();
        pasts.insert(row.id, Past { currency, adjustments, events: Vec::new() });
    }
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT subject AS "subject!", version AS "version!", what AS "what!: What", from_status AS "from: OrderStatus",
                  to_status AS "to: OrderStatus", actor AS "actor!", reason, payment_id, amount_minor,
                  items AS "items: Json<Vec<Item>>", at AS "at!", began_at
           FROM order_events WHERE subject = ANY($1) ORDER BY subject, version"#,
        orders
    )
    .fetch_all(conn)
    .await?;
    for event in rows.into_iter().flat_map(Row::events) {
        if let Some(past) = pasts.get_mut(&event.subject) {
            past.events.push(event);
        }
    }
    Ok(pasts)
}
