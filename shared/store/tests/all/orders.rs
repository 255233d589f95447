//! Orders on their way, for the tests beside this file.

use std::time::Duration;

use anyhow::Result;
use domain::order::NewOrder;
use domain::order::request::OrderRequest;
use domain::payment::AttemptOutcome;
use serde_json::json;
use sqlx::PgConnection;
use store::accept::{Accept, accept};
use store::claim::{Claimed, claim};
use store::settle::{Next, Settlement, settle};
use uuid::Uuid;

/// Long enough never to be over.
pub(crate) const HOUR: Duration = Duration::from_secs(3_600);

/// So many orders, accepted.
pub(crate) async fn accepted(conn: &mut PgConnection, count: usize) -> Result<Vec<NewOrder>> {
    let body = json!({"customer_id": "ann", "items": [
        {"item_id": "i", "item_name": "n", "quantity": 2, "price": 12.5}]})
    .to_string();
    let request: OrderRequest<'_> = serde_json::from_str(&body)?;
    let orders: Vec<NewOrder> =
        std::iter::repeat_with(|| NewOrder::parse(&request).unwrap()).take(count).collect();
    let batch: Vec<Accept> = orders.iter().map(|order| Accept { order: order.clone(), key: None }).collect();
    accept(conn, &batch, HOUR).await?;
    Ok(orders)
}

/// The end of a try, and what follows from it.
pub(crate) fn ends(claim: &Claimed, outcome: AttemptOutcome) -> Settlement {
    let next = match outcome {
        AttemptOutcome::Succeeded => Next::Succeeded { gateway_id: format!("ch_{}", claim.payment_id) },
        AttemptOutcome::InDoubt => Next::Retry { delay: HOUR, spend: true, void: false },
        _ => Next::Failed,
    };
    Settlement::new(claim, outcome, next)
}

/// Their charges, claimed.
pub(crate) async fn claimed(conn: &mut PgConnection, orders: &[NewOrder]) -> Result<Vec<Claimed>> {
    let hints: Vec<Uuid> = orders.iter().map(|order| order.payment_id()).collect();
    Ok(claim(conn, &hints, HOUR).await?)
}

/// So many orders, paid.
pub(crate) async fn confirmed(conn: &mut PgConnection, count: usize) -> Result<Vec<NewOrder>> {
    let mut all = Vec::with_capacity(count);
    while all.len() < count {
        let orders = accepted(conn, (count - all.len()).min(250)).await?;
        let claims = claimed(conn, &orders).await?;
        let settlements: Vec<_> = claims.iter().map(|claim| ends(claim, AttemptOutcome::Succeeded)).collect();
        assert_eq!(settle(conn, &settlements, HOUR).await?.len(), orders.len());
        all.extend(orders);
    }
    Ok(all)
}
