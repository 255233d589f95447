//! What people do with orders, and how that races with the workers: against a real PostgreSQL.

mod called_off;
mod cancelling;
mod deadlines;
mod kitchen;
mod unsent;

use std::time::Duration;

use anyhow::Result;
use domain::order::NewOrder;
use domain::order::moves::{Actor, Expected, Move, Refusal, Wanted};
use domain::order::status::OrderStatus;
use domain::payment::AttemptOutcome;
use sqlx::PgConnection;
use store::claim::Claimed;
use store::moves::{Moved, carry_out};
use store::read;
use store::settle::{Next, Settlement};
use uuid::Uuid;

fn ask(order_id: Uuid, wanted: Wanted) -> Move {
    let reason = Some("because".to_owned());
    Move {
        request: Uuid::now_v7(),
        order_id,
        wanted,
        by: Actor::Staff(Some("bo".into())),
        reason,
        expected: Expected::default(),
    }
}

async fn moved(conn: &mut PgConnection, order: &NewOrder, wanted: Wanted) -> Result<Moved> {
    Ok(carry_out(conn, &ask(order.id, wanted)).await?)
}

fn refusal(moved: &Moved) -> Option<(Refusal, OrderStatus)> {
    match moved {
        Moved::Refused { refusal, status } => Some((*refusal, *status)),
        _ => None,
    }
}

async fn status(conn: &mut PgConnection, order: &NewOrder) -> Result<OrderStatus> {
    Ok(read::order(conn, order.id).await?.unwrap().status)
}

/// The reasons of an order's refunds.
async fn refunds(conn: &mut PgConnection, order: &NewOrder) -> Result<Vec<String>> {
    Ok(sqlx::query_scalar("SELECT reason FROM payments WHERE order_id = $1 AND kind = 'refund'")
        .bind(order.id)
        .fetch_all(conn)
        .await?)
}

/// A further charge of an order, as an addition makes one.
async fn another_charge(conn: &mut PgConnection, order: &NewOrder) -> Result<Uuid> {
    Ok(sqlx::query_scalar(
        "INSERT INTO payments (id, order_id, amount_minor, created_at, due_at, kind, status, currency, added)
         VALUES (gen_random_uuid(), $1, 100, now(), now(), 'charge', 'pending', 'USD', '[]') RETURNING id",
    )
    .bind(order.id)
    .fetch_one(conn)
    .await?)
}

/// The gateway did not look at it; it is to be tried again at once.
fn turned_away(claim: &Claimed) -> Settlement {
    let again = Next::Retry { delay: Duration::ZERO, spend: false, void: false };
    Settlement::new(claim, AttemptOutcome::Unavailable, again)
}
