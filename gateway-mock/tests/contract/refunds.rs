//! Refunding: once a key, never more than was taken.

use domain::gateway::CurrencyTotal;
use domain::money::{Currency, Money};
use gateway_mock::Faults;
use gateway_mock::wire::{RefundReceipt, RefundRequest};
use reqwest::StatusCode;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::running::{Asker, PRICE, Running, Said};

const CHARGE: Uuid = Uuid::from_u128(7);

async fn refund(ask: &Asker, key: &str, minor: i64) -> Said {
    refund_of(ask, key, CHARGE, Money::from_minor(minor, Currency::USD)).await
}

async fn refund_of(ask: &Asker, key: &str, charge: Uuid, money: Money) -> Said {
    let body = RefundRequest::new(charge, Uuid::nil(), money);
    ask.send(ask.request(reqwest::Method::POST, "/v1/refunds").header("Idempotency-Key", key).json(&body))
        .await
}

async fn charged() -> Running {
    let gateway = Running::calm().await;
    gateway.ask.charge(&CHARGE.to_string()).await.is_charged();
    gateway
}

#[tokio::test]
async fn a_charge_is_refunded_in_parts_until_nothing_is_left() {
    let gateway = charged().await;
    let said = refund(&gateway.ask, "one", 1_000).await;
    assert_eq!(said.status, StatusCode::CREATED, "{said:?}");
    let receipt: RefundReceipt = said.read();
    assert_eq!((receipt.key.as_str(), receipt.charge_key), ("one", CHARGE.to_string()));
    assert_eq!(receipt.amount.get(), "10.00");
    refund(&gateway.ask, "too much", 2_098).await.is_problem(422, "refund_exceeds_charge");
    // The refusal did not use the key up.
    assert_eq!(
        refund_of(&gateway.ask, "too much", CHARGE, Money::from_minor(2_097, Currency::USD)).await.status,
        422
    );
    assert_eq!(refund(&gateway.ask, "rest", 2_097).await.status, StatusCode::CREATED);
    refund(&gateway.ask, "a cent", 1).await.is_problem(422, "refund_exceeds_charge");
    let summary = gateway.ask.summary().await;
    let total = CurrencyTotal { currency: "USD".into(), charged_minor: 3_097, refunded_minor: 3_097 };
    assert_eq!((summary.refunds, summary.totals), (2, vec![total]));
}

#[tokio::test]
async fn a_replay_refunds_once_and_another_body_nothing() {
    let gateway = charged().await;
    let first = refund(&gateway.ask, "one", 1_000).await;
    assert_eq!(refund(&gateway.ask, "one", 1_000).await, first);
    refund(&gateway.ask, "one", 1_001).await.is_problem(422, "key_reused");
    let ledger = gateway.ask.ledger().await;
    assert_eq!((ledger.refunds.len(), ledger.requests.refunds), (1, 3));
}

#[tokio::test]
async fn what_cannot_be_refunded_is_refused() {
    let gateway = charged().await;
    refund_of(&gateway.ask, "one", Uuid::nil(), PRICE).await.is_problem(404, "not_found");
    let euros = Money::from_minor(1, Currency::EUR);
    refund_of(&gateway.ask, "two", CHARGE, euros).await.is_problem(422, "currency_mismatch");
    let request = gateway.ask.request(reqwest::Method::POST, "/v1/refunds").body("{}");
    gateway.ask.send(request).await.is_problem(400, "key_missing");
    assert!(gateway.ask.ledger().await.refunds.is_empty());
}

#[tokio::test]
async fn refunds_at_once_do_not_overdraw_the_charge() {
    let gateway = charged().await;
    gateway.ask.set(serde_json::json!({ "latency_max_ms": 2 })).await;
    let mut all = JoinSet::new();
    for number in 0..20 {
        let ask = gateway.ask.clone();
        all.spawn(async move { refund(&ask, &format!("r{number}"), 1_000).await.status });
    }
    let done = all.join_all().await.into_iter().filter(|status| *status == StatusCode::CREATED).count();
    assert_eq!((done, gateway.ask.summary().await.refunds), (3, 3));
}

#[tokio::test]
async fn faults_strike_refunds_too() {
    let gateway = charged().await;
    gateway.ask.set(serde_json::json!({ "error_rate": 1.0 })).await;
    refund(&gateway.ask, "one", 1_000).await.is_problem(500, "internal_error");
    assert_eq!(gateway.ask.summary().await.refunds, 0);
    gateway.ask.set(serde_json::json!({ "error_rate": 0.0, "error_after_rate": 1.0 })).await;
    refund(&gateway.ask, "one", 1_000).await.is_problem(500, "internal_error");
    assert_eq!(gateway.ask.summary().await.refunds, 1);
    gateway.ask.set(serde_json::to_value(Faults::none()).unwrap()).await;
    assert_eq!(refund(&gateway.ask, "one", 1_000).await.status, StatusCode::CREATED);
    assert_eq!(gateway.ask.summary().await.refunds, 1);
}
