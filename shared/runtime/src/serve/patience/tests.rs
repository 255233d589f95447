//! How long a connection is waited for, by its clock and by what it sends.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Result;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::routing::{any, get, post};
use futures_util::stream;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use super::super::{Peer, ServeLimits, answers, converse, http};
use crate::tasks::Stop;

const ASK: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
/// How HTTP/2 begins: the preface and empty settings.
const HTTP_2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const HEADERS: u8 = 1;
const ACK: u8 = 1;
/// Longer than any patience of ours.
const LONG: Duration = Duration::from_secs(1_000);

/// Lets `client` speak with a server over memory, on a clock that jumps to the next timer whenever both wait.
async fn with<T>(client: impl AsyncFnOnce(DuplexStream) -> T) -> T {
    within(ServeLimits::default(), client).await
}

async fn within<T>(limits: ServeLimits, client: impl AsyncFnOnce(DuplexStream) -> T) -> T {
    // Slower than every limit of ours, as a list over a slow database might be, or what is followed.
    let drops = || {
        stream::unfold(0, async |n| {
            sleep(LONG).await;
            (n < 2).then(|| (Ok::<_, Infallible>(Bytes::from_static(b"drop")), n + 1))
        })
    };
    let app = Router::new()
        .route("/", any(async |_: Bytes| "here"))
        .route("/late", get(async || sleep(LONG).await))
        .route("/early", post(async || StatusCode::PAYLOAD_TOO_LARGE))
        .route("/drops", get(async move || Body::from_stream(drops())))
        .route("/flood", get(async || Body::from_stream(flood())));
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let service = answers::around(
        app,
        Peer(Ipv4Addr::LOCALHOST.into()),
        Arc::new(Semaphore::new(limits.max_requests)),
        Stop::new(),
    );
    // Its end would be the stop.
    let graceful = GracefulShutdown::new();
    let server = converse(&http(&limits), ours, service, &limits, &graceful);
    tokio::join!(server, client(theirs)).1
}

/// Bytes of floods that were made so far.
static FLOODED: AtomicUsize = AtomicUsize::new(0);

/// An answer without end, in pieces.
fn flood() -> impl futures_util::Stream<Item = Result<Bytes, Infallible>> + Send {
    stream::repeat_with(|| {
        FLOODED.fetch_add(1_024, Ordering::Relaxed);
        Ok(Bytes::from_static(&[b'x'; 1_024]))
    })
}

/// How long it takes until the server closes the connection.
async fn until_closed(stream: &mut DuplexStream) -> Option<Duration> {
    let begun = Instant::now();
    let closed = tokio::time::timeout(10 * LONG, stream.read_to_end(&mut Vec::new())).await;
    closed.is_ok().then(|| begun.elapsed())
}

/// Asks, and reads the answer.
async fn ask(stream: &mut DuplexStream, request: &[u8]) -> Result<String> {
    stream.write_all(request).await?;
    answer(stream).await
}

async fn answer(stream: &mut DuplexStream) -> Result<String> {
    let mut answer = vec![0; 4096];
    let length = stream.read(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}

/// A frame's type, flags and content.
async fn frame(stream: &mut DuplexStream) -> Option<(u8, u8, Vec<u8>)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.ok()?;
    let mut content = vec![0; usize::from(u16::from_be_bytes([head[1], head[2]]))];
    stream.read_exact(&mut content).await.ok()?;
    Some((head[3], head[4], content))
}

/// Answers what is a ping.
async fn pong(stream: &mut DuplexStream, kind: u8, flags: u8, content: &[u8]) -> Result<bool> {
    let asked = kind == PING && flags & ACK == 0;
    if asked {
        stream.write_all(&[&[0, 0, 8, PING, ACK, 0, 0, 0, 0], content].concat()).await?;
    }
    Ok(asked)
}

/// HTTP/2: GET of a path, on a stream of this number.
fn get_2(stream: u8, path: &str) -> Vec<u8> {
    let length = |text: &str| u8::try_from(text.len()).unwrap();
    let block = [b"\x82\x86\x41\x01x\x04", &[length(path)][..], path.as_bytes()].concat();
    [&[0, 0, u8::try_from(block.len()).unwrap(), HEADERS, 5, 0, 0, 0, stream], &block[..]].concat()
}

#[tokio::test(start_paused = true)]
async fn who_sends_nothing_is_cut_off() {
    let closed = with(async |mut stream| until_closed(&mut stream).await).await;
    assert!(closed.is_some_and(|after| after.as_secs() == 5), "{closed:?}");
}

#[tokio::test(start_paused = true)]
async fn who_sends_what_may_be_either_protocol_is_cut_off() -> Result<()> {
    for begun in [&b"P"[..], &HTTP_2[..23]] {
        let closed = with(async |mut stream| {
            stream.write_all(begun).await?;
            anyhow::Ok(until_closed(&mut stream).await)
        });
        let closed = closed.await?;
        assert!(closed.is_some_and(|after| after.as_secs() == 5), "{closed:?}");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn half_a_first_header_is_cut_off() -> Result<()> {
    let closed = with(async |mut stream| {
        stream.write_all(&ASK[..20]).await?;
        anyhow::Ok(until_closed(&mut stream).await)
    });
    let closed = closed.await?;
    assert!(closed.is_some_and(|after| after.as_secs() == 5), "{closed:?}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_connection_rests_for_as_long_as_balancers_keep_theirs() -> Result<()> {
    let closed = with(async |mut stream| {
        for _ in 0..3 {
            assert!(ask(&mut stream, ASK).await?.starts_with("HTTP/1.1 200 "));
            sleep(Duration::from_secs(74)).await;
        }
        assert!(ask(&mut stream, ASK).await?.starts_with("HTTP/1.1 200 "));
        anyhow::Ok(until_closed(&mut stream).await)
    });
    let closed = closed.await?;
    assert!(closed.is_some_and(|after| after.as_secs() == 75), "{closed:?}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn half_a_later_header_is_cut_off_after_its_own_time() -> Result<()> {
    let closed = with(async |mut stream| {
        assert!(ask(&mut stream, ASK).await?.starts_with("HTTP/1.1 200 "));
        sleep(Duration::from_secs(60)).await;
        // Its bytes come one a second, and each of them is life, but no header.
        stream.write_all(&ASK[..1]).await?;
        let begun = Instant::now();
        for byte in &ASK[1..] {
            sleep(Duration::from_secs(1)).await;
            if stream.write_all(&[*byte]).await.is_err() {
                break;
            }
        }
        anyhow::Ok(begun.elapsed())
    });
    let closed = closed.await?;
    assert!((5..=6).contains(&closed.as_secs()), "{closed:?}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn half_a_header_on_the_heels_of_a_request_is_cut_off_after_its_own_time() -> Result<()> {
    let post = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody";
    for first in [ASK, post] {
        let closed = with(async |mut stream| {
            ask(&mut stream, &[first, &ASK[..20]].concat()).await?;
            anyhow::Ok(until_closed(&mut stream).await)
        });
        let closed = closed.await?;
        assert!(closed.is_some_and(|after| after.as_secs() == 5), "{closed:?}");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn whole_requests_on_the_heels_of_others_leave_a_connection_that_rests() -> Result<()> {
    let closed = with(async |mut stream| {
        stream.write_all(&[ASK, ASK, ASK].concat()).await?;
        let mut answers = String::new();
        while answers.matches("HTTP/1.1 200 ").count() < 3 {
            answers += &answer(&mut stream).await?;
        }
        anyhow::Ok(until_closed(&mut stream).await)
    });
    let closed = closed.await?;
    assert!(closed.is_some_and(|after| after.as_secs() == 75), "{closed:?}");
    Ok(())
}

/// An answer that comes before all of the request has: 413, 401.
const EARLY: &[u8] = b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 8000000\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn who_sends_all_before_reading_reads_what_was_wrong_with_it() -> Result<()> {
    let told = with(async |mut stream| {
        stream.write_all(EARLY).await?;
        // Far more than the pipe between the two holds.
        stream.write_all(&vec![b' '; 8_000_000]).await?;
        let mut told = String::new();
        stream.read_to_string(&mut told).await?;
        anyhow::Ok(told)
    });
    let told = told.await?;
    assert!(told.starts_with("HTTP/1.1 413 "), "{told}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn who_goes_on_sending_after_the_answer_is_cut_off() -> Result<()> {
    // Without end, as fast as it goes; and a byte now and then.
    let flood = with(async |mut stream| {
        stream.write_all(EARLY).await?;
        let mut sent = 0;
        while stream.write_all(&[b' '; 64 * 1024]).await.is_ok() {
            sent += 64;
        }
        anyhow::Ok(sent / 1024)
    });
    let flood = flood.await?;
    assert!((31..=34).contains(&flood), "{flood} MiB");
    let dawdle = with(async |mut stream| {
        stream.write_all(EARLY).await?;
        let begun = Instant::now();
        while stream.write_all(b" ").await.is_ok() {
            sleep(Duration::from_millis(500)).await;
        }
        anyhow::Ok(begun.elapsed())
    });
    let dawdle = dawdle.await?;
    assert!((10..=11).contains(&dawdle.as_secs()), "{dawdle:?}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn nobody_is_listened_to_who_has_sent_all() -> Result<()> {
    let closed = with(async |mut stream| {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await?;
        anyhow::Ok(until_closed(&mut stream).await)
    });
    let closed = closed.await?;
    assert!(closed.is_some_and(|after| after.is_zero()), "{closed:?}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_answer_may_take_longer_than_a_client() -> Result<()> {
    let closed = with(async |mut stream| {
        let late = ask(&mut stream, b"GET /late HTTP/1.1\r\nHost: x\r\n\r\n").await?;
        assert!(late.starts_with("HTTP/1.1 200 "), "{late}");
        let head = ask(&mut stream, b"GET /drops HTTP/1.1\r\nHost: x\r\n\r\n").await?;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        for expected in ["drop", "drop", "0\r\n\r\n"] {
            let next = answer(&mut stream).await?;
            assert!(next.contains(expected), "{next:?}");
        }
        anyhow::Ok(until_closed(&mut stream).await)
    });
    let closed = closed.await?;
    assert!(closed.is_some_and(|after| after.as_secs() == 75), "{closed:?}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn http_2_is_closed_where_nobody_answers() -> Result<()> {
    let closed = with(async |mut stream| {
        stream.write_all(HTTP_2).await?;
        anyhow::Ok(until_closed(&mut stream).await)
    });
    let closed = closed.await?;
    assert!(closed.is_some_and(|after| after.as_secs() == 20 + 10), "{closed:?}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn http_2_stays_open_where_somebody_answers() -> Result<()> {
    let pings = with(async |mut stream| {
        stream.write_all(HTTP_2).await?;
        let mut pings = 0;
        while pings < 10
            && let Some((kind, flags, content)) = frame(&mut stream).await
        {
            pings += u8::from(pong(&mut stream, kind, flags, &content).await?);
        }
        anyhow::Ok(pings)
    });
    assert_eq!(tokio::time::timeout(LONG, pings).await??, 10);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn http_2_says_how_many_requests_it_takes_at_once() -> Result<()> {
    const MAX_CONCURRENT_STREAMS: u16 = 3;
    let settings = with(async |mut stream| {
        stream.write_all(HTTP_2).await?;
        anyhow::Ok(frame(&mut stream).await)
    });
    let (kind, _, settings) = settings.await?.expect("a frame");
    assert_eq!(kind, SETTINGS);
    let most = settings.chunks(6).find(|one| one[..2] == MAX_CONCURRENT_STREAMS.to_be_bytes());
    assert_eq!(most.map(|one| &one[2..]), Some(&ServeLimits::default().max_streams.to_be_bytes()[..]));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn http_2_requests_are_counted_over_all_connections() -> Result<()> {
    /// How the next answer's header begins: with its status.
    async fn status(stream: &mut DuplexStream) -> Result<Vec<u8>> {
        while let Some((kind, flags, content)) = frame(stream).await {
            if kind == HEADERS {
                return Ok(content);
            }
            pong(stream, kind, flags, &content).await?;
        }
        anyhow::bail!("closed without an answer")
    }
    const IS_200: u8 = 0x88;
    const IS_503: &[u8] = b"\x48\x83\x6c\x0c\xff";

    let limits = ServeLimits { max_requests: 1, ..ServeLimits::default() };
    within(limits, async |mut stream| {
        stream.write_all(&[HTTP_2, &get_2(1, "/late"), &get_2(3, "/")].concat()).await?;
        let refused = status(&mut stream).await?;
        assert!(refused.starts_with(IS_503), "{refused:x?}");
        assert_eq!(status(&mut stream).await?[0], IS_200, "the first, that is late");
        stream.write_all(&get_2(5, "/")).await?;
        assert_eq!(status(&mut stream).await?[0], IS_200, "its place is free");
        Ok(())
    })
    .await
}

/// However much room it says that it has.
#[tokio::test(start_paused = true)]
async fn of_an_answer_that_an_http_2_client_does_not_read_little_is_made() -> Result<()> {
    /// Settings and a window that let two gigabytes come, on each stream and on the connection.
    const ROOM: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\
        \0\0\x06\x04\0\0\0\0\0\0\x04\x7f\xff\xff\xff\
        \0\0\x04\x08\0\0\0\0\0\x7f\xff\0\0";
    // Before it is asked whether it lives.
    const A_WHILE: Duration = Duration::from_secs(10);

    with(async |mut stream| {
        stream.write_all(&[ROOM, &get_2(1, "/flood")].concat()).await?;
        sleep(A_WHILE).await;
        let made = FLOODED.load(Ordering::Relaxed) / 1_024;
        // The pipe has 64 KiB, as the kernel would; as much may wait before it, and some is just being written. Left to itself,
        // hyper lets 400 wait.
        assert!((64..=256).contains(&made), "{made} KiB");
        Ok(())
    })
    .await
}
