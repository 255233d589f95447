//! What a payment waits for without spending anything: a gateway that refuses us, is still at it, or takes no more for now. Step by
//! step, against the gateway of the demo.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use axum::http::{HeaderMap, StatusCode};
use axum::{Router, routing::post};
use domain::order::NewOrder;
use serde_json::{Value, json};
use testbed::until;
use worker::consume::Step;
use worker::gateway::breaker::Admission;

use crate::{Bench, is_closed};

impl Bench {
    /// Outcome of each try, and how many of them count against the budget.
    async fn outcomes(&self, order: &NewOrder) -> Result<(Vec<String>, i32)> {
        let tries = self.tries(order).await?.into_iter().map(|(_, outcome)| outcome).collect();
        let spent = sqlx::query_scalar("SELECT spent FROM shown_payments WHERE id = $1")
            .bind(order.payment_id())
            .fetch_one(&mut self.database.connect().await?)
            .await?;
        Ok((tries, spent))
    }

    async fn probe(&mut self) -> Result<usize> {
        until("a probe is let through", async || {
            Ok((self.till.breaker.admits() == Admission::One).then_some(()))
        })
        .await?;
        self.hurry().await?;
        self.sweep().await
    }

    async fn all_are(&self, orders: &[NewOrder], status: &str) -> Result<()> {
        for order in orders {
            assert_eq!(self.status(order).await?, status);
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_gateway_that_refuses_us_fails_no_order_and_all_goes_on_by_itself_once_that_is_mended() -> Result<()>
{
    for status in [301, 401, 403, 404] {
        let mut bench = Bench::with(|settings| {
            settings.payment_retry_attempts = 1;
            settings.circuit_breaker_failure_threshold = 100_000;
            settings.circuit_breaker_recovery = Duration::from_millis(1);
        })
        .await?;
        bench.faults(json!({"misconfigured_rate": 1.0, "misconfigured_status": status})).await?;
        let orders = bench.accept(5).await?;
        assert_eq!(bench.sweep().await?, 5);
        assert!(!is_closed(&bench.till.breaker), "one is enough");
        for _ in 0..5 {
            assert_eq!(bench.probe().await?, 1, "one probe at a time");
        }
        bench.all_are(&orders, "PAYMENT_PROCESSING").await?;
        for order in &orders {
            let (outcomes, spent) = bench.outcomes(order).await?;
            assert!(spent == 0 && outcomes.iter().all(|one| one == "misconfigured"), "{outcomes:?}, {spent}");
        }
        bench.client.no_faults().await?;
        assert_eq!(bench.probe().await?, 1);
        assert!(is_closed(&bench.till.breaker));
        assert_eq!(bench.sweep().await?, 4);
        bench.all_are(&orders, "CONFIRMED").await?;
        bench.reconciles().await?;
    }
    Ok(())
}

/// A gateway that finds one order wrong, and charges all others.
fn picky(odd: Arc<std::sync::OnceLock<String>>, mended: Arc<AtomicBool>) -> Router {
    let charge = async move |headers: HeaderMap, body: String| {
        let asked: Value = serde_json::from_str(&body).unwrap();
        let key = headers["idempotency-key"].to_str().unwrap();
        if odd.get().is_some_and(|odd| odd == key) && !mended.load(Ordering::Relaxed) {
            return (StatusCode::BAD_REQUEST, json!({"code": "odd", "message": "no"}).to_string());
        }
        let receipt =
            json!({"id": "ch_1", "key": key, "amount": asked["amount"], "currency": asked["currency"]});
        (StatusCode::CREATED, receipt.to_string())
    };
    Router::new().route("/v1/charges", post(charge))
}

#[tokio::test]
async fn one_order_that_the_gateway_finds_wrong_waits_ever_longer_and_stops_no_other() -> Result<()> {
    let (odd, mended) = (Arc::default(), Arc::default());
    let mut bench = Bench::with_gateway(picky(Arc::clone(&odd), Arc::clone(&mended))).await?;
    let orders = bench.accept(5).await?;
    odd.set(orders[2].payment_id().to_string()).unwrap();
    assert_eq!(bench.sweep().await?, 5);
    for _ in 0..20 {
        bench.hurry().await?;
        bench.sweep().await?;
    }
    assert!(is_closed(&bench.till.breaker));
    let (well, wrong): (Vec<_>, Vec<_>) =
        orders.into_iter().partition(|order| Some(&order.payment_id().to_string()) != odd.get());
    bench.all_are(&well, "CONFIRMED").await?;
    bench.all_are(&wrong, "PAYMENT_PROCESSING").await?;
    let (outcomes, spent) = bench.outcomes(&wrong[0]).await?;
    assert!(spent == 0 && outcomes.iter().all(|one| one == "refused"), "{outcomes:?}, {spent}");
    let waits: f64 =
        sqlx::query_scalar("SELECT extract(epoch FROM due_at - now())::float8 FROM open_charges")
            .fetch_one(&mut bench.database.connect().await?)
            .await?;
    // A thousandth of a second at first, here, and twice as long each time: ten minutes in the end.
    assert!(waits > 300.0, "{waits}");
    mended.store(true, Ordering::Relaxed);
    bench.hurry().await?;
    bench.sweep().await?;
    bench.all_are(&wrong, "CONFIRMED").await
}

#[tokio::test]
async fn a_charge_that_the_gateway_is_still_at_is_neither_confirmed_nor_spent() -> Result<()> {
    let mut bench = Bench::with(|settings| settings.payment_retry_attempts = 1).await?;
    bench.faults(json!({"pending_rate": 1.0, "timeout_ms": 600_000})).await?;
    let stuck = bench.accept(1).await?;
    for _ in 0..10 {
        bench.hurry().await?;
        assert_eq!(bench.sweep().await?, 1);
    }
    bench.all_are(&stuck, "PAYMENT_PROCESSING").await?;
    let (outcomes, spent) = bench.outcomes(&stuck[0]).await?;
    assert!(spent == 0 && outcomes.iter().all(|one| one == "pending"), "{outcomes:?}, {spent}");
    assert!(is_closed(&bench.till.breaker), "it is no outage");

    bench.faults(json!({"timeout_ms": 1})).await?;
    let slow = bench.accept(1).await?;
    bench.sweep().await?;
    until("the charge lands", async || Ok((bench.ledger().await?.charges.len() == 1).then_some(()))).await?;
    bench.client.no_faults().await?;
    bench.hurry().await?;
    bench.sweep().await?;
    bench.all_are(&slow, "CONFIRMED").await?;
    bench.all_are(&stuck, "PAYMENT_PROCESSING").await?;
    assert_eq!(bench.ledger().await?.charges.len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_receipt_of_something_else_confirms_nothing_and_fails_nothing() -> Result<()> {
    let mut bench = Bench::with(|settings| settings.circuit_breaker_failure_threshold = 100_000).await?;
    bench.faults(json!({"foreign_receipt_rate": 1.0})).await?;
    let order = bench.accept(1).await?;
    bench.sweep().await?;
    assert_eq!(bench.outcomes(&order[0]).await?, (vec!["in_doubt".to_owned()], 1));
    // It was charged all the same: the same key finds it.
    bench.client.no_faults().await?;
    bench.hurry().await?;
    bench.sweep().await?;
    bench.all_are(&order, "CONFIRMED").await?;
    bench.reconciles().await?;

    // One that never says anything else: not even its word that it is too late for a void is taken.
    let receipt = json!({"id": "ch_1", "key": "another", "amount": 1, "currency": "USD"}).to_string();
    let void = json!({"status": "already_charged", "charge": {"id": "ch_1", "key": "another", "amount": 1, "currency": "USD"}});
    let routes = Router::new()
        .route("/v1/charges", post(async move || (StatusCode::CREATED, receipt.clone())))
        .route("/v1/charges/by-key/{key}/void", post(async move || void.to_string()));
    let mut bench = Bench::with_gateway(routes).await?;
    let order = bench.accept(1).await?;
    for _ in 0..4 {
        bench.hurry().await?;
        bench.sweep().await?;
    }
    bench.all_are(&order, "PAYMENT_PROCESSING").await
}

#[tokio::test]
async fn a_gateway_that_takes_no_more_is_asked_less_and_no_row_is_spent_on_it() -> Result<()> {
    let mut bench = Bench::new().await?;
    bench.faults(json!({"too_many_rate": 1.0})).await?;
    let mut orders = bench.accept(10).await?;
    assert_eq!(bench.sweep().await?, 10);
    bench.client.no_faults().await?;
    orders.extend(bench.accept(20).await?);
    bench.publish(&orders).await?;
    assert_eq!(bench.consume().await?, Step::Pause, "the broker keeps what is not taken");
    bench.hurry().await?;
    let swept = bench.sweep().await?;
    // Half of what it was before: five a second.
    assert!((1..=8).contains(&swept), "{swept} of 30");
    until("all are confirmed", async || {
        bench.sweep().await?;
        let confirmed: i64 = sqlx::query_scalar("SELECT count(*) FROM orders WHERE status = 'CONFIRMED'")
            .fetch_one(&mut bench.database.connect().await?)
            .await?;
        Ok((confirmed == 30).then_some(()))
    })
    .await?;
    let tries: i64 = sqlx::query_scalar("SELECT count(*) FROM payment_attempts")
        .fetch_one(&mut bench.database.connect().await?)
        .await?;
    assert_eq!(tries, 40, "ten were turned away, once each");
    bench.reconciles().await
}
