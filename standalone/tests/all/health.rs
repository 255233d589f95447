//! `--health`: what a container's health check asks is answered whatever clients do, and how many files may be open decides how
//! many of them there are.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testbed::{TestDatabase, TestQueue};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::program::Program;

/// Of so many files that may be open, 64 are left for clients (`runtime/src/files.rs`).
const FILES: &str = "ulimit -n 320";
const PLACES: usize = 64;
/// Nobody listens there.
const NOWHERE: &str = "127.0.0.1:1";

/// Whether the program called `name` finds its running self well, by these settings.
async fn is_well(name: &'static str, settings: &[(&str, &str)]) -> Result<bool> {
    let needed = [("DATABASE_URL", "postgres://127.0.0.1:1/x"), ("AMQP_URL", "amqp://127.0.0.1:1")];
    Ok(Program::asked(name, &["--health"], &[&needed[..], settings].concat())?.ended().await?.success())
}

/// Longer than any answer takes, also where the machine is busy; and long enough to see that there is none.
const PATIENT: Duration = Duration::from_secs(20);
const A_MOMENT: Duration = Duration::from_millis(300);

/// Asks on a connection that stays, and says whether there was an answer in time.
async fn takes_a_place(addr: &str, patience: Duration) -> Result<(TcpStream, bool)> {
    let mut stream = TcpStream::connect(addr).await?;
    stream.write_all(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n").await?;
    let answered = tokio::time::timeout(patience, stream.read(&mut [0; 1_024])).await;
    Ok((stream, answered.is_ok()))
}

#[tokio::test]
async fn a_health_check_is_answered_while_clients_have_every_place() -> Result<()> {
    let (database, queue) = (TestDatabase::new().await?, TestQueue::new()?);
    for (internal, dir) in [(false, tempfile::tempdir()?), (true, tempfile::tempdir()?)] {
        for name in ["api", "standalone"] {
            let data_dir = dir.path().to_string_lossy().into_owned();
            let mut settings = [
                ("API_ADDR", "127.0.0.1:0"),
                ("GATEWAY_MOCK_ADDR", "127.0.0.1:0"),
                ("COMANDA_DATA_DIR", &data_dir),
                ("DATABASE_URL", database.url()),
                ("AMQP_URL", &queue.config().amqp_url),
                ("AMQP_QUEUE", &queue.config().amqp_queue),
            ]
            .to_vec();
            settings.extend(internal.then_some(("INTERNAL_ADDR", "127.0.0.1:0")));
            let mut program = Program::limited(name, FILES, &settings)?;
            let api = program.says("listening at http://").await?.trim_end_matches(',').to_owned();
            let metrics = program.says("metrics at http://").await?.replace("/metrics", "");
            let mut held = Vec::new();
            while held.len() < PLACES {
                let (stream, answered) = takes_a_place(&api, PATIENT).await?;
                ensure!(answered, "{name} has {} places", held.len());
                held.push(stream);
            }
            assert!(!takes_a_place(&api, A_MOMENT).await?.1, "every place is taken");
            let off = ("METRICS_ADDR", "off");
            let (setting, own) = if internal {
                let own = program.says("internal endpoints at http://").await?;
                ("INTERNAL_ADDR", own.replace("/internal", ""))
            } else {
                ("METRICS_ADDR", metrics.clone())
            };
            // What is set last counts.
            let asked = [("API_ADDR", NOWHERE), off, (setting, own.as_str())];
            testbed::until("it says that it lives", async || Ok(is_well(name, &asked).await?.then_some(())))
                .await?;
            assert!(!is_well(name, &[("API_ADDR", &api), off]).await?, "{name} has nowhere else to be asked");
            drop(held);
            testbed::until("there is a place", async || {
                Ok(is_well(name, &[("API_ADDR", &api), off]).await?.then_some(()))
            })
            .await?;
            program.stop().await?;
            assert!(!is_well(name, &[("METRICS_ADDR", &metrics)]).await?, "{name} has ended");
        }
    }
    queue.delete().await
}

#[tokio::test]
async fn a_program_raises_how_many_files_may_be_open_as_far_as_it_may() -> Result<()> {
    let settings = [
        ("API_ADDR", "127.0.0.1:0"),
        ("DATABASE_URL", "postgres://127.0.0.1:1/x"),
        ("AMQP_URL", "amqp://127.0.0.1:1"),
    ];
    let mut program = Program::limited("api", "ulimit -Sn 300 && ulimit -Hn 900", &settings)?;
    program.says("listening at http://").await?;
    let limits = program.limits()?;
    let files =
        limits.lines().find(|line| line.starts_with("Max open files")).context("files are limited")?;
    let numbers: Vec<&str> = files.split_whitespace().filter(|word| word.parse::<u64>().is_ok()).collect();
    assert_eq!(numbers, ["900", "900"]);
    Ok(())
}
