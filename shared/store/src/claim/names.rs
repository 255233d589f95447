//! The gateway's own names for what is charged and for who pays. Few orders have some: of all others nothing is looked up.

use std::collections::HashMap;
use std::fmt;

use sqlx::PgConnection;
use uuid::Uuid;

/// The gateway's names of one charge.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct GatewayNames {
    /// For what is charged.
    pub payment_method: Option<String>,
    /// For who pays.
    pub customer: Option<String>,
}

/// Without the names, by which money can be taken.
impl fmt::Debug for GatewayNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatewayNames").finish_non_exhaustive()
    }
}

/// Those of these orders that have some.
pub(super) async fn of(
    conn: &mut PgConnection,
    orders: &[Uuid],
) -> sqlx::Result<HashMap<Uuid, Box<GatewayNames>>> {
    if orders.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = sqlx::query!(
        "SELECT order_id, gateway_payment_method, gateway_customer FROM order_details
         WHERE order_id = ANY($1) AND (gateway_payment_method IS NOT NULL OR gateway_customer IS NOT NULL)",
        orders
    )
    .fetch_all(conn)
    .await?;
    let named = |payment_method, customer| Box::new(GatewayNames { payment_method, customer });
    Ok(rows
        .into_iter()
        .map(|row| (row.order_id, named(row.gateway_payment_method, row.gateway_customer)))
        .collect())
}
