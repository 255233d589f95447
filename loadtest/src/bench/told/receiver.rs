//! A receiver of webhooks that does next to nothing: notes when what came, and says 204. On two cores it must be cheap, or it
//! measures itself.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::{LOOK_EVERY, between, now, time_in};
use crate::latency::Latencies;

/// Most headers of a request; the follower's have some ten.
const MAX_HEADERS: usize = 32;
const ANSWER: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";

/// A delivery.
#[derive(Debug)]
struct Came {
    /// `order_version`.
    id: Box<str>,
    at: i64,
    happened: i64,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Receiver {
    addr: SocketAddr,
    came: Arc<Mutex<Vec<Came>>>,
    _serving: JoinSet<()>,
}

impl Receiver {
    /// Listens. One that is silent takes connections and says nothing.
    pub(super) async fn start(is_silent: bool) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (addr, came, mut serving) = (listener.local_addr()?, Arc::default(), JoinSet::new());
        let into = Arc::clone(&came);
        serving.spawn(async move {
            let (mut connections, mut kept) = (JoinSet::new(), Vec::new());
            while let Ok((stream, _)) = listener.accept().await {
                if is_silent {
                    kept.push(stream);
                } else {
                    connections.spawn(speak(stream, Arc::clone(&into)));
                }
            }
        });
        Ok(Self { addr, came, _serving: serving })
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/", self.addr)
    }

    /// Forgets what came.
    pub(super) fn clear(&self) {
        lock(&self.came).clear();
    }

    /// Waits until so many have come.
    pub(super) async fn until(&self, count: usize, patience: Duration) -> Result<()> {
        let started = Instant::now();
        loop {
            let there = lock(&self.came).len();
            if there >= count {
                return Ok(());
            }
            ensure!(started.elapsed() < patience, "{there} of {count} came within {patience:?}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// How many a second came, from the first to the last; an error where an order's came in another order than it happened.
    pub(super) fn per_s(&self) -> Result<f64> {
        let came = lock(&self.came);
        in_order(&came)?;
        let (first, last) = came.first().zip(came.last()).context("nothing came")?;
        Ok(crate::latency::per_second(came.len() as u64, between(first.at, last.at)))
    }

    /// From when each happened until it came here.
    pub(super) fn latencies(&self) -> Result<Latencies> {
        let (came, mut latencies) = (lock(&self.came), Latencies::new()?);
        came.iter().for_each(|one| latencies.record(between(one.happened, one.at)));
        Ok(latencies)
    }
}

fn in_order(came: &[Came]) -> Result<()> {
    let mut last: HashMap<&str, i32> = HashMap::new();
    for one in came {
        let (order, version) = one.id.split_once('_').with_context(|| format!("{:?} is no event", one.id))?;
        let (version, last): (i32, _) = (version.parse()?, last.entry(order).or_default());
        ensure!(version > *last, "of order {order} {version} came after {last}");
        *last = version;
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn speak(mut stream: TcpStream, into: Arc<Mutex<Vec<Came>>>) {
    let (_, mut bytes) = (stream.set_nodelay(true), Vec::with_capacity(4_096));
    loop {
        while let Some((came, length)) = read(&bytes) {
            bytes.drain(..length);
            lock(&into).push(came);
            if stream.write_all(ANSWER).await.is_err() {
                return;
            }
        }
        if !stream.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {
            return;
        }
    }
}

/// A whole request and its length.
fn read(bytes: &[u8]) -> Option<(Came, usize)> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(head) = request.parse(bytes).ok()? else { return None };
    let header = |name: &str| {
        let found = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.and_then(|header| std::str::from_utf8(header.value).ok())
    };
    let end = head + header("content-length")?.parse::<usize>().ok()?;
    let body = std::str::from_utf8(bytes.get(head..end)?).ok()?;
    let happened = time_in(body, r#""time":""#)?;
    Some((Came { id: header("webhook-id")?.into(), at: now(), happened }, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_when_it_is_whole_and_turns_are_noticed() {
        let body = r#"{"time":"2026-01-31T17:02:11Z"}"#;
        let text =
            format!("POST / HTTP/1.1\r\nWebhook-Id: a_2\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        assert!(read(&text.as_bytes()[..text.len() - 1]).is_none());
        let (came, length) = read(format!("{text}POST").as_bytes()).unwrap();
        assert_eq!((&*came.id, length), ("a_2", text.len()));
        let of = |id: &str| Came { id: id.into(), at: 0, happened: 0 };
        assert!(in_order(&[of("a_1"), of("b_1"), of("a_2")]).is_ok());
        assert!(in_order(&[of("a_2"), of("a_1")]).is_err());
    }
}
