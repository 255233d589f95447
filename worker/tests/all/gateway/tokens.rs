//! What the gateway knows us by reaches it, and nobody else.

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use domain::money::{Currency, Money};
use domain::payment::AttemptAction;
use gateway_mock::{Faults, GatewayMockConfig};
use runtime::tasks::Stop;
use store::claim::Claimed;
use tokio::net::TcpListener;
use uuid::Uuid;
use worker::config::WorkerSettings;
use worker::gateway::{Answer, Gateway};

use crate::Defaults;

fn settings() -> WorkerSettings {
    Defaults::parse_from(["test"]).worker
}

fn charge() -> Claimed {
    let id = Uuid::now_v7();
    Claimed {
        payment_id: id,
        order_id: id,
        refund_of: None,
        amount: Money::from_minor(3_097, Currency::USD),
        epoch: 1,
        number: 1,
        action: AttemptAction::Charge,
        spent: 0,
        queued: true,
        origin: None,
        names: None,
    }
}

/// A gateway that takes nobody without this token.
async fn gateway(token: &str) -> Result<(String, Stop)> {
    let (listener, stop) = (TcpListener::bind("127.0.0.1:0").await?, Stop::new());
    let url = format!("http://{}", listener.local_addr()?);
    let config = GatewayMockConfig {
        faults: Faults::none(),
        gateway_mock_token: Some(token.into()),
        ..GatewayMockConfig::default()
    };
    #[expect(clippy::disallowed_methods, reason = "lives as long as the test")]
    tokio::spawn(gateway_mock::run(config, listener, stop.clone()));
    Ok((url, stop))
}

/// A file of this test's own.
fn file(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("{name}-{}", Uuid::now_v7()))
}

#[tokio::test]
async fn a_token_opens_the_gateway_and_a_new_one_in_its_file_takes_no_restart() -> Result<()> {
    let (url, stop) = gateway("good").await?;
    let named = WorkerSettings { gateway_url: url.clone(), gateway_token: Some("good".into()), ..settings() };
    assert!(matches!(Gateway::of(&named)?.ask(&charge()).await, Ok(Answer::Done { .. })));

    let file = file("token");
    std::fs::write(&file, "old\n")?;
    let gateway = Gateway::of(&WorkerSettings {
        gateway_url: url,
        gateway_token_file: Some(file.clone()),
        ..settings()
    })?;
    for _ in 0..2 {
        let asked = gateway.ask(&charge()).await;
        assert!(matches!(asked, Err(Answer::Misconfigured { stops_charges: true, .. })), "{asked:?}");
    }
    std::fs::write(&file, "good\n")?;
    // The one that is refused has it read again; so does every probe of the breaker.
    assert!(gateway.ask(&charge()).await.is_err());
    assert!(matches!(gateway.ask(&charge()).await, Ok(Answer::Done { .. })));
    // A file that goes away takes nothing with it.
    std::fs::remove_file(&file)?;
    assert!(matches!(gateway.ask(&charge()).await, Ok(Answer::Done { .. })));
    stop.stop();
    Ok(())
}

#[test]
fn a_token_is_shown_nowhere_and_a_wrong_one_is_told_in_one_line() -> Result<()> {
    let with = |token: &str| WorkerSettings { gateway_token: Some(token.into()), ..settings() };
    let settings = with("sesame");
    let shown = format!("{settings:?} {:?}", Gateway::of(&settings)?);
    assert!(!shown.contains("sesame"), "{shown}");
    for wrong in ["", "two words", "n\u{e4}h", "line\nbreak"] {
        let error = format!("{:#}", Gateway::of(&with(wrong)).unwrap_err());
        assert!(error.starts_with("GATEWAY_TOKEN: the token") && !error.contains('\n'), "{error}");
        assert!(wrong.is_empty() || !error.contains(wrong), "{error}");
    }
    let missing = WorkerSettings { gateway_token_file: Some("/no/such".into()), ..with("x") };
    let missing = WorkerSettings { gateway_token: None, ..missing };
    let error = format!("{:#}", Gateway::of(&missing).unwrap_err());
    assert!(error.starts_with("GATEWAY_TOKEN_FILE=/no/such: "), "{error}");
    Ok(())
}
