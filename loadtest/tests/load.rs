//! The load generator against a whole pipeline, and against a service that misbehaves.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use loadtest::load::{OnFault, Pace, Plan, Tokens, read_accepted_log};
use loadtest::settled::post_to_confirmed;
use loadtest::{load, until_settled};
use reconcile::{accepted_missing, reconcile};
use runtime::tasks::Stop;
use testbed::{Options, Pipeline, TestDatabase, Via};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

fn plan(addr: SocketAddr, pace: Pace, count: u64) -> Plan {
    Plan {
        addr,
        connections: 8,
        tokens: Arc::default(),
        pace,
        count: Some(count),
        time: None,
        with_keys: false,
        on_fault: OnFault::Stop,
        accepted_log: None,
    }
}

#[tokio::test]
async fn every_order_is_kept_settled_and_reconciled() -> Result<()> {
    let database = TestDatabase::new().await?;
    let options = Options::new(Via::InProcess);
    let pipeline = Pipeline::start(&database, options).await?;
    let addr = pipeline.client.api.trim_start_matches("http://").parse()?;
    let log = std::env::temp_dir().join(format!("comanda-accepted-{}", uuid::Uuid::new_v4()));
    let tokens = Tokens::one(&testbed::people::manager()?);
    let plan = |pace, count| Plan { tokens: Arc::clone(&tokens), ..plan(addr, pace, count) };
    let closed = Plan { with_keys: true, accepted_log: Some(log.clone()), ..plan(Pace::Closed, 300) };
    let closed = load(&closed, &Stop::new()).await?;
    let open = load(&plan(Pace::Open { per_second: 1_000 }, 200), &Stop::new()).await?;
    assert!(open.elapsed >= Duration::from_millis(199), "{:?} is too fast for its rate", open.elapsed);
    until_settled(database.url(), Duration::from_secs(30), &Stop::new()).await?;

    let all: Vec<_> = closed.accepted.iter().chain(&open.accepted).copied().collect();
    assert_eq!(all.len(), 500);
    assert_eq!(accepted_missing(database.url(), all.iter().map(|one| one.id)).await?, []);
    assert_eq!(post_to_confirmed(database.url(), &all).await?.summary().count, 500);
    let mut logged = read_accepted_log(&log)?;
    std::fs::remove_file(&log)?;
    let mut held: Vec<_> = closed.accepted.iter().map(|one| one.id).collect();
    logged.sort();
    held.sort();
    assert_eq!(logged, held);
    let report = reconcile(database.url(), &pipeline.client.ledger().await?).await?;
    assert!(report.is_clean() && report.orders() == 500, "{report}");
    pipeline.stop().await
}

/// Answers each connection's requests with `answers`, one after the other, and hangs up.
async fn misbehave(answers: &'static [&'static str]) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?;
    let serve = async move {
        loop {
            let Ok((mut stream, _)) = listener.accept().await else { return };
            let mut request = [0; 4_096];
            for answer in answers {
                if stream.read(&mut request).await.unwrap_or(0) == 0
                    || stream.write_all(answer.as_bytes()).await.is_err()
                {
                    break;
                }
            }
        }
    };
    #[expect(clippy::disallowed_methods, reason = "ends with the test's runtime")]
    tokio::spawn(serve);
    Ok(addr)
}

const ACCEPTED: &str = "HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\nlocation: /api/v1/orders/0193a5c0-0000-7000-8000-000000000000\r\n\r\n{}";
const BUSY: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";

#[tokio::test]
async fn a_measurement_in_which_something_fails_is_none() -> Result<()> {
    for (answers, told) in [
        (&[BUSY][..], "answered 503"),
        (&["HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n"], "without the order's address"),
        (&["HTTP/1.1 202 Accepted\r\ncontent-length: 9\r\n\r\n"], "closed before the answer was whole"),
        (&["nonsense\r\n\r\n"], "no HTTP/1.1"),
    ] {
        let addr = misbehave(answers).await?;
        let error = load(&plan(addr, Pace::Closed, 1), &Stop::new()).await.unwrap_err();
        assert!(format!("{error:#}").contains(told), "{error:#}");
    }
    Ok(())
}

#[tokio::test]
async fn told_to_carry_on_it_repeats_an_order_with_a_key_until_it_is_accepted() -> Result<()> {
    let addr = misbehave(&[BUSY, "HTTP/1.1 cut", ACCEPTED, ACCEPTED]).await?;
    // Each connection is worth one 503 and one broken answer, after which it is opened anew.
    let carry_on = Plan { connections: 1, on_fault: OnFault::CarryOn, ..plan(addr, Pace::Closed, 1) };
    let given_up = load(&carry_on, &Stop::new()).await?;
    assert_eq!((given_up.accepted.len(), given_up.refused[&503], given_up.unanswered), (0, 1, 0));

    let addr = misbehave(&[BUSY, ACCEPTED]).await?;
    let repeated = load(&Plan { with_keys: true, addr, ..carry_on }, &Stop::new()).await?;
    assert_eq!((repeated.accepted.len(), repeated.refused[&503]), (1, 1));
    Ok(())
}

#[tokio::test]
async fn a_stop_ends_a_load_without_an_end() -> Result<()> {
    let addr = misbehave(&[ACCEPTED; 1_000]).await?;
    let endless = Plan { count: None, connections: 1, ..plan(addr, Pace::Open { per_second: 100 }, 0) };
    let stop = Stop::new();
    let (load, ()) = tokio::join!(load(&endless, &stop), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        stop.stop();
    });
    assert!(!load?.accepted.is_empty());
    Ok(())
}
