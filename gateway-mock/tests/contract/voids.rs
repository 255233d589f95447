//! Voiding: after `voided` nothing is ever charged under that key, after a charge nothing is voided.

use std::collections::HashSet;

use gateway_mock::Faults;
use gateway_mock::wire::{ChargeReceipt, VoidReply};
use reqwest::StatusCode;
use tokio::task::JoinSet;

use crate::running::{Running, Said, read_to_end};

#[track_caller]
fn is_voided(said: &Said, key: &str) {
    let expected = format!(r#"{{"status":"voided","key":"{key}"}}"#);
    assert_eq!((said.status, &said.body), (StatusCode::OK, &expected));
}

#[tokio::test]
async fn an_unknown_key_is_void_for_ever() {
    let gateway = Running::calm().await;
    is_voided(&gateway.ask.void("never seen").await, "never seen");
    is_voided(&gateway.ask.void("never seen").await, "never seen");
    gateway.ask.charge("never seen").await.is_problem(410, "voided");
    gateway.ask.look_up("never seen").await.is_problem(410, "voided");
    let ledger = gateway.ask.ledger().await;
    assert_eq!((ledger.charges.len(), ledger.voided), (0, vec!["never seen".to_owned()]));
    assert_eq!(ledger.requests.voids, 2);
}

#[tokio::test]
async fn a_declined_key_can_be_voided() {
    let gateway = Running::with(Faults { success_rate: 0.0, ..Faults::none() }).await;
    assert_eq!(gateway.ask.charge("declined").await.status, StatusCode::PAYMENT_REQUIRED);
    is_voided(&gateway.ask.void("declined").await, "declined");
    gateway.ask.charge("declined").await.is_problem(410, "voided");
}

#[tokio::test]
async fn a_charged_key_cannot_be_voided() {
    let gateway = Running::calm().await;
    let receipt = gateway.ask.charge("charged").await.is_charged();
    let VoidReply::AlreadyCharged { charge } = gateway.ask.void("charged").await.read() else {
        panic!("voided a charge");
    };
    assert_eq!(charge.id, receipt.id);
    assert_eq!(gateway.ask.charge("charged").await.is_charged().id, receipt.id);
    assert!(gateway.ask.ledger().await.voided.is_empty());
}

#[tokio::test]
async fn a_void_wins_over_a_charge_that_is_still_under_way() {
    let gateway = Running::with(Faults { late_rate: 1.0, timeout_ms: 2_000, ..Faults::none() }).await;
    let charge = gateway.ask.half_charge("slow").await;
    gateway.ask.until("the charge arrives", |summary| summary.requests.charges == 1).await;
    is_voided(&gateway.ask.void("slow").await, "slow");
    let heard = read_to_end(charge).await;
    assert!(heard.starts_with("HTTP/1.1 410"), "{heard}");
    assert_eq!(gateway.ask.summary().await.charges, 0);
}

#[tokio::test]
async fn of_a_charge_and_a_void_at_once_exactly_one_wins() {
    const RACES: usize = 200;
    // Up to two milliseconds each, drawn for each: enough for either to come first.
    let faults = Faults { latency_max_ms: 2, seed: Some(1), ..Faults::none() };
    let gateway = Running::with(faults).await;
    let mut races = JoinSet::new();
    for race in 0..RACES {
        let ask = gateway.ask.clone();
        let key = format!("race-{race}");
        races.spawn(async move {
            let (charge, void) = tokio::join!(ask.charge(&key), ask.void(&key));
            (key, charge, void)
        });
    }
    let results = races.join_all().await;
    let ledger = gateway.ask.ledger().await;
    let charged: HashSet<&str> = ledger.charges.iter().map(|charge| charge.key.as_str()).collect();
    let voided: HashSet<&str> = ledger.voided.iter().map(String::as_str).collect();
    assert!(charged.is_disjoint(&voided));
    assert_eq!((charged.len() + voided.len(), ledger.charges.len()), (RACES, charged.len()));
    for (key, charge, void) in &results {
        match void.read() {
            VoidReply::Voided { .. } => {
                charge.is_problem(410, "voided");
                assert!(voided.contains(key.as_str()));
            }
            VoidReply::AlreadyCharged { charge: receipt } => {
                assert_eq!(charge.read::<ChargeReceipt>().id, receipt.id);
                assert!(charged.contains(key.as_str()));
            }
        }
    }
    assert!(!charged.is_empty() && !voided.is_empty(), "one side won every race: no race at all");
}
