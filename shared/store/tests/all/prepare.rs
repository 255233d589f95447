//! A program that starts while its database comes and goes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use sqlx::Connection;
use store::Database;
use testbed::TestDatabase;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Long enough for a few tries, which come every quarter of a second.
const PATIENCE: Duration = Duration::from_secs(10);
/// The first statement of a program that starts: the connection itself is well until then.
const FIRST_STATEMENT: &[u8] = b"current_setting";

/// A way to the database that breaks off the first so many connections at their first statement, as a server does that
/// goes away just after it came. Says how many came.
async fn breaking(url: &str, breaks: usize) -> Result<(String, Arc<AtomicUsize>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let (_, addr) = url.split_once('@').context("the database's URL names no user")?;
    let addr = addr.split('/').next().unwrap_or_default().to_owned();
    let server: SocketAddr = addr.replace("localhost", "127.0.0.1").parse().with_context(|| addr.clone())?;
    let through = url.replacen(&addr, &listener.local_addr()?.to_string(), 1);
    let came = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&came);
    #[expect(clippy::disallowed_methods, reason = "lives as long as the test")]
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let breaks = counter.fetch_add(1, Ordering::SeqCst) < breaks;
            #[expect(clippy::disallowed_methods, reason = "lives as long as the test")]
            tokio::spawn(pass(client, server, breaks));
        }
    });
    Ok((through, came))
}

/// Passes on what comes, either way, until an end is reached; or until the first statement, if that breaks it off.
async fn pass(client: TcpStream, server: SocketAddr, breaks: bool) -> std::io::Result<()> {
    let server = TcpStream::connect(server).await?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let mut bytes = vec![0; 64 * 1024];
    let forth = async {
        loop {
            let count = from_client.read(&mut bytes).await?;
            let has = |needle: &[u8]| bytes[..count].windows(needle.len()).any(|part| part == needle);
            if count == 0 || (breaks && has(FIRST_STATEMENT)) {
                return Ok(());
            }
            to_server.write_all(&bytes[..count]).await?;
        }
    };
    tokio::select! {
        done = forth => done,
        done = tokio::io::copy(&mut from_server, &mut to_client) => done.map(drop),
    }
}

#[tokio::test]
async fn a_database_that_goes_away_just_after_it_came_is_waited_for() -> Result<()> {
    let database = TestDatabase::new().await?;
    let (url, came) = breaking(database.url(), 2).await?;
    Database::new(&url, "test")?.prepare(PATIENCE).await?;
    assert_eq!(
        came.load(Ordering::SeqCst),
        5,
        "two tries were broken off, then came the start and its second and third session"
    );
    Ok(())
}

#[tokio::test]
async fn its_patience_ends() -> Result<()> {
    let database = TestDatabase::new().await?;
    let (url, came) = breaking(database.url(), usize::MAX).await?;
    let patience = Duration::from_millis(600);
    let started = Instant::now();
    let error = Database::new(&url, "test")?.prepare(patience).await.unwrap_err();
    assert!(started.elapsed() >= patience && started.elapsed() < PATIENCE, "{:?}", started.elapsed());
    assert!(came.load(Ordering::SeqCst) >= 2, "{error:#}");
    Ok(())
}

/// A fault of ours stays one, however long it is tried: whoever starts the program should hear of it at once.
#[tokio::test]
async fn a_schema_that_cannot_be_applied_is_told_at_once() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    sqlx::query("UPDATE _sqlx_migrations SET checksum = '\\x00' WHERE version = 1")
        .execute(&mut conn)
        .await?;
    conn.close().await?;
    let started = Instant::now();
    let error = database.database().prepare(PATIENCE).await.unwrap_err();
    assert!(format!("{error:#}").contains("Begin anew"), "{error:#}");
    assert!(started.elapsed() < PATIENCE / 2, "{:?}", started.elapsed());
    Ok(())
}
