//! told: what others are told of an order beside its events, so that they can be chosen by: where it is made, and by which
//! channel it came. Nothing of who ordered.

use std::collections::HashMap;

use domain::told::About;
use serde_json::value::RawValue;
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

/// What there is to say of these orders.
pub async fn about(conn: &mut PgConnection, orders: &[Uuid]) -> sqlx::Result<HashMap<Uuid, About>> {
    let rows = sqlx::query!(
        r#"SELECT o.id AS "id!", o.location AS "location!", d.channel AS "channel?", d.channel_order_id AS "channel_order_id?"
           FROM orders o LEFT JOIN order_details d ON d.order_id = o.id WHERE o.id = ANY($1)"#,
        orders
    )
    .fetch_all(conn)
    .await?;
    let about = rows.into_iter().map(|row| {
        let about =
            About { location: row.location, channel: row.channel, channel_order_id: row.channel_order_id };
        (row.id, about)
    });
    Ok(about.collect())
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
