//! Charging: once a key, whatever the client does.

use domain::gateway::{AskedAgain, CurrencyTotal, DeclinedKey, Ledger};
use domain::money::{Currency, Money};
use gateway_mock::Faults;
use gateway_mock::wire::ChargeReceipt;
use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::running::{PATIENCE, PRICE, Running};

const KEY: &str = "0190b6a4-1c2d-7e3f-8a9b-0c1d2e3f4a5b";

#[tokio::test]
async fn a_charge_takes_the_money_and_is_on_the_ledger() {
    let gateway = Running::calm().await;
    let order = Uuid::now_v7();
    let said = gateway.ask.send(gateway.ask.charge_request(KEY, order, PRICE)).await;
    let receipt = said.is_charged();
    assert!(receipt.id.starts_with("ch_"));
    assert_eq!((receipt.key.as_str(), receipt.reference), (KEY, order.to_string()));
    assert_eq!((receipt.amount.get(), receipt.currency.as_str()), ("30.97", "USD"));
    let looked_up = gateway.ask.look_up(KEY).await;
    assert_eq!((looked_up.status, &looked_up.body), (StatusCode::OK, &said.body));

    let ledger = gateway.ask.ledger().await;
    assert_eq!(ledger.charges.len(), 1);
    assert_eq!(ledger.charges[0].id, receipt.id);
    assert_eq!((ledger.requests.charges, ledger.asked_again), (1, vec![]));
    let total = CurrencyTotal { currency: "USD".into(), charged_minor: 3_097, refunded_minor: 0 };
    assert_eq!(gateway.ask.summary().await.totals, [total]);
}

#[tokio::test]
async fn a_replay_gives_the_same_answer_and_another_body_none() {
    let gateway = Running::calm().await;
    let first = gateway.ask.charge(KEY).await;
    assert_eq!(gateway.ask.charge(KEY).await, first);
    // 30.970 is the same amount.
    let body = r#"{"reference":"00000000-0000-0000-0000-000000000000","amount":30.970,"currency":"USD"}"#;
    let again = gateway.ask.request(Method::POST, "/v1/charges").header("Idempotency-Key", KEY).body(body);
    assert_eq!(gateway.ask.send(again).await, first);

    let cheaper = Money::from_minor(3_096, Currency::USD);
    let euros = Money::from_minor(3_097, Currency::EUR);
    for (order, money) in [(Uuid::nil(), cheaper), (Uuid::nil(), euros), (Uuid::max(), PRICE)] {
        let said = gateway.ask.send(gateway.ask.charge_request(KEY, order, money)).await;
        said.is_problem(422, "key_reused");
    }
    let ledger = gateway.ask.ledger().await;
    assert_eq!((ledger.charges.len(), ledger.requests.charges), (1, 6));
    assert_eq!(ledger.asked_again, [AskedAgain { key: KEY.into(), requests: 6 }]);
}

#[tokio::test]
async fn a_decline_is_given_again_and_takes_nothing() {
    let gateway = Running::with(Faults { success_rate: 0.0, ..Faults::none() }).await;
    let first = gateway.ask.charge(KEY).await;
    assert_eq!(first.status, StatusCode::PAYMENT_REQUIRED);
    let code = first.read::<serde_json::Value>()["code"].as_str().unwrap().to_owned();
    // Not even when the bank would say yes by now.
    gateway.ask.calm_down().await;
    assert_eq!(gateway.ask.charge(KEY).await, first);
    assert_eq!(gateway.ask.look_up(KEY).await, first);
    let ledger = gateway.ask.ledger().await;
    assert!(ledger.charges.is_empty());
    assert_eq!(ledger.declined, [DeclinedKey { key: KEY.into(), code }]);
}

#[tokio::test]
async fn fifty_at_once_are_one_charge() {
    let gateway = Running::with(Faults { latency_min_ms: 20, latency_max_ms: 20, ..Faults::none() }).await;
    let mut all = JoinSet::new();
    for _ in 0..50 {
        let ask = gateway.ask.clone();
        all.spawn(async move { ask.charge(KEY).await });
    }
    let answers = all.join_all().await;
    let ids: Vec<String> = answers
        .iter()
        .filter(|said| said.status == StatusCode::CREATED)
        .map(|said| said.read::<ChargeReceipt>().id)
        .collect();
    assert!(ids.iter().all(|id| *id == ids[0]) && !ids.is_empty(), "{ids:?}");
    for said in answers.iter().filter(|said| said.status != StatusCode::CREATED) {
        said.is_problem(409, "in_progress");
    }
    let ledger = gateway.ask.ledger().await;
    assert_eq!((ledger.charges.len(), ledger.requests.charges), (1, 50));
}

#[tokio::test]
async fn a_client_that_hangs_up_leaves_no_charge_and_no_stuck_key() {
    let gateway =
        Running::with(Faults { latency_min_ms: 60_000, latency_max_ms: 60_000, ..Faults::none() }).await;
    // Of two at once one works, for a minute, and the other hears so at once; which is which is chance.
    let (mut one, mut two) = (gateway.ask.half_charge(KEY).await, gateway.ask.half_charge(KEY).await);
    let (mut head, mut other) = ([0_u8; 12], [0_u8; 12]);
    let working = tokio::select! {
        read = one.read_exact(&mut head) => { read.unwrap(); two }
        read = two.read_exact(&mut other) => { read.unwrap(); head = other; one }
    };
    assert_eq!(&head, b"HTTP/1.1 409");
    gateway.ask.set(json!({ "latency_min_ms": 0, "latency_max_ms": 0 })).await;
    gateway.ask.look_up(KEY).await.is_problem(409, "in_progress");
    drop(working);
    let freed = async { while gateway.ask.look_up(KEY).await.status == StatusCode::CONFLICT {} };
    tokio::time::timeout(PATIENCE, freed).await.expect("the key is stuck");
    gateway.ask.look_up(KEY).await.is_problem(404, "not_found");
    assert_eq!(gateway.ask.summary().await.charges, 0);
    gateway
        .ask
        .send(gateway.ask.charge_request(KEY, Uuid::nil(), Money::from_minor(500, Currency::USD)))
        .await
        .is_charged();
    assert_eq!(gateway.ask.summary().await.charges, 1);
}

#[tokio::test]
async fn what_is_no_charge_is_refused_and_says_why() {
    let gateway = Running::calm().await;
    let post = |key: Option<&str>, body: &str| {
        let request = gateway.ask.request(Method::POST, "/v1/charges").body(body.to_owned());
        match key {
            Some(key) => request.header("Idempotency-Key", key),
            None => request,
        }
    };
    let good = r#"{"reference":"r","amount":1.5,"currency":"USD"}"#;
    let long = "k".repeat(256);
    for (key, body, code) in [
        (None, good, "key_missing"),
        (Some(""), good, "key_invalid"),
        (Some(long.as_str()), good, "key_invalid"),
        (Some("k"), "", "body_invalid"),
        (Some("k"), "{", "body_invalid"),
        (Some("k"), r#"{"reference":"r","amount":1.5}"#, "body_invalid"),
        (Some("k"), r#"{"reference":"r","amount":"1.5","currency":"USD"}"#, "body_invalid"),
        (Some("k"), r#"{"reference":"r","amount":1.555,"currency":"USD"}"#, "body_invalid"),
        (Some("k"), r#"{"reference":"r","amount":-1,"currency":"USD"}"#, "body_invalid"),
        (Some("k"), r#"{"reference":"r","amount":1,"currency":"XYZ"}"#, "body_invalid"),
        (Some("k"), r#"{"reference":"","amount":1,"currency":"USD"}"#, "body_invalid"),
        (Some("k"), &format!("{{\"reference\":\"{}\"}}", "r".repeat(20_000)), "body_unreadable"),
    ] {
        gateway.ask.send(post(key, body)).await.is_problem(400, code);
    }
    gateway.ask.send(gateway.ask.request(Method::GET, "/v2/charges")).await.is_problem(404, "not_found");
    assert_eq!(gateway.ask.summary().await.charges, 0);
    // None of them used the key up.
    gateway.ask.send(post(Some("k"), good)).await.is_charged();
}

#[tokio::test]
async fn a_long_ledger_is_whole_and_in_order() {
    let gateway = Running::calm().await;
    // More than two pieces of the stream.
    for number in 0..1_100 {
        gateway.ask.charge(&format!("key {number}")).await.is_charged();
    }
    let ledger = gateway.ask.ledger().await;
    let keys: Vec<String> = ledger.charges.into_iter().map(|charge| charge.key).collect();
    assert_eq!(keys, (0..1_100).map(|number| format!("key {number}")).collect::<Vec<_>>());
    // A run looks only at what came in it.
    for (from, first) in [(0, Some("key 0")), (700, Some("key 700")), (1_100, None), (5_000, None)] {
        let path = format!("/v1/ledger?charges_from={from}");
        let rest: Ledger = gateway.ask.send(gateway.ask.request(Method::GET, &path)).await.read();
        assert_eq!(rest.charges.len(), 1_100_usize.saturating_sub(from));
        assert_eq!(rest.charges.first().map(|charge| charge.key.as_str()), first);
    }
    let wrong = gateway.ask.request(Method::GET, "/v1/ledger?charges_from=-1");
    gateway.ask.send(wrong).await.is_problem(422, "query_invalid");
}
