//! People who watch an order: whenever their stream ends, or they hang up themselves, they come again with the last event that they saw.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, ensure};
use reqwest::Response;
use sqlx::PgConnection;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use crate::client::Client;
use crate::fleet::{Fleet, http};

/// One order in so many is watched, if there is room.
const ONE_IN: u64 = 10;
/// So many at once.
const AT_ONCE: usize = 48;
/// Whoever watches hangs up after this, and comes again.
const HANGS_UP_AFTER: Duration = Duration::from_millis(700);
/// Between a stream's end and the next one.
const AGAIN_AFTER: Duration = Duration::from_millis(50);
/// Longest wait for an answer, and for what is left of a stream when all is quiet.
const WITHIN: Duration = Duration::from_secs(5);

/// All of them.
#[derive(Debug)]
pub struct Streams {
    room: Semaphore,
    watched: Mutex<Vec<Arc<Mutex<Watched>>>>,
}

/// An order that somebody watched.
#[derive(Debug, Clone)]
pub struct Watched {
    /// It.
    pub order: Uuid,
    /// What they saw, in its order.
    pub versions: Vec<i32>,
    /// Streams that it took.
    pub streams: u32,
}

impl Default for Streams {
    fn default() -> Self {
        Self { room: Semaphore::new(AT_ONCE), watched: Mutex::default() }
    }
}

impl Streams {
    /// All that was seen.
    pub(super) fn watched(&self) -> Vec<Watched> {
        lock(&self.watched).iter().map(|one| lock(one).clone()).collect()
    }

    /// Watches an order until this is dropped, if it is one to be watched.
    pub(crate) async fn watch(&self, client: &Client, number: u64, order: Uuid) -> ! {
        let room = self.room.try_acquire();
        if !number.is_multiple_of(ONE_IN) || room.is_err() {
            std::future::pending::<()>().await;
        }
        let watched = Arc::new(Mutex::new(Watched { order, versions: Vec::new(), streams: 0 }));
        lock(&self.watched).push(Arc::clone(&watched));
        for tries in 0.. {
            let url = format!("{}/{order}/events", client.urls[client.place(number, tries)]);
            let last = lock(&watched).versions.last().copied().unwrap_or_default();
            if let Ok(stream) = open(&client.http, &url, &client.tokens.customers, last).await {
                lock(&watched).streams += 1;
                let _ = timeout(HANGS_UP_AFTER, follow(stream, &watched, i32::MAX)).await;
            }
            sleep(AGAIN_AFTER).await;
        }
        std::future::pending().await
    }

    /// Whoever watched reads what is left.
    pub(super) async fn catch_up(&self, fleet: &Fleet, conn: &mut PgConnection) -> Result<()> {
        let (http, all) = (http()?, lock(&self.watched).clone());
        for (number, watched) in all.iter().enumerate() {
            let (order, last) = {
                let watched = lock(watched);
                (watched.order, watched.versions.last().copied().unwrap_or_default())
            };
            let there: i32 =
                sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM shown_events WHERE subject = $1")
                    .bind(order)
                    .fetch_one(&mut *conn)
                    .await?;
            if last >= there {
                continue;
            }
            let addr = fleet.api_addrs[number % fleet.api_addrs.len()];
            let url = format!("http://{addr}/api/v1/orders/{order}/events");
            let stream = open(&http, &url, &fleet.tokens.customers, last).await?;
            lock(watched).streams += 1;
            // Whether it told all of it is for the judge to say.
            let _ = timeout(WITHIN, follow(stream, watched, there)).await;
        }
        Ok(())
    }
}

/// Opens a stream behind this version.
async fn open(http: &reqwest::Client, url: &str, token: &str, last: i32) -> Result<Response> {
    let mut request = http.get(url).bearer_auth(token);
    if last > 0 {
        request = request.header("last-event-id", last);
    }
    let answer = timeout(WITHIN, request.send()).await??;
    ensure!(answer.status().is_success(), "{}", answer.status());
    Ok(answer)
}

/// Notes what comes, up to this version.
async fn follow(mut stream: Response, watched: &Mutex<Watched>, until: i32) -> Result<()> {
    let (mut text, since) = (String::new(), Instant::now());
    while let Some(bytes) = stream.chunk().await? {
        text += &String::from_utf8_lossy(&bytes);
        // An event ends with an empty line.
        while let Some((event, rest)) = text.split_once("\n\n") {
            let version = event.lines().find_map(|line| line.strip_prefix("id:")).map(str::trim);
            if let Some(version) = version.and_then(|version| version.parse().ok()) {
                lock(watched).versions.push(version);
                if version >= until {
                    return Ok(());
                }
            }
            text = rest.to_owned();
        }
        ensure!(since.elapsed() < WITHIN * 100, "a stream without an end");
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
