//! The program itself: its journal after a kill -9, and how it says what is wrong at its start.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use domain::money::{Currency, Money};
use gateway_mock::wire::{ChargeReceipt, RefundRequest};
use reqwest::{Method, StatusCode};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::running::{Asker, PATIENCE};

/// The program; killed when this is dropped.
struct Program {
    ask: Asker,
    child: Child,
    /// Kept open: a program whose output nobody reads would fail to log.
    _logs: BufReader<ChildStdout>,
}

fn command(addr: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gateway-mock"));
    command.env_clear().env("GATEWAY_MOCK_ADDR", addr).env("METRICS_ADDR", "off").kill_on_drop(true);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl Program {
    async fn start(journal: &Path) -> Self {
        let mut command = command("127.0.0.1:0");
        command.env("GATEWAY_MOCK_JOURNAL", journal).env("PAYMENT_MOCK_SUCCESS_RATE", "0.8");
        command.env("GATEWAY_MOCK_ACCESS_LOG", journal.with_extension("access"));
        command
            .env("PAYMENT_MOCK_LATENCY_MIN", "0")
            .env("PAYMENT_MOCK_LATENCY_MAX", "2")
            .env("PAYMENT_MOCK_SEED", "9");
        let mut child = command.spawn().unwrap();
        let mut logs = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        tokio::time::timeout(PATIENCE, logs.read_line(&mut line)).await.expect("never started").unwrap();
        let addr = line.split("addr=").nth(1).and_then(|rest| rest.split_whitespace().next());
        let addr = addr.unwrap_or_else(|| panic!("no address in {line}")).to_owned();
        Self { ask: Asker::new(addr), child, _logs: logs }
    }

    async fn kill(mut self) {
        // SIGKILL: nothing is flushed, nothing said.
        self.child.kill().await.unwrap();
    }
}

#[tokio::test]
async fn a_kill_loses_nothing_that_was_answered() {
    let dir = tempfile::tempdir().unwrap();
    let journal = dir.path().join("journal");
    let program = Program::start(&journal).await;
    let answers: Arc<Mutex<HashMap<String, (StatusCode, String)>>> = Arc::default();
    let mut clients = JoinSet::new();
    for client in 0..16 {
        let (ask, answers) = (program.ask.clone(), Arc::clone(&answers));
        clients.spawn(async move {
            for number in 0_u32.. {
                let key = format!("{client}-{number}");
                let money = Money::from_minor(500, Currency::USD);
                // Every third is voided instead.
                let request = if number % 3 == 0 {
                    ask.request(Method::POST, &format!("/v1/charges/by-key/{key}/void"))
                } else {
                    ask.charge_request(&key, Uuid::nil(), money)
                };
                let Ok(said) = ask.try_send(request).await else { return };
                answers.lock().unwrap().insert(key, (said.status, said.body));
            }
        });
    }
    program.ask.until("300 charges", |summary| summary.charges >= 300).await;
    program.kill().await;
    clients.join_all().await;

    let program = Program::start(&journal).await;
    let ledger = program.ask.ledger().await;
    let charged: HashMap<&str, &str> =
        ledger.charges.iter().map(|charge| (charge.key.as_str(), charge.id.as_str())).collect();
    assert_eq!(charged.len(), ledger.charges.len(), "charged twice");
    let voided: HashSet<&str> = ledger.voided.iter().map(String::as_str).collect();
    let declined: HashSet<&str> = ledger.declined.iter().map(|declined| declined.key.as_str()).collect();
    let answers = std::mem::take(&mut *answers.lock().unwrap());
    for (key, (status, body)) in &answers {
        match status.as_u16() {
            201 => assert_eq!(charged.get(key.as_str()).copied(), Some(id_of(body).as_str())),
            200 => assert!(voided.contains(key.as_str())),
            402 => assert!(declined.contains(key.as_str())),
            other => panic!("{other}: {body}"),
        }
    }
    assert!(!charged.is_empty() && !voided.is_empty() && !declined.is_empty());
    let access = std::fs::read_to_string(journal.with_extension("access")).unwrap();
    let asked: HashSet<(&str, &str)> =
        access.lines().filter_map(|line| line.split_once(' ')?.1.split_once(' ')).collect();
    for (key, (status, _)) in &answers {
        let what = if *status == StatusCode::OK { "void" } else { "charge" };
        assert!(asked.contains(&(what, key.as_str())), "{what} {key} is not in the access log");
    }
    // And it goes on as before: replays, refusals and all.
    for (key, (status, body)) in answers.iter().take(200) {
        let money = Money::from_minor(500, Currency::USD);
        let again = program.ask.send(program.ask.charge_request(key, Uuid::nil(), money)).await;
        match status.as_u16() {
            200 => again.is_problem(410, "voided"),
            _ => assert_eq!((&again.status, &again.body), (status, body)),
        }
        let dearer = Money::from_minor(501, Currency::USD);
        let other = program.ask.send(program.ask.charge_request(key, Uuid::nil(), dearer)).await;
        assert_eq!(other.status, if *status == StatusCode::OK { 410 } else { 422 });
    }
    assert_eq!(program.ask.summary().await.charges, ledger.charges.len() as u64);
}

fn id_of(body: &str) -> String {
    serde_json::from_str::<ChargeReceipt>(body).unwrap().id
}

#[tokio::test]
async fn refunds_are_remembered_too() {
    let dir = tempfile::tempdir().unwrap();
    let journal = dir.path().join("journal");
    let program = Program::start(&journal).await;
    program.ask.set(serde_json::json!({ "success_rate": 1.0 })).await;
    let charge = Uuid::from_u128(1);
    let money = |minor| Money::from_minor(minor, Currency::USD);
    program
        .ask
        .send(program.ask.charge_request(&charge.to_string(), Uuid::nil(), money(500)))
        .await
        .is_charged();
    let refund = |ask: &Asker, key: &str, minor| {
        let body = RefundRequest::new(charge, Uuid::nil(), money(minor));
        let request = ask.request(Method::POST, "/v1/refunds").header("Idempotency-Key", key).json(&body);
        let ask = ask.clone();
        async move { ask.send(request).await }
    };
    let first = refund(&program.ask, "one", 300).await;
    assert_eq!(first.status, StatusCode::CREATED);
    program.kill().await;

    let program = Program::start(&journal).await;
    assert_eq!(refund(&program.ask, "one", 300).await, first);
    refund(&program.ask, "two", 201).await.is_problem(422, "refund_exceeds_charge");
    assert_eq!(refund(&program.ask, "three", 200).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn what_stops_a_start_is_said_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let journal = dir.path().join("journal");
    let running = Program::start(&journal).await;
    let path = journal.display().to_string();
    for (addr, setting, value, says) in [
        (
            running.ask.addr.as_str(),
            "LOG_LEVEL",
            "info",
            "is taken by another program: stop it, or set GATEWAY_MOCK_ADDR",
        ),
        ("127.0.0.1:0", "PAYMENT_MOCK_SUCCESS_RATE", "95", "--payment-mock-success-rate"),
        (
            "127.0.0.1:0",
            "PAYMENT_MOCK_LATENCY_MIN",
            "500",
            "latency_min_ms: must not be above latency_max_ms (200)",
        ),
        ("127.0.0.1:0", "GATEWAY_MOCK_JOURNAL", path.as_str(), "is in use by another gateway"),
    ] {
        let output = command(addr).env(setting, value).env("RUST_BACKTRACE", "1").output();
        let output = tokio::time::timeout(PATIENCE, output).await.expect("it started").unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && stderr.contains(says), "{setting}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
}
