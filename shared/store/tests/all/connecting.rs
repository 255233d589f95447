//! A connection that takes longer than a writer waits is not begun anew each time: it is there for whoever comes next.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use sqlx::PgConnection;
use store::Database;
use store::session::StoreError;
use testbed::TestDatabase;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;

async fn one(conn: &mut PgConnection) -> sqlx::Result<i32> {
    sqlx::query_scalar("SELECT 1").fetch_one(conn).await
}

#[tokio::test]
async fn a_connection_that_comes_late_is_the_next_ones() -> Result<()> {
    let database = TestDatabase::new().await?;
    let (_, place) = database.url().split_once('@').context("a user")?;
    let (server, _) = place.split_once('/').context("a name")?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let slow = database.url().replace(server, &listener.local_addr()?.to_string());
    let (begun, answers) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let mut relay = JoinSet::new();
    let (counted, told, server) = (begun.clone(), answers.clone(), server.to_owned());
    relay.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((mut client, _)) = listener.accept().await {
            let is_first = counted.fetch_add(1, Ordering::SeqCst) == 0;
            let (told, server) = (told.clone(), server.clone());
            connections.spawn(async move {
                if is_first {
                    told.notified().await;
                }
                let mut server = TcpStream::connect(server).await?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    let mut session = Database::new(&slow, "test")?.session();
    let early = session.run(&(), |conn, ()| Box::pin(one(conn))).await;
    assert!(matches!(early, Err(StoreError::Unavailable(_))), "{early:?}");
    answers.notify_one();
    assert_eq!(session.run(&(), |conn, ()| Box::pin(one(conn))).await?, 1);
    assert_eq!(begun.load(Ordering::SeqCst), 1);
    Ok(())
}
