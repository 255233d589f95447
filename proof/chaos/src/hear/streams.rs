//! People who watch an order: whenever their stream ends, or they hang up themselves, they come again with the last event that they saw.

#![expect(clippy::float_arithmetic, reason = "how often somebody comes; no money")]

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, ensure};
use futures_util::{TryStreamExt, stream};
use reqwest::Response;
use sqlx::PgConnection;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use super::Audience;
use crate::client::Client;
use crate::fleet::{Fleet, http};

/// One order in so many is watched, if there is room; where more than everyday ones are to watch, each is.
const ONE_IN: u64 = 10;
/// Whoever watches hangs up after this, and comes again; where many watch, later, so that all together come so often a second.
const HANGS_UP_AFTER: Duration = Duration::from_millis(700);
const COME_A_SECOND: f64 = 200.0;
/// Between a stream's end and the next one.
const AGAIN_AFTER: Duration = Duration::from_millis(50);
/// Longest wait for an answer, and for what is left of a stream when all is quiet.
const WITHIN: Duration = Duration::from_secs(5);
/// Who reads what is left does so beside so many others.
const CATCH_UP_AT_ONCE: usize = 32;

/// All of them.
#[derive(Debug)]
pub struct Streams {
    at_once: usize,
    room: Semaphore,
    /// The most who watched at once.
    most: AtomicUsize,
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

impl Streams {
    /// With room for so many at once.
    pub(crate) fn new(at_once: usize) -> Self {
        let room = Semaphore::new(at_once);
        Self { at_once, room, most: AtomicUsize::new(0), watched: Mutex::default() }
    }

    /// All that was seen.
    pub(super) fn watched(&self) -> Vec<Watched> {
        lock(&self.watched).iter().map(|one| lock(one).clone()).collect()
    }

    /// The most who watched at once, and how many could.
    pub(super) fn watching(&self) -> (usize, usize) {
        (self.most.load(Ordering::Relaxed), self.at_once)
    }

    fn is_to_be_watched(&self, number: u64) -> bool {
        number.is_multiple_of(ONE_IN) || self.at_once > Audience::EVERYDAY.streams
    }

    /// Watches an order until this is dropped, if it is one to be watched.
    pub(crate) async fn watch(&self, client: &Client, number: u64, order: Uuid) -> ! {
        let wanted = self.is_to_be_watched(number);
        let Some(_place) = wanted.then(|| self.room.try_acquire().ok()).flatten() else {
            std::future::pending().await
        };
        self.most.fetch_max(self.at_once - self.room.available_permits(), Ordering::Relaxed);
        let hangs_up_after = HANGS_UP_AFTER.max(Duration::from_secs_f64(self.at_once as f64 / COME_A_SECOND));
        let watched = Arc::new(Mutex::new(Watched { order, versions: Vec::new(), streams: 0 }));
        lock(&self.watched).push(Arc::clone(&watched));
        for tries in 0.. {
            let url = format!("{}/{order}/events", client.urls[client.place(number, tries)]);
            let last = lock(&watched).versions.last().copied().unwrap_or_default();
            if let Ok(stream) = open(&client.http, &url, &client.tokens.customers, last).await {
                lock(&watched).streams += 1;
                let _ = timeout(hangs_up_after, follow(stream, &watched, i32::MAX)).await;
            }
            sleep(AGAIN_AFTER).await;
        }
        std::future::pending().await
    }

    /// Whoever watched reads what is left.
    pub(super) async fn catch_up(&self, fleet: &Fleet, conn: &mut PgConnection) -> Result<()> {
        let (http, all) = (http()?, lock(&self.watched).clone());
        let orders: Vec<Uuid> = all.iter().map(|watched| lock(watched).order).collect();
        let there: Vec<(Uuid, i32)> = sqlx::query_as(
            "SELECT subject, max(version) FROM shown_events WHERE subject = ANY($1) GROUP BY subject",
        )
        .bind(orders)
        .fetch_all(conn)
        .await?;
        let there: HashMap<Uuid, i32> = there.into_iter().collect();
        let behind = all.iter().enumerate().filter_map(|(number, watched)| {
            let (order, last) = {
                let watched = lock(watched);
                (watched.order, watched.versions.last().copied().unwrap_or_default())
            };
            let until = there.get(&order).copied().unwrap_or_default();
            let addr = fleet.api_addrs[number % fleet.api_addrs.len()];
            let url = format!("http://{addr}/api/v1/orders/{order}/events");
            (last < until).then(|| (Arc::clone(watched), url, last, until))
        });
        let (http, token) = (&http, &fleet.tokens.customers);
        let read = move |(watched, url, last, until): (Arc<Mutex<Watched>>, String, i32, i32)| async move {
            let stream = open(http, &url, token, last).await?;
            lock(&watched).streams += 1;
            // Whether it told all of it is for the judge to say.
            let _ = timeout(WITHIN, follow(stream, &watched, until)).await;
            Ok(())
        };
        stream::iter(behind.map(Ok)).try_for_each_concurrent(CATCH_UP_AT_ONCE, read).await
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
