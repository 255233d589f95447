//! Each fault does what it says to the answer, and only that to the money.

use gateway_mock::Faults;
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
