//! A program that waits for its database says so, from its first moment on.

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use testbed::{Client, TestDatabase, TestQueue, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::program::{Program, client};

/// A server that takes connections and says nothing on them, until [`Silent::speak`].
struct Silent {
    listener: TcpListener,
    behind: String,
    url: String,
}

impl Silent {
    /// In front of the server that `url` names.
    async fn before(url: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (before, name) = url.rsplit_once('/').context("a database's URL")?;
        let (scheme, behind) = before
            .rsplit_once('@')
            .map_or_else(
                || before.split_once("://").map(|(scheme, behind)| (format!("{scheme}://"), behind)),
                |(user, behind)| Some((format!("{user}@"), behind)),
            )
            .context("a server's URL")?;
        let url = format!("{scheme}{}/{name}", listener.local_addr()?);
        Ok(Self { listener, behind: behind.to_owned(), url })
    }

    /// From now on the server answers, those who came before, too.
    fn speak(self) {
        #[expect(clippy::disallowed_methods, reason = "ends with the test")]
        tokio::spawn(async move {
            while let Ok((mut from, _)) = self.listener.accept().await {
                let behind = self.behind.clone();
                tokio::spawn(async move {
                    if let Ok(mut to) = TcpStream::connect(behind).await {
                        let _ = copy_bidirectional(&mut from, &mut to).await;
                    }
                });
            }
        });
    }
}

/// Asks on a connection that stays; returns the whole answer.
async fn ask(stream: &mut TcpStream, path: &str) -> Result<String> {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await?;
    let mut answer = vec![0; 16 * 1024];
    let length = stream.read(&mut answer).await?;
    ensure!(length > 0, "the connection was closed");
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}

#[tokio::test]
async fn until_the_database_is_there_503_and_then_the_answer_on_the_same_connection() -> Result<()> {
    let queue = TestQueue::new()?;
    let dir = tempfile::tempdir()?;
    let data_dir = dir.path().to_string_lossy().into_owned();
    for name in ["api", "standalone"] {
        let database = TestDatabase::new().await?;
        let server = Silent::before(database.url()).await?;
        let mut program = Program::start(
            name,
            &[
                ("API_ADDR", "127.0.0.1:0"),
                ("GATEWAY_MOCK_ADDR", "127.0.0.1:0"),
                ("COMANDA_DATA_DIR", &data_dir),
                ("DATABASE_URL", &server.url),
                ("AMQP_URL", &queue.config().amqp_url),
                ("AMQP_QUEUE", &queue.config().amqp_queue),
            ],
        )?;
        let api = program.says("listening at ").await?.trim_end_matches(',').to_owned();
        let mut stream = TcpStream::connect(api.trim_start_matches("http://")).await?;
        assert!(ask(&mut stream, "/health").await?.starts_with("HTTP/1.1 200 "));
        assert!(ask(&mut stream, "/ping").await?.ends_with("pong"));
        for path in ["/api/v1/orders", "/ready", "/docs"] {
            let told = ask(&mut stream, path).await?;
            assert!(told.starts_with("HTTP/1.1 503 "), "{name} {path}: {told}");
            for part in
                ["retry-after: 1", "application/problem+json", "x-request-id: ", "the service is starting"]
            {
                assert!(told.contains(part), "{name} {path}: no {part} in {told}");
            }
        }
        server.speak();
        until("it is ready", async || {
            Ok(ask(&mut stream, "/ready").await?.starts_with("HTTP/1.1 200 ").then_some(()))
        })
        .await?;
        drop(stream);
        let client = client(&api, "")?;
        client.order(&Client::an_order()).await?;
        program.stop().await?;
    }
    queue.delete().await
}

#[tokio::test]
async fn a_program_that_is_told_to_stop_while_it_waits_does() -> Result<()> {
    let database = TestDatabase::new().await?;
    let server = Silent::before(database.url()).await?;
    let mut program = Program::start(
        "api",
        &[("API_ADDR", "127.0.0.1:0"), ("DATABASE_URL", &server.url), ("AMQP_URL", "amqp://127.0.0.1:1")],
    )?;
    program.says("listening at ").await?;
    program.signal(Signal::SIGTERM)?;
    program.ended().await?;
    Ok(())
}
