//! Each fault does what it says to the answer, and only that to the money.

use gateway_mock::{Faults, GatewayMockConfig};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::running::{Asker, Running, read_to_end};

const KEY: &str = "key";

/// Charges taken so far, and those after all faults are gone and the key is asked for again.
async fn charges_before_and_after_a_retry(ask: &Asker) -> (u64, u64) {
    let before = ask.summary().await.charges;
    ask.calm_down().await;
    ask.charge(KEY).await.is_charged();
    (before, ask.summary().await.charges)
}

#[tokio::test]
async fn too_many_turns_away_before_anything() {
    let gateway = Running::with(Faults { too_many_rate: 1.0, ..Faults::none() }).await;
    let response =
        gateway.ask.charge_request(KEY, uuid::Uuid::nil(), crate::running::PRICE).send().await.unwrap();
    assert_eq!(response.headers()["retry-after"], "1");
    gateway.ask.charge(KEY).await.is_problem(429, "too_many_requests");
    assert_eq!(charges_before_and_after_a_retry(&gateway.ask).await, (0, 1));
}

#[tokio::test]
async fn an_error_before_charges_nothing() {
    let gateway = Running::with(Faults { error_rate: 1.0, ..Faults::none() }).await;
    gateway.ask.charge(KEY).await.is_problem(500, "internal_error");
    gateway.ask.look_up(KEY).await.is_problem(404, "not_found");
    assert_eq!(charges_before_and_after_a_retry(&gateway.ask).await, (0, 1));
}

#[tokio::test]
async fn an_error_after_has_charged() {
    let gateway = Running::with(Faults { error_after_rate: 1.0, ..Faults::none() }).await;
    gateway.ask.charge(KEY).await.is_problem(500, "internal_error");
    assert_eq!(gateway.ask.look_up(KEY).await.status, StatusCode::OK);
    assert_eq!(charges_before_and_after_a_retry(&gateway.ask).await, (1, 1));
}

#[tokio::test]
async fn a_malformed_answer_has_charged() {
    let gateway = Running::with(Faults { malformed_rate: 1.0, ..Faults::none() }).await;
    let said = gateway.ask.charge(KEY).await;
    assert_eq!(said.status, StatusCode::CREATED);
    assert!(serde_json::from_str::<Value>(&said.body).is_err(), "{said:?}");
    assert_eq!(charges_before_and_after_a_retry(&gateway.ask).await, (1, 1));
}

#[tokio::test]
async fn a_merchant_who_is_set_up_wrongly_is_refused_whatever_it_asks_for() {
    let gateway = Running::with(Faults { misconfigured_rate: 1.0, ..Faults::none() }).await;
    for (status, code) in [(401, "unauthorized"), (403, "forbidden"), (404, "not_found"), (301, "moved")] {
        gateway.ask.set(json!({ "misconfigured_status": status })).await;
        gateway.ask.charge(KEY).await.is_problem(status, code);
        gateway.ask.look_up(KEY).await.is_problem(status, code);
        gateway.ask.void(KEY).await.is_problem(status, code);
    }
    assert_eq!(charges_before_and_after_a_retry(&gateway.ask).await, (0, 1));
}

#[tokio::test]
async fn a_foreign_receipt_is_of_a_charge_that_was_made() {
    let gateway = Running::with(Faults { foreign_receipt_rate: 1.0, ..Faults::none() }).await;
    let receipt = gateway.ask.charge(KEY).await.is_charged();
    assert_eq!((receipt.key.as_str(), receipt.amount.get()), (KEY, "130.97"));
    assert_eq!(gateway.ask.ledger().await.charges[0].amount.get(), "30.97");
    assert_eq!(charges_before_and_after_a_retry(&gateway.ask).await, (1, 1));
}

#[tokio::test]
async fn a_huge_answer_is_a_receipt_all_the_same() {
    let gateway = Running::with(Faults { huge_rate: 1.0, ..Faults::none() }).await;
    let said = gateway.ask.charge(KEY).await;
    assert!(said.body.len() > 1 << 20);
    assert_eq!(said.is_charged().key, KEY);
    assert_eq!(charges_before_and_after_a_retry(&gateway.ask).await, (1, 1));
}

#[tokio::test]
async fn what_is_pending_lands_after_its_answer() {
    let gateway = Running::with(Faults { pending_rate: 1.0, timeout_ms: 500, ..Faults::none() }).await;
    gateway.ask.charge(KEY).await.is_problem(202, "pending");
    assert_eq!(gateway.ask.summary().await.charges, 0);
    gateway.ask.calm_down().await;
    gateway.ask.charge(KEY).await.is_problem(409, "in_progress");
    gateway.ask.until("it lands", |summary| summary.charges == 1).await;
    gateway.ask.charge(KEY).await.is_charged();
}

#[tokio::test]
async fn beyond_so_many_a_second_requests_are_turned_away() {
    let gateway = Running::calm().await;
    gateway.ask.set(json!({ "limit_per_second": 2, "retry_after_seconds": 0 })).await;
    let mut statuses = Vec::new();
    for key in 0..10 {
        statuses.push(gateway.ask.charge(&format!("key {key}")).await.status.as_u16());
    }
    let charged = statuses.iter().filter(|status| **status == 201).count();
    assert!(charged >= 2 && statuses.contains(&429), "{statuses:?}");
    assert_eq!(gateway.ask.summary().await.charges, charged as u64);
    let request = gateway.ask.charge_request("last", uuid::Uuid::nil(), crate::running::PRICE);
    gateway.ask.set(json!({ "too_many_rate": 1.0, "limit_per_second": 0 })).await;
    assert!(!request.send().await.unwrap().headers().contains_key("retry-after"));
}

#[tokio::test]
async fn a_merchant_without_the_token_is_unknown() {
    let gateway = Running::to(GatewayMockConfig {
        faults: Faults::none(),
        gateway_mock_token: Some("open sesame".into()),
        ..GatewayMockConfig::default()
    })
    .await;
    gateway.ask.charge(KEY).await.is_problem(401, "unauthorized");
    gateway.ask.void(KEY).await.is_problem(401, "unauthorized");
    let request = || gateway.ask.charge_request(KEY, uuid::Uuid::nil(), crate::running::PRICE);
    for wrong in ["Bearer open", "open sesame", "Basic open sesame", "Bearer "] {
        let said = gateway.ask.send(request().header("Authorization", wrong)).await;
        said.is_problem(401, "unauthorized");
    }
    assert_eq!(gateway.ask.ledger().await.requests.charges, 0, "the books are open to whoever judges");
    gateway.ask.send(request().bearer_auth("open sesame")).await.is_charged();
}

#[tokio::test]
async fn a_timeout_is_held_and_then_closed_without_a_byte() {
    for (fault, charged) in [("timeout_before_rate", 0), ("timeout_after_rate", 1)] {
        let gateway = Running::calm().await;
        gateway.ask.set(json!({ fault: 1.0, "timeout_ms": 50 })).await;
        assert_eq!(read_to_end(gateway.ask.half_charge("held").await).await, "", "{fault}");
        assert!(
            gateway
                .ask
                .try_send(gateway.ask.charge_request(KEY, uuid::Uuid::nil(), crate::running::PRICE))
                .await
                .is_err()
        );
        assert_eq!(gateway.ask.look_up("held").await.status, if charged == 1 { 200 } else { 404 });
        assert_eq!(
            charges_before_and_after_a_retry(&gateway.ask).await,
            (2 * charged, charged + 1),
            "{fault}"
        );
    }
}

#[tokio::test]
async fn a_stop_does_not_wait_for_requests_that_get_no_answer() {
    let gateway =
        Running::with(Faults { timeout_before_rate: 1.0, timeout_ms: 600_000, ..Faults::none() }).await;
    let held = gateway.ask.half_charge(KEY).await;
    gateway.ask.until("the charge arrives", |summary| summary.requests.charges == 1).await;
    gateway.stop();
    assert_eq!(read_to_end(held).await, "");
    gateway.ended().await;
}

#[tokio::test]
async fn a_late_charge_lands_after_its_client_has_gone() {
    let gateway = Running::with(Faults { late_rate: 1.0, timeout_ms: 2_000, ..Faults::none() }).await;
    let client = gateway.ask.half_charge(KEY).await;
    gateway.ask.until("the charge arrives", |summary| summary.requests.charges == 1).await;
    assert_eq!(gateway.ask.summary().await.charges, 0);
    drop(client);
    gateway.ask.until("the charge lands", |summary| summary.charges == 1).await;
}

#[tokio::test]
async fn control_errors_strike_voids_and_look_ups_and_change_nothing() {
    let gateway = Running::with(Faults { control_error_rate: 1.0, ..Faults::none() }).await;
    gateway.ask.void(KEY).await.is_problem(500, "internal_error");
    gateway.ask.look_up(KEY).await.is_problem(500, "internal_error");
    assert_eq!(charges_before_and_after_a_retry(&gateway.ask).await, (0, 1));
    // At one half a retry gets through.
    gateway.ask.set(json!({ "control_error_rate": 0.5 })).await;
    let mut statuses = Vec::new();
    for _ in 0..64 {
        statuses.push(gateway.ask.look_up(KEY).await.status.as_u16());
    }
    assert!(statuses.contains(&200) && statuses.contains(&500), "{statuses:?}");
}

#[tokio::test]
async fn down_answers_only_what_is_about_the_gateway_itself() {
    let gateway = Running::with(Faults { down: true, ..Faults::none() }).await;
    gateway.ask.charge(KEY).await.is_problem(503, "unavailable");
    gateway.ask.look_up(KEY).await.is_problem(503, "unavailable");
    gateway.ask.void(KEY).await.is_problem(503, "unavailable");
    gateway.ask.send(gateway.ask.request(Method::POST, "/v1/refunds")).await.is_problem(503, "unavailable");
    for path in ["/health", "/v1/faults", "/v1/ledger", "/v1/ledger/summary"] {
        assert_eq!(gateway.ask.send(gateway.ask.request(Method::GET, path)).await.status, 200, "{path}");
    }
    let requests = gateway.ask.summary().await.requests;
    assert_eq!((requests.charges, requests.voids, requests.refunds), (1, 1, 1));
    assert_eq!(charges_before_and_after_a_retry(&gateway.ask).await, (0, 1));
}

#[tokio::test]
async fn faults_are_set_all_or_none_and_shown() {
    let gateway = Running::calm().await;
    let show =
        || async { gateway.ask.send(gateway.ask.request(Method::GET, "/v1/faults")).await.read::<Value>() };
    let before = show().await;
    assert!(before["seed"].is_u64());
    let put =
        |body: &str| gateway.ask.send(gateway.ask.request(Method::PUT, "/v1/faults").body(body.to_owned()));
    put(r#"{"late_rate":0.5,"eror_rate":1}"#).await.is_problem(422, "faults_invalid");
    put(r#"{"late_rate":2}"#).await.is_problem(422, "faults_invalid");
    put("[]").await.is_problem(422, "faults_invalid");
    put("{").await.is_problem(400, "body_invalid");
    assert_eq!(show().await, before);
    let said = put(r#"{"late_rate":0.5}"#).await;
    let mut expected = before;
    expected["late_rate"] = json!(0.5);
    assert_eq!((said.read::<Value>(), show().await), (expected.clone(), expected));
}

/// What `KEYS` keys hear in three tries each, key by key.
async fn run_of(seed: u64, one_by_one: bool) -> Vec<Vec<Option<u16>>> {
    const KEYS: usize = 60;
    let faults = Faults {
        success_rate: 0.7,
        error_rate: 0.2,
        error_after_rate: 0.2,
        too_many_rate: 0.2,
        timeout_before_rate: 0.2,
        timeout_ms: 1,
        seed: Some(seed),
        ..Faults::none()
    };
    let gateway = Running::with(faults).await;
    let mut heard: Vec<(usize, Vec<Option<u16>>)> = Vec::new();
    let mut all = JoinSet::new();
    // Backwards when at once: the order of arrival shall not matter.
    let keys: Vec<usize> = if one_by_one { (0..KEYS).collect() } else { (0..KEYS).rev().collect() };
    for key in keys {
        let ask = gateway.ask.clone();
        all.spawn(async move {
            let mut statuses = Vec::new();
            for _ in 0..3 {
                let request =
                    ask.charge_request(&format!("key {key}"), uuid::Uuid::nil(), crate::running::PRICE);
                statuses.push(ask.try_send(request).await.ok().map(|said| said.status.as_u16()));
            }
            (key, statuses)
        });
        if one_by_one {
            heard.push(all.join_next().await.unwrap().unwrap());
        }
    }
    heard.extend(all.join_all().await);
    heard.sort();
    heard.into_iter().map(|(_, statuses)| statuses).collect()
}

#[tokio::test]
async fn a_seed_repeats_a_run_whatever_the_order() {
    let run = run_of(1, true).await;
    assert_eq!(run, run_of(1, false).await);
    assert_ne!(run, run_of(2, true).await);
    for status in [None, Some(201), Some(402), Some(429), Some(500)] {
        assert!(run.iter().flatten().any(|heard| *heard == status), "{status:?} never came");
    }
}
