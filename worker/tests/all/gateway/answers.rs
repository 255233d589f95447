//! What each answer of the gateway, or its absence, is taken to mean.

use std::time::Duration;

use anyhow::Result;
use domain::payment::AttemptAction;
use serde_json::json;
use store::claim::{Claimed, claim};
use tokio::net::TcpListener;
use worker::gateway::{Answer, Asked, Gateway};

use crate::Bench;

async fn claimed(bench: &Bench) -> Result<Claimed> {
    let order = bench.accept(1).await?.remove(0);
    let claimed =
        claim(&mut bench.database.connect().await?, &[order.payment_id()], Duration::from_secs(60)).await?;
    Ok(claimed[0].clone())
}

fn code(asked: &Asked) -> (&'static str, &str) {
    match asked {
        Ok(Answer::Done { .. }) => ("done", ""),
        Ok(Answer::Voided) => ("voided", ""),
        Ok(Answer::Declined(reason)) => ("declined", &reason.code),
        Ok(Answer::Pending { reason, .. }) => ("pending", &reason.code),
        Ok(Answer::Refused(reason)) => ("refused", &reason.code),
        Ok(Answer::TooMany { reason, .. }) => ("too many", &reason.code),
        Err(Answer::Misconfigured { reason, .. }) => ("misconfigured", &reason.code),
        Ok(Answer::InDoubt(reason)) => ("in doubt, gateway well", &reason.code),
        Ok(Answer::Unavailable { reason, .. }) => ("unavailable, gateway well", &reason.code),
        Err(Answer::InDoubt(reason)) => ("in doubt, outage", &reason.code),
        Err(Answer::Unavailable { reason, .. }) => ("unavailable, outage", &reason.code),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn every_fault_is_understood() -> Result<()> {
    let bench = Bench::new().await?;
    let gateway = Gateway::new(&bench.settings.gateway_url, Duration::from_millis(300))?;
    let cases = [
        (json!({}), "done", None),
        (json!({"error_rate": 1.0}), "in doubt, outage", None),
        (json!({"error_after_rate": 1.0}), "in doubt, outage", None),
        (json!({"malformed_rate": 1.0}), "in doubt, outage", Some("malformed_reply")),
        (json!({"timeout_before_rate": 1.0}), "in doubt, outage", Some("timeout")),
        (json!({"timeout_after_rate": 1.0}), "in doubt, outage", Some("timeout")),
        (json!({"too_many_rate": 1.0}), "too many", None),
        (json!({"limit_per_second": 1}), "done", None),
        (json!({"pending_rate": 1.0, "timeout_ms": 1}), "pending", Some("pending")),
        (json!({"foreign_receipt_rate": 1.0}), "in doubt, outage", Some("foreign_receipt")),
        (json!({"huge_rate": 1.0}), "in doubt, outage", Some("malformed_reply")),
        (json!({"misconfigured_rate": 1.0}), "misconfigured", Some("unauthorized")),
        (json!({"misconfigured_rate": 1.0, "misconfigured_status": 301}), "misconfigured", Some("moved")),
        (json!({"misconfigured_rate": 1.0, "misconfigured_status": 400}), "refused", Some("version_unknown")),
        (json!({"down": true}), "unavailable, outage", None),
    ];
    for (faults, expected, expected_code) in cases {
        bench.client.no_faults().await?;
        bench.faults(faults.clone()).await?;
        let asked = gateway.ask(&claimed(&bench).await?).await;
        assert_eq!(code(&asked).0, expected, "{faults}: {asked:?}");
        if let Some(expected) = expected_code {
            assert_eq!(code(&asked).1, expected, "{faults}");
        }
    }
    bench.client.no_faults().await?;
    bench.faults(crate::refusing()).await?;
    let declined = gateway.ask(&claimed(&bench).await?).await;
    assert_eq!(code(&declined).0, "declined", "{declined:?}");
    Ok(())
}

#[tokio::test]
async fn a_charge_that_only_seemed_to_fail_is_found_by_its_key_and_a_void_key_is_never_charged() -> Result<()>
{
    let bench = Bench::new().await?;
    let gateway = Gateway::new(&bench.settings.gateway_url, Duration::from_millis(300))?;
    let charge = claimed(&bench).await?;
    bench.faults(json!({"timeout_after_rate": 1.0})).await?;
    assert_eq!(code(&gateway.ask(&charge).await), ("in doubt, outage", "timeout"));
    bench.client.no_faults().await?;
    assert_eq!(code(&gateway.ask(&charge).await).0, "done", "the same key finds the same charge");
    let void = Claimed { action: AttemptAction::Void, ..charge.clone() };
    assert_eq!(code(&gateway.ask(&void).await).0, "done", "too late to void");
    assert_eq!(bench.ledger().await?.charges.len(), 1);

    let other = claimed(&bench).await?;
    assert_eq!(
        code(&gateway.ask(&Claimed { action: AttemptAction::Void, ..other.clone() }).await).0,
        "voided"
    );
    assert_eq!(code(&gateway.ask(&other).await).0, "voided");
    assert_eq!(bench.ledger().await?.charges.len(), 1);
    Ok(())
}

#[tokio::test]
async fn nobody_there_means_that_nothing_was_sent() -> Result<()> {
    let bench = Bench::new().await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    drop(listener);
    let gateway = Gateway::new(&url, Duration::from_secs(5))?;
    let asked = gateway.ask(&claimed(&bench).await?).await;
    assert_eq!(code(&asked), ("unavailable, outage", "unreachable"));
    Ok(())
}

#[test]
fn a_wrong_gateway_url_is_told_in_one_line() {
    for wrong in ["", "gateway", "http://", "127.0.0.1:9090"] {
        let error = Gateway::new(wrong, Duration::from_secs(1)).unwrap_err().to_string();
        assert!(error.starts_with("GATEWAY_URL="), "{error}");
    }
}

#[tokio::test]
async fn what_a_gateway_says_is_stored_whatever_it_says() -> Result<()> {
    let mut bench = Bench::with_gateway(axum::Router::new().route(
        "/v1/charges",
        axum::routing::post(async || {
            let body = format!(r#"{{"code":"no\u0000","message":"{}\u0000\u0007"}}"#, "x".repeat(50_000));
            (axum::http::StatusCode::PAYMENT_REQUIRED, body)
        }),
    ))
    .await?;
    let order = bench.accept(1).await?.remove(0);
    assert_eq!(bench.sweep().await?, 1);
    assert_eq!(bench.status(&order).await?, "PAYMENT_FAILED");
    let (code, length): (String, i32) = sqlx::query_as("SELECT code, length(message) FROM payment_attempts")
        .fetch_one(&mut bench.database.connect().await?)
        .await?;
    assert_eq!((code.as_str(), length), ("no", 1_000));
    Ok(())
}
