//! What clients were told, against what the database holds.

use std::collections::HashMap;

use anyhow::Result;
use domain::order::status::OrderStatus;
use futures_util::TryStreamExt;
use sqlx::PgConnection;
use uuid::Uuid;

use super::Check;
use crate::order::{customer, of_channel};
use crate::told::Told;

/// What is compared of an order.
struct Stored {
    customer: String,
    /// Without what was added to it later.
    minor: i64,
    currency: String,
    status: OrderStatus,
}

/// The first of these is the one about lost orders.
pub(super) async fn check(conn: &mut PgConnection, told: &[Told]) -> Result<Vec<Check>> {
    let orders = read_orders(conn).await?;
    let keys = read_keys(conn).await?;
    let mut lost = Check::new("an order that was answered 202 is there, and has ended");
    let mut same =
        Check::new("it is the one that was sent, with the total that was told and what was added since");
    let mut keyed = Check::new("an idempotency key leads to the order that its client was told");
    for one in told {
        let Told { id, number, .. } = one;
        let stored = orders.get(id);
        let status = stored.map_or("not there", |stored| stored.status.as_str());
        let ended = stored.is_some_and(|stored| !is_open(stored.status));
        lost.look(ended, || format!("order {id} (number {number}) is {status}"));
        if let Some(stored) = stored {
            let equal = stored.customer == customer(*number)
                && stored.minor == one.total.minor()
                && stored.currency == one.total.currency().code();
            same.look(equal, || {
                let Stored { customer, minor, currency, .. } = stored;
                format!("order {id}, {} told to number {number}: {minor} {currency} of {customer}", one.total)
            });
        }
        if let Some(key) = &one.key {
            let found = keys.get(key);
            keyed.look(found == Some(id), || format!("key {key} was told {id} and leads to {found:?}"));
        }
    }
    let mut by_customer: HashMap<&str, u32> = HashMap::with_capacity(orders.len());
    for stored in orders.values() {
        *by_customer.entry(&stored.customer).or_default() += 1;
    }
    let mut once = Check::new("an order that was sent many times is there once");
    for (customer, count) in by_customer {
        once.look(count == 1, || format!("{customer} has {count} orders"));
    }
    Ok(vec![lost, same, keyed, once])
}

const fn is_open(status: OrderStatus) -> bool {
    matches!(status, OrderStatus::Pending | OrderStatus::PaymentProcessing)
}

async fn read_orders(conn: &mut PgConnection) -> Result<HashMap<Uuid, Stored>> {
    let mut orders = HashMap::new();
    let mut rows = sqlx::query_as::<_, (Uuid, String, i64, String, OrderStatus)>(
        "SELECT o.id, o.customer_id, (o.total_minor - coalesce(a.minor, 0))::bigint, o.currency, o.status FROM orders o
         LEFT JOIN (SELECT order_id, sum(amount_minor) AS minor FROM payments
                    WHERE added IS NOT NULL AND dropped_at IS NULL GROUP BY order_id) a ON a.order_id = o.id",
    )
    .fetch(conn);
    while let Some((id, customer, minor, currency, status)) = rows.try_next().await? {
        let customer = of_channel(&customer);
        orders.insert(id, Stored { customer, minor, currency, status });
    }
    Ok(orders)
}

async fn read_keys(conn: &mut PgConnection) -> Result<HashMap<String, Uuid>> {
    let rows: Vec<(String, Uuid)> =
        sqlx::query_as("SELECT name, named FROM names WHERE kind = 'idempotency_key'")
            .fetch_all(conn)
            .await?;
    Ok(rows.into_iter().collect())
}
