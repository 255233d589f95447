//! told: what others are told of an order beside its events, so that they can be chosen by: where it is made, and by which
//! channel it came. Nothing of who ordered.

use std::collections::HashMap;

use domain::told::About;
use sqlx::PgConnection;
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
