//! Cancelled orders and money on its way back, one step at a time, against the real gateway of the demo.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use domain::order::NewOrder;
use domain::order::moves::{Actor, Expected, Move, Wanted};
use reconcile::reconcile;
use serde_json::json;
use store::claim::{Claimed, claim};
use store::moves::{Moved, carry_out};
use uuid::Uuid;
use worker::policy::settlement;
use worker::settle::{Settle, Settled};
use worker::sweep::Chores;

use crate::{Bench, tries};

impl Bench {
    async fn move_on(&self, order: &NewOrder, wanted: Wanted) -> Result<Moved> {
        let by = Actor::Customer("customer_123".to_owned());
        let ask = Move {
            request: Uuid::now_v7(),
            order_id: order.id,
            wanted,
            by,
            reason: None,
            expected: Expected::default(),
        };
        Ok(carry_out(&mut self.database.connect().await?, &ask).await?)
    }

    async fn cancel(&self, order: &NewOrder) -> Result<()> {
        let moved = self.move_on(order, Wanted::Cancel).await?;
        assert!(matches!(moved, Moved::Done { .. }), "{moved:?}");
        Ok(())
    }

    async fn claim(&self, order: &NewOrder, lease: Duration) -> Result<Claimed> {
        let mut claims = claim(&mut self.database.connect().await?, &[order.payment_id()], lease).await?;
        claims.pop().context("nothing to claim")
    }

    /// Sweeps until nothing is left, whatever is due when.
    pub(crate) async fn finish_all(&mut self) -> Result<()> {
        loop {
            self.hurry().await?;
            if self.sweep().await? == 0 {
                return Ok(());
            }
        }
    }

    async fn refund_reasons(&self) -> Result<Vec<String>> {
        Ok(sqlx::query_scalar("SELECT reason FROM payments WHERE kind = 'refund' ORDER BY created_at")
            .fetch_all(&mut self.database.connect().await?)
            .await?)
    }

    /// The books agree, here and at the gateway.
    pub(crate) async fn reconciles(&self) -> Result<()> {
        let report = reconcile(self.database.url(), &self.ledger().await?).await?;
        assert!(report.is_clean(), "\n{report}");
        Ok(())
    }
}

/// A lease that is over at the next statement.
const OVER: Duration = Duration::from_nanos(1);

/// How far a charge has come when the cancellation arrives, and whether its worker dies of it: every place of
/// `CRASH_POINTS` that a charge passes, from its claim to its settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    BeforeClaim,
    AfterClaimDies,
    BeforeSend,
    BeforeSendDies,
    AfterAnswerDies,
    AfterAnswer,
    BeforeRelease,
    InDoubt,
    BeforeVoid,
    BeforeVoidDies,
    AfterVoidDies,
    AfterSettle,
}

const PLACES: [Place; 12] = [
    Place::BeforeClaim,
    Place::AfterClaimDies,
    Place::BeforeSend,
    Place::BeforeSendDies,
    Place::AfterAnswerDies,
    Place::AfterAnswer,
    Place::BeforeRelease,
    Place::InDoubt,
    Place::BeforeVoid,
    Place::BeforeVoidDies,
    Place::AfterVoidDies,
    Place::AfterSettle,
];

#[tokio::test]
async fn cancelled_at_any_place_an_order_is_never_charged_and_kept() -> Result<()> {
    use Place::{
        AfterAnswer, AfterAnswerDies, AfterClaimDies, AfterSettle, AfterVoidDies, BeforeClaim, BeforeRelease,
        BeforeSend, BeforeSendDies, BeforeVoid, BeforeVoidDies, InDoubt,
    };
    let mut bench = Bench::with(|settings| {
        settings.circuit_breaker_failure_threshold = 100_000;
        settings.payment_retry_attempts = 1;
    })
    .await?;
    let minute = Duration::from_secs(60);
    // Whether the money had moved although nobody was told.
    for faults in [json!({"error_after_rate": 1.0}), json!({"error_rate": 1.0})] {
        for place in PLACES {
            bench.client.no_faults().await?;
            let order = bench.accept(1).await?.remove(0);
            match place {
                BeforeClaim => bench.cancel(&order).await?,
                AfterClaimDies | BeforeSendDies => {
                    bench.claim(&order, OVER).await?;
                    bench.cancel(&order).await?;
                }
                BeforeSend => {
                    let claim = bench.claim(&order, minute).await?;
                    bench.cancel(&order).await?;
                    assert_eq!(bench.till.charge(claim, Instant::now()).await, Settled::Moved);
                }
                AfterAnswerDies => {
                    let claim = bench.claim(&order, OVER).await?;
                    bench.till.gateway.ask(&claim).await.unwrap();
                    bench.cancel(&order).await?;
                }
                AfterAnswer => {
                    let claim = bench.claim(&order, minute).await?;
                    let answer = bench.till.gateway.ask(&claim).await.unwrap();
                    bench.cancel(&order).await?;
                    let heard = settlement(&claim, answer, false, bench.till.policy);
                    assert_eq!(bench.till.settle.submit(Settle::Commit(heard)).await, Ok(Settled::Moved));
                }
                BeforeRelease => {
                    let claim = bench.claim(&order, minute).await?;
                    bench.cancel(&order).await?;
                    let long_ago = Instant::now() - bench.settings.lease;
                    assert_eq!(bench.till.charge(claim, long_ago).await, Settled::Released);
                }
                InDoubt | BeforeVoid | BeforeVoidDies | AfterVoidDies => {
                    bench.faults(faults.clone()).await?;
                    let claim = bench.claim(&order, minute).await?;
                    assert_eq!(bench.till.charge(claim, Instant::now()).await, Settled::Moved);
                    bench.client.no_faults().await?;
                    if place == InDoubt {
                        bench.cancel(&order).await?;
                    } else {
                        // The budget of one is spent: what is claimed now is to be voided.
                        bench.hurry().await?;
                        let lease = if place == BeforeVoid { minute } else { OVER };
                        let claim = bench.claim(&order, lease).await?;
                        if place == AfterVoidDies {
                            bench.till.gateway.ask(&claim).await.unwrap();
                        }
                        bench.cancel(&order).await?;
                        if place == BeforeVoid {
                            assert_eq!(bench.till.charge(claim, Instant::now()).await, Settled::Moved);
                        }
                    }
                }
                AfterSettle => {
                    bench.hurry().await?;
                    bench.sweep().await?;
                    bench.cancel(&order).await?;
                }
            }
            bench.finish_all().await?;
            assert_eq!(bench.status(&order).await?, "CANCELLED", "{place:?} {faults}");
            bench.reconciles().await.with_context(|| format!("{place:?} {faults}"))?;
        }
    }
    let ledger = bench.ledger().await?;
    assert_eq!(ledger.charges.len(), ledger.refunds.len(), "net 0");
    assert!(!ledger.voided.is_empty() && !ledger.refunds.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_wish_is_granted_by_a_void_where_the_charge_was_never_answered() -> Result<()> {
    let mut bench = Bench::with(|settings| settings.circuit_breaker_failure_threshold = 100).await?;
    bench.faults(json!({"error_rate": 1.0})).await?;
    let order = bench.accept(1).await?.remove(0);
    bench.sweep().await?;
    bench.cancel(&order).await?;
    assert_eq!(bench.status(&order).await?, "PAYMENT_PROCESSING", "a wish");
    bench.client.no_faults().await?;
    assert_eq!(bench.sweep().await?, 1, "at once, not when the retry was due");
    assert_eq!(bench.status(&order).await?, "CANCELLED");
    assert_eq!(bench.tries(&order).await?, tries(&[("charge", "in_doubt"), ("void", "voided")]));
    assert!(bench.refund_reasons().await?.is_empty());
    bench.reconciles().await
}

/// The gateway turns everything away; once the breaker is open nobody asks it at all. Neither a cancellation nor the end of an
/// order's time waits for it.
#[tokio::test]
async fn what_was_never_sent_ends_while_the_gateway_is_away() -> Result<()> {
    let mut bench =
        Bench::with(|settings| settings.circuit_breaker_recovery = Duration::from_millis(500)).await?;
    bench.faults(json!({"down": true})).await?;
    let orders = bench.accept(20).await?;
    bench.sweep().await?;
    bench.hurry().await?;
    assert!(!crate::is_closed(&bench.till.breaker));
    let (cancelled, kept) = orders.split_at(10);
    for order in cancelled {
        bench.cancel(order).await?;
        assert_eq!(bench.status(order).await?, "CANCELLED", "at once");
    }
    let (late, kept) = kept.split_at(5);
    let mut conn = bench.database.connect().await?;
    sqlx::query("UPDATE open_charges SET expires_at = now() WHERE id = ANY($1)")
        .bind(crate::ids(late))
        .execute(&mut conn)
        .await?;
    let mut chores = Chores::new(bench.database.database().session(), &bench.settings);
    assert!(chores.watch_clock().await?);
    chores.end_old().await?;
    for order in late {
        assert_eq!(bench.status(order).await?, "PAYMENT_FAILED");
    }
    for order in kept {
        assert_eq!(bench.status(order).await?, "PAYMENT_PROCESSING", "an outage fails nothing");
    }
    bench.client.no_faults().await?;
    testbed::until("the breaker is closed again and all is charged", async || {
        bench.hurry().await?;
        bench.sweep().await?;
        Ok((bench.ledger().await?.charges.len() == kept.len()).then_some(()))
    })
    .await?;
    bench.finish_all().await?;
    let charged: Vec<String> = bench.ledger().await?.charges.into_iter().map(|charge| charge.key).collect();
    assert!(kept.iter().all(|order| charged.contains(&order.id.to_string())), "and nobody else: {charged:?}");
    assert_eq!(bench.status(&kept[0]).await?, "CONFIRMED");
    bench.reconciles().await
}

#[tokio::test]
async fn a_refund_that_the_gateway_refuses_stays_and_is_asked_for_again() -> Result<()> {
    let mut bench = Bench::new().await?;
    let order = bench.accept(1).await?.remove(0);
    bench.sweep().await?;
    bench.cancel(&order).await?;
    let refund: Uuid = sqlx::query_scalar("SELECT id FROM payments WHERE kind = 'refund'")
        .fetch_one(&mut bench.database.connect().await?)
        .await?;
    // Somebody gave a part of it back by hand: there is not so much left.
    let answer = bench
        .client
        .http
        .post(format!("{}/v1/refunds", bench.client.gateway))
        .header("idempotency-key", "by-hand")
        .json(&json!({"charge_key": order.payment_id(), "reference": order.id, "amount": 1.00, "currency": "USD"}))
        .send()
        .await?;
    assert_eq!(answer.status(), 201);
    for _ in 0..3 {
        bench.hurry().await?;
        assert_eq!(bench.sweep().await?, 1);
        let (status, waits): (String, bool) =
            sqlx::query_as("SELECT status::text, due_at > now() FROM payments WHERE id = $1")
                .bind(refund)
                .fetch_one(&mut bench.database.connect().await?)
                .await?;
        assert_eq!((status.as_str(), waits), ("waiting", true));
    }
    let ledger = bench.ledger().await?;
    assert_eq!(ledger.refunds.len(), 1, "never more than was charged");
    Ok(())
}

#[tokio::test]
async fn refunds_through_a_gateway_with_every_fault_give_everything_back_once() -> Result<()> {
    let mut bench = Bench::with(|settings| settings.circuit_breaker_failure_threshold = 100_000).await?;
    let orders = bench.accept(60).await?;
    bench.sweep().await?;
    for (place, order) in orders.iter().enumerate() {
        let wanted = if place % 2 == 0 { Wanted::Cancel } else { Wanted::Reject };
        assert!(matches!(bench.move_on(order, wanted).await?, Moved::Done { .. }));
    }
    bench.faults(json!({"error_rate": 0.2, "error_after_rate": 0.2, "malformed_rate": 0.1})).await?;
    bench.finish_all().await?;
    let ledger = bench.ledger().await?;
    assert_eq!((ledger.charges.len(), ledger.refunds.len()), (60, 60));
    bench.reconciles().await
}

#[tokio::test]
async fn an_order_that_nobody_answers_is_rejected_and_given_back() -> Result<()> {
    let mut bench = Bench::with(|settings| settings.accept_deadline = Duration::from_millis(50)).await?;
    let orders = bench.accept(3).await?;
    bench.sweep().await?;
    assert!(matches!(
        bench.move_on(&orders[0], Wanted::Accept).await?,
        Moved::Done { .. } | Moved::Refused { .. }
    ));
    let mut chores = Chores::new(bench.database.database().session(), &bench.settings);
    testbed::until("the deadline has passed", async || {
        chores.reject_late().await?;
        Ok((bench.status(&orders[1]).await? == "REJECTED" && bench.status(&orders[2]).await? == "REJECTED")
            .then_some(()))
    })
    .await?;
    bench.finish_all().await?;
    assert!(bench.refund_reasons().await?.iter().all(|reason| reason == "accept_deadline"));
    bench.reconciles().await
}

/// The database's clock goes an hour further than anybody watched, past the kitchen's deadline and the payments'.
#[tokio::test]
async fn by_a_clock_that_nobody_watched_nothing_ends() -> Result<()> {
    let mut bench = Bench::with(|settings| settings.payment_deadline = Duration::from_secs(600)).await?;
    let paid = bench.accept(2).await?;
    bench.sweep().await?;
    let open = bench.accept(1).await?;
    let mut chores = Chores::new(bench.database.database().session(), &bench.settings);
    assert!(chores.watch_clock().await?);
    let mut conn = bench.database.connect().await?;
    sqlx::raw_sql(
        "UPDATE clock_trust SET until = until - interval '1 h';
         UPDATE payments SET answer_by = answer_by - interval '1 h' WHERE answer_by IS NOT NULL;
         UPDATE open_charges SET expires_at = created_at - interval '50 min'",
    )
    .execute(&mut conn)
    .await?;
    assert!(!chores.watch_clock().await?);
    assert_eq!(chores.reject_late().await?, 0);
    chores.end_old().await?;
    assert_eq!(bench.status(&open[0]).await?, "PENDING", "nothing is called off");
    assert_eq!(bench.status(&paid[0]).await?, "CONFIRMED");

    store::clock::trust(&mut conn, Duration::ZERO).await?;
    assert!(chores.watch_clock().await?);
    assert_eq!(chores.reject_late().await?, 2);
    chores.end_old().await?;
    assert_eq!(bench.status(&open[0]).await?, "PAYMENT_FAILED");
    bench.finish_all().await?;
    bench.reconciles().await
}
