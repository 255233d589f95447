//! An endpoint of webhooks: what it takes, it keeps, with the moment's order; what it says is another matter.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as B64;
use ring::hmac;
use serde::Deserialize;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;
use uuid::Uuid;

use super::Of;
use super::request::Request;
use crate::clock;

/// A signature's time may be so far off.
const TIME_OFF: i64 = 300;
/// A dead one is so for this long, and well for as long.
const DEAD_FOR: Duration = Duration::from_secs(2);
/// One request in so many is lied to, hung up on, or takes longer than anybody waits.
const ONE_IN: u64 = 3;
const FAR_TOO_SLOW_ONE_IN: u64 = 40;
/// Longer than senders wait here.
const FAR_TOO_SLOW: Duration = Duration::from_millis(1_500);
const SLOW: Duration = Duration::from_millis(60);

/// How an endpoint behaves until all is mended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Takes what comes, and says so.
    Good,
    /// Takes it, and takes its time, now and then too much of it.
    Slow,
    /// Is not there half of the time.
    Dead,
    /// Takes it, and now and then says that it went wrong.
    Lying,
    /// Takes it, and now and then hangs up without a word.
    Closing,
}

impl Manner {
    pub(super) const ALL: [Self; 5] = [Self::Good, Self::Slow, Self::Dead, Self::Lying, Self::Closing];

    /// What it chooses: types, and whether only what came by the channel.
    pub(crate) const fn wants(self) -> (&'static [&'static str], bool) {
        match self {
            Self::Good => (&[], false),
            Self::Slow => (&["order.moved.CONFIRMED"], false),
            Self::Dead => (&["order.moved.ACCEPTED", "order.moved.DELIVERED", "order.accepted"], false),
            Self::Lying => (&["order.refunded", "order.refund_owed", "order.moved.PAYMENT_FAILED"], false),
            Self::Closing => (&[], true),
        }
    }
}

/// One of them.
#[derive(Debug)]
pub struct Endpoint {
    /// How it behaves.
    pub manner: Manner,
    /// Of it among all of them.
    number: usize,
    addr: SocketAddr,
    key: OnceLock<hmac::Key>,
    since: Instant,
    mended: AtomicBool,
    requests: AtomicU64,
    kept: Mutex<Kept>,
}

/// What it took.
#[derive(Debug, Clone, Default)]
pub struct Kept {
    /// In the order in which it came, repeats too.
    pub came: Vec<Of>,
    /// What was not signed as it should be, or is not what its id says.
    pub untrue: Vec<String>,
    /// Requests that were not answered with yes.
    pub refused: u64,
}

/// What it does with a request.
enum Does {
    Answers(u16, Duration),
    HangsUp,
}

impl Endpoint {
    /// Listens; the future answers whoever comes, for ever.
    pub(super) async fn start(
        manner: Manner,
        number: usize,
    ) -> Result<(Arc<Self>, impl Future<Output = ()>)> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = Arc::new(Self {
            manner,
            number,
            addr: listener.local_addr()?,
            key: OnceLock::new(),
            since: Instant::now(),
            mended: AtomicBool::new(false),
            requests: AtomicU64::new(0),
            kept: Mutex::default(),
        });
        let own = Arc::clone(&endpoint);
        let serve = async move {
            let mut connections = JoinSet::new();
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                while connections.try_join_next().is_some() {}
                // Dropped at once, where it is dead.
                if !own.is_dead() {
                    connections.spawn(Arc::clone(&own).speak(stream));
                }
            }
        };
        Ok((endpoint, serve))
    }

    /// As it is called.
    pub fn name(&self) -> String {
        format!("{:?}-{}", self.manner, self.number)
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/{}", self.addr, self.name())
    }

    /// What comes is to be signed with this.
    pub(super) fn verify_with(&self, secret: &str) -> Result<()> {
        let key = secret.strip_prefix("whsec_").context("not the secret of a webhook")?;
        let key = B64.decode(key)?;
        let _ = self.key.set(hmac::Key::new(hmac::HMAC_SHA256, &key));
        Ok(())
    }

    pub(super) fn mend(&self) {
        self.mended.store(true, Ordering::SeqCst);
    }

    /// What it took so far.
    pub fn kept(&self) -> Kept {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_dead(&self) -> bool {
        let turn = self.since.elapsed().as_millis() / DEAD_FOR.as_millis();
        self.manner == Manner::Dead && turn.is_multiple_of(2) && !self.mended.load(Ordering::SeqCst)
    }

    /// Answers what comes over a connection until either side hangs up.
    async fn speak(self: Arc<Self>, stream: TcpStream) {
        let (reads, mut writes) = stream.into_split();
        let mut reads = BufReader::new(reads);
        while let Some(request) = Request::read(&mut reads).await {
            if self.is_dead() {
                self.lock().refused += 1;
                return;
            }
            self.keep(&request);
            match self.does() {
                Does::Answers(status, after) => {
                    sleep(after).await;
                    let answer = format!("HTTP/1.1 {status} So\r\ncontent-length: 0\r\n\r\n");
                    if writes.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
                Does::HangsUp => return,
            }
        }
    }

    fn does(&self) -> Does {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let well = Does::Answers(204, Duration::ZERO);
        if self.mended.load(Ordering::SeqCst) {
            return well;
        }
        let badly = number.is_multiple_of(ONE_IN);
        let does = match self.manner {
            Manner::Slow if number % FAR_TOO_SLOW_ONE_IN == 1 => Does::Answers(204, FAR_TOO_SLOW),
            Manner::Slow => return Does::Answers(204, SLOW),
            Manner::Lying if badly => Does::Answers(500, Duration::ZERO),
            Manner::Closing if badly => Does::HangsUp,
            _ => return well,
        };
        self.lock().refused += 1;
        does
    }

    fn keep(&self, request: &Request) {
        let read = self.read(request);
        let mut kept = self.lock();
        match read {
            Ok(event) => kept.came.push(event),
            Err(why) => kept.untrue.push(format!("{why}: {}", request.header("webhook-id"))),
        }
    }

    /// Which event it is, if it is truly one of theirs.
    fn read(&self, request: &Request) -> Result<Of, &'static str> {
        #[derive(Deserialize)]
        struct Body {
            id: String,
            subject: Uuid,
            data: Data,
        }
        #[derive(Deserialize)]
        struct Data {
            version: i32,
        }
        let (id, time) = (request.header("webhook-id"), request.header("webhook-timestamp"));
        let signed = [id.as_bytes(), b".", time.as_bytes(), b".", &request.body].concat();
        let key = self.key.get().ok_or("it came before its secret")?;
        let is_true = |signature: &str| {
            let signature = signature.strip_prefix("v1,").and_then(|text| B64.decode(text).ok());
            signature.is_some_and(|signature| hmac::verify(key, &signed, &signature).is_ok())
        };
        if !request.header("webhook-signature").split(' ').any(is_true) {
            return Err("no true signature");
        }
        let off = time.parse::<i64>().map(|time| clock::now() / 1_000_000 - time);
        if !off.is_ok_and(|off| off.abs() < TIME_OFF) {
            return Err("signed at another time");
        }
        let body: Body = serde_json::from_slice(&request.body).map_err(|_| "not an event")?;
        let of = (body.subject, body.data.version);
        let is_same = body.id == id && id == format!("{}_{}", of.0, of.1);
        if is_same { Ok(of) } else { Err("another event than its id says") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_what_is_signed_with_its_secret_is_kept() {
        let (endpoint, _serve) = Endpoint::start(Manner::Good, 0).await.unwrap();
        endpoint.verify_with("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let order = Uuid::from_u128(7);
        let (id, time) = (format!("{order}_3"), (clock::now() / 1_000_000).to_string());
        let body = format!(r#"{{"id":"{id}","subject":"{order}","data":{{"version":3}}}}"#);
        let key = endpoint.key.get().unwrap();
        let sign = |text: &str| format!("v1,{}", B64.encode(hmac::sign(key, text.as_bytes())));
        let of = |signature: String, time: &str| {
            format!(
                "POST / HTTP/1.1\r\nwebhook-id: {id}\r\nwebhook-timestamp: {time}\r\nwebhook-signature: {signature}\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            )
        };
        let read = async |text: String| endpoint.read(&Request::read(&mut text.as_bytes()).await.unwrap());
        let good = of(format!("v1,AAAA {}", sign(&format!("{id}.{time}.{body}"))), &time);
        assert_eq!(read(good).await, Ok((order, 3)));
        let other = of(sign(&format!("{id}.{time}.{body} ")), &time);
        assert_eq!(read(other).await, Err("no true signature"));
        let old = of(sign(&format!("{id}.1.{body}")), "1");
        assert_eq!(read(old).await, Err("signed at another time"));
    }
}
