//! Claim, charge, settle, sweep: one step at a time.

use std::time::Duration;

use anyhow::Result;
use domain::payment::AttemptOutcome;
use serde_json::json;
use store::claim::claim;
use store::settle::{Next, Settlement};
use worker::consume::Step;
use worker::gateway::breaker::Admission;
use worker::settle::{Settle, Settled};

use crate::{Bench, ids, is_closed, refusing, tries};

#[tokio::test]
async fn a_message_is_claimed_charged_settled_and_its_repetition_finds_nothing_to_do() -> Result<()> {
    let mut bench = Bench::new().await?;
    let orders = bench.accept(3).await?;
    bench.publish(&orders).await?;
    assert_eq!(bench.consume().await?, Step::Taken { named: 3, claimed: 3 });
    for order in &orders {
        assert_eq!(bench.status(order).await?, "CONFIRMED");
        assert_eq!(bench.tries(order).await?, tries(&[("charge", "succeeded")]));
    }
    bench.publish(&orders).await?;
    bench.publish(&orders).await?;
    assert_eq!(bench.consume().await?, Step::Taken { named: 6, claimed: 0 });
    let ledger = bench.ledger().await?;
    assert_eq!((ledger.charges.len(), ledger.requests.charges), (3, 3));
    assert!(ledger.charges.iter().all(|charge| charge.amount.get() == "30.97"));
    Ok(())
}

#[tokio::test]
async fn a_decline_ends_it_after_one_try_and_the_breaker_does_not_count_it() -> Result<()> {
    let mut bench = Bench::with(|settings| settings.circuit_breaker_failure_threshold = 1).await?;
    bench.faults(refusing()).await?;
    let orders = bench.accept(5).await?;
    assert_eq!(bench.sweep().await?, 5);
    for order in &orders {
        assert_eq!(bench.status(order).await?, "PAYMENT_FAILED");
        assert_eq!(bench.tries(order).await?, tries(&[("charge", "declined")]));
    }
    assert!(is_closed(&bench.till.breaker));
    Ok(())
}

#[tokio::test]
async fn doubt_is_tried_again_under_the_same_key_and_then_voided() -> Result<()> {
    let mut bench = Bench::with(|settings| settings.circuit_breaker_failure_threshold = 100).await?;
    bench.faults(json!({"error_rate": 1.0})).await?;
    let order = bench.accept(1).await?.remove(0);
    for _ in 0..4 {
        bench.hurry().await?;
        assert_eq!(bench.sweep().await?, 1);
    }
    assert_eq!(bench.sweep().await?, 0, "it is final");
    let doubt = ("charge", "in_doubt");
    assert_eq!(bench.tries(&order).await?, tries(&[doubt, doubt, doubt, ("void", "voided")]));
    assert_eq!(bench.status(&order).await?, "PAYMENT_FAILED");
    let ledger = bench.ledger().await?;
    assert_eq!((ledger.charges.len(), ledger.requests.charges, ledger.requests.voids), (0, 3, 1));
    assert_eq!(ledger.voided, [order.payment_id().to_string()]);
    Ok(())
}

#[tokio::test]
async fn a_charge_whose_every_answer_was_lost_is_found_by_the_void_and_confirmed() -> Result<()> {
    let mut bench = Bench::with(|settings| settings.circuit_breaker_failure_threshold = 100).await?;
    bench.faults(json!({"error_after_rate": 1.0})).await?;
    let order = bench.accept(1).await?.remove(0);
    // The first try charges; should the gateway answer a later one honestly, it is confirmed earlier.
    while bench.status(&order).await? != "CONFIRMED" {
        bench.hurry().await?;
        assert_eq!(bench.sweep().await?, 1);
    }
    assert_eq!(bench.ledger().await?.charges.len(), 1);
    Ok(())
}

#[tokio::test]
async fn an_outage_spends_no_budget_and_fails_no_order() -> Result<()> {
    let mut bench = Bench::with(|settings| settings.circuit_breaker_failure_threshold = 1_000).await?;
    bench.faults(json!({"down": true})).await?;
    let order = bench.accept(1).await?.remove(0);
    for _ in 0..10 {
        bench.hurry().await?;
        assert_eq!(bench.sweep().await?, 1);
    }
    assert_eq!(bench.tries(&order).await?, tries(&[("charge", "unavailable"); 10]));
    bench.client.no_faults().await?;
    bench.hurry().await?;
    bench.sweep().await?;
    assert_eq!(bench.status(&order).await?, "CONFIRMED");
    Ok(())
}

#[tokio::test]
async fn an_open_breaker_takes_no_work_and_burns_no_try() -> Result<()> {
    let mut bench = Bench::with(|settings| {
        settings.circuit_breaker_failure_threshold = 3;
        settings.circuit_breaker_recovery = Duration::from_secs(3_600);
    })
    .await?;
    bench.faults(json!({"down": true})).await?;
    bench.accept(3).await?;
    assert_eq!(bench.sweep().await?, 3);
    assert_eq!(bench.till.breaker.admits(), Admission::None);
    let asked = bench.ledger().await?.requests.charges;

    // One that was claimed before the breaker opened is given back: that was no try.
    let orders = bench.accept(2).await?;
    let mut conn = bench.database.connect().await?;
    let claimed = claim(&mut conn, &[orders[0].payment_id()], bench.settings.lease).await?.remove(0);
    assert_eq!(bench.till.charge(claimed, std::time::Instant::now()).await, Settled::Released);
    assert_eq!(bench.tries(&orders[0]).await?, tries(&[]));

    bench.hurry().await?;
    assert_eq!(bench.sweep().await?, 0, "the sweep takes no work");
    bench.publish(&orders).await?;
    assert_eq!(bench.consume().await?, Step::Pause, "nor does the consumer");
    assert_eq!(bench.ledger().await?.requests.charges, asked, "nothing was sent");
    Ok(())
}

#[tokio::test]
async fn one_probe_that_succeeds_lets_the_work_go_on() -> Result<()> {
    let mut bench = Bench::with(|settings| {
        settings.circuit_breaker_failure_threshold = 3;
        settings.circuit_breaker_recovery = Duration::from_millis(1);
    })
    .await?;
    bench.faults(json!({"down": true})).await?;
    let orders = bench.accept(20).await?;
    bench.sweep().await?;
    bench.client.no_faults().await?;
    testbed::until("a probe is let through", async || {
        Ok((bench.till.breaker.admits() == Admission::One).then_some(()))
    })
    .await?;
    bench.hurry().await?;
    assert_eq!(bench.sweep().await?, 1, "one probe");
    assert!(is_closed(&bench.till.breaker));
    assert_eq!(bench.sweep().await?, 19);
    for order in &orders {
        assert_eq!(bench.status(order).await?, "CONFIRMED");
    }
    assert_eq!(bench.ledger().await?.charges.len(), 20);
    Ok(())
}

#[tokio::test]
async fn a_claim_whose_lease_is_nearly_over_is_given_back_unsent() -> Result<()> {
    let bench = Bench::new().await?;
    let order = bench.accept(1).await?.remove(0);
    let mut conn = bench.database.connect().await?;
    let claimed = claim(&mut conn, &ids(std::slice::from_ref(&order)), bench.settings.lease).await?.remove(0);
    let long_ago = std::time::Instant::now() - bench.settings.lease;
    assert_eq!(bench.till.charge(claimed, long_ago).await, Settled::Released);
    assert_eq!(bench.tries(&order).await?, tries(&[]));
    assert_eq!(bench.ledger().await?.requests.charges, 0);
    Ok(())
}

#[tokio::test]
async fn a_worker_that_lost_its_lease_settles_nothing_and_charges_nobody_twice() -> Result<()> {
    let mut bench = Bench::new().await?;
    let order = bench.accept(1).await?.remove(0);
    let mut conn = bench.database.connect().await?;
    let slow = claim(&mut conn, &[order.payment_id()], Duration::from_nanos(1)).await?.remove(0);
    assert_eq!(bench.sweep().await?, 1, "another took over");
    assert_eq!(bench.till.charge(slow, std::time::Instant::now()).await, Settled::Superseded);
    assert_eq!(bench.status(&order).await?, "CONFIRMED");
    let ledger = bench.ledger().await?;
    assert_eq!((ledger.charges.len(), ledger.requests.charges), (1, 2));
    Ok(())
}

#[tokio::test]
async fn of_two_tries_of_one_payment_in_a_batch_one_moves_it() -> Result<()> {
    let bench = Bench::new().await?;
    let order = bench.accept(1).await?.remove(0);
    let mut conn = bench.database.connect().await?;
    let mut settlements = Vec::new();
    for _ in 0..2 {
        let claimed = claim(&mut conn, &[order.payment_id()], Duration::from_nanos(1)).await?.remove(0);
        let settlement = Settlement::new(&claimed, AttemptOutcome::Declined, Next::Failed);
        settlements.push(Settle::Commit(settlement));
    }
    let [first, second] = settlements.try_into().expect("two");
    let desk = &bench.till.settle;
    // Handed in before the writer has its turn: one batch.
    let answers = tokio::join!(desk.submit(second), desk.submit(first));
    assert_eq!(answers, (Ok(Settled::Moved), Ok(Settled::Superseded)));
    Ok(())
}

#[tokio::test]
async fn a_refund_takes_the_same_road() -> Result<()> {
    let mut bench = Bench::new().await?;
    let order = bench.accept(1).await?.remove(0);
    bench.sweep().await?;
    sqlx::query(
        "INSERT INTO payments (id, order_id, refund_of, amount_minor, created_at, due_at, kind, status, currency)
         SELECT gen_random_uuid(), order_id, id, amount_minor, now(), now(), 'refund', 'pending', currency FROM payments",
    )
    .execute(&mut bench.database.connect().await?)
    .await?;
    assert_eq!(bench.sweep().await?, 1);
    let ledger = bench.ledger().await?;
    assert_eq!(ledger.refunds.len(), 1);
    assert_eq!(ledger.refunds[0].charge_key, order.payment_id().to_string());
    assert_eq!(bench.status(&order).await?, "CONFIRMED", "a refund by itself moves no order");
    Ok(())
}

#[tokio::test]
async fn a_payment_that_cannot_be_claimed_does_not_hold_up_its_neighbours() -> Result<()> {
    let mut bench = Bench::new().await?;
    let orders = bench.accept(5).await?;
    // A try that was left open, and whose row is there: it cannot be written again.
    let sick = &orders[0];
    sqlx::query(
        "WITH open AS (
             UPDATE open_charges SET epoch = 1, attempts = 1, trying = 'charge', began_at = now(), claimed_at = now(),
                 lease_until = now(), due_at = now() WHERE id = $1)
         INSERT INTO payment_attempts (payment_id, started_at, number, epoch, action) VALUES ($1, now(), 1, 1, 'charge')",
    )
    .bind(sick.payment_id())
    .execute(&mut bench.database.connect().await?)
    .await?;
    bench.publish(&orders[..3]).await?;
    assert_eq!(bench.consume().await?, Step::Taken { named: 3, claimed: 2 });
    sqlx::query("UPDATE open_charges SET due_at = now() WHERE id = $1")
        .bind(sick.payment_id())
        .execute(&mut bench.database.connect().await?)
        .await?;
    assert_eq!(bench.sweep().await?, 2);
    assert_eq!(bench.sweep().await?, 0, "it is put off");
    for order in &orders[1..] {
        assert_eq!(bench.status(order).await?, "CONFIRMED");
    }
    assert_eq!(bench.status(sick).await?, "PAYMENT_PROCESSING");
    Ok(())
}
