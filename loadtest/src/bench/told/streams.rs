//! Streams: what thousands of people who watch an order each cost the api in memory, and how soon they see a change.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use runtime::tasks::Stop;
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use uuid::Uuid;

use super::super::shop::request;
use super::super::stack::{Shape, Stack};
use super::super::usage::Memory;
use super::{LOOK_EVERY, between, now, time_in};
use crate::latency::{Latencies, Percentiles};
use crate::load::{Connection, Pace, load};

/// Opened at once.
const AT_ONCE: usize = 64;
/// Longest wait for a stream's head, and for the last change.
const WITHIN: Duration = Duration::from_secs(30);
/// Until the api's memory is what it is.
const SETTLES: Duration = Duration::from_secs(2);
/// Changes are asked for over so many connections.
const ASKING: usize = 8;

/// People who watch.
#[derive(Debug, Clone, Serialize)]
pub struct StreamsRun {
    /// How many, each another order.
    pub streams: usize,
    /// The api's memory before, and with all of them.
    pub before: Memory,
    /// As above.
    pub with: Memory,
    /// Changes a second meanwhile.
    pub rate: u32,
    /// From a change's time to the client.
    pub seen: Percentiles,
}

/// Opens `streams`, and changes orders at this rate, each once, for `time` at most.
pub(in super::super) async fn watch(
    stack: &Stack,
    streams: usize,
    rate: u32,
    time: Duration,
) -> Result<StreamsRun> {
    let room = [("API_STREAMS", (streams + AT_ONCE).to_string())];
    let mut services = stack.start_on(stack.ground().await?, Shape::ApiOnly, &room)?;
    services.warm_up(Shape::ApiOnly).await?;
    let plan = services.plan(Pace::Closed, Some(streams as u64), None)?;
    let orders: Vec<Uuid> = load(&plan, &Stop::new()).await?.accepted.iter().map(|one| one.id).collect();
    let (addr, token, pid) = (services.api_addr, services.token()?, services.pid_of("api"));
    let before = Memory::of(pid);
    let seen: Arc<Mutex<Latencies>> = Arc::new(Mutex::new(Latencies::new()?));
    let mut watching = JoinSet::new();
    for some in orders.chunks(AT_ONCE) {
        let mut opening = JoinSet::new();
        for order in some {
            opening.spawn(open(addr, token.clone(), *order));
        }
        while let Some(stream) = opening.join_next().await {
            watching.spawn(follow(stream??, Arc::clone(&seen)));
        }
    }
    sleep(SETTLES).await;
    let with = Memory::of(pid);
    let changes = orders.len().min(usize::try_from(u64::from(rate) * time.as_secs().max(1))?);
    change(addr, &token, orders[..changes].to_vec(), rate).await?;
    let (started, count) =
        (Instant::now(), || seen.lock().unwrap_or_else(PoisonError::into_inner).summary().count);
    while count() < changes as u64 {
        ensure!(started.elapsed() < WITHIN, "{} of {changes} changes were seen", count());
        sleep(LOOK_EVERY).await;
    }
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner).summary();
    watching.abort_all();
    services.stop(stack).await?;
    Ok(StreamsRun { streams, before, with, rate, seen })
}

/// A stream of what happens to an order from now on, whose head has come.
async fn open(addr: SocketAddr, token: String, order: Uuid) -> Result<(TcpStream, Vec<u8>)> {
    let mut stream = TcpStream::connect(addr).await?;
    let ask = format!(
        "GET /api/v1/orders/{order}/events?after=1 HTTP/1.1\r\nhost: {addr}\r\nauthorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(ask.as_bytes()).await?;
    let mut bytes = Vec::with_capacity(1_024);
    let head = async {
        while !bytes.windows(4).any(|four| four == b"\r\n\r\n") {
            ensure!(stream.read_buf(&mut bytes).await? > 0, "it was closed");
        }
        Ok(())
    };
    timeout(WITHIN, head).await.context("a stream does not begin")??;
    ensure!(bytes.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&bytes));
    Ok((stream, bytes))
}

/// Notes what comes, until it is aborted.
async fn follow((mut stream, mut bytes): (TcpStream, Vec<u8>), seen: Arc<Mutex<Latencies>>) {
    loop {
        // An event ends with an empty line.
        while let Some(end) = bytes.windows(2).position(|two| two == b"\n\n") {
            let arrived = now();
            let event = String::from_utf8_lossy(&bytes[..end]).into_owned();
            bytes.drain(..end + 2);
            if let Some(at) = time_in(&event, r#""at":""#) {
                seen.lock().unwrap_or_else(PoisonError::into_inner).record(between(at, arrived));
            }
        }
        if !stream.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {
            return;
        }
    }
}

/// Calls these orders off, so many a second.
async fn change(addr: SocketAddr, token: &str, orders: Vec<Uuid>, rate: u32) -> Result<()> {
    let (next, orders) = (Arc::new(AtomicU64::new(0)), Arc::new(orders));
    let mut asking = JoinSet::new();
    for _ in 0..ASKING {
        let (next, orders, token) = (Arc::clone(&next), Arc::clone(&orders), token.to_owned());
        asking.spawn(async move {
            let mut connection = Connection::open(addr).await?;
            let mut tick = interval(Duration::from_secs(1) * u32::try_from(ASKING)? / rate);
            tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
            loop {
                tick.tick().await;
                let number = usize::try_from(next.fetch_add(1, Ordering::Relaxed))?;
                let Some(order) = orders.get(number) else { return anyhow::Ok(()) };
                let answer = connection
                    .ask(&request("POST", &format!("/orders/{order}/cancel"), addr, &token, "{}"))
                    .await?;
                ensure!(answer.status == 200, "cancelling was answered {}", answer.status);
            }
        });
    }
    while let Some(done) = asking.join_next().await {
        done??;
    }
    Ok(())
}
