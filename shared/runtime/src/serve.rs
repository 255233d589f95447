//! The listening socket and the accept loop of every HTTP server here. `axum::serve` has no time-out for headers, takes
//! 500 KB of them, and waits for ever on a client that sends half a request; this one bounds headers, connections and
//! the stop. How long a connection may keep us waiting is in `patience.rs`, what it still sends when it has been answered in
//! `last_words.rs`, what is around each request in `answers.rs`.

mod answers;
mod last_words;
mod patience;

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use axum::body::Body;
use axum::http::{Request, Response};
use futures_util::FutureExt;
use hyper::body::Incoming;
use hyper::service::{Service as HyperService, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tower::Service;

use crate::files;
use crate::tasks::Stop;

/// What one client may take, and how long a stop may last.
#[derive(Debug, Clone, Copy)]
pub struct ServeLimits {
    /// From its first byte on, a header must be whole by then, or its client is cut off; and so is one that connects
    /// and sends nothing. Five seconds: a slow mobile network needs less than one.
    pub header_timeout: Duration,
    /// How long a connection may rest between two requests. Longer than load balancers keep theirs, 60 s: who closes
    /// first must be the side that sends, or a request is lost on its way into a connection that is being closed.
    pub keep_alive: Duration,
    /// HTTP/2: a connection that is silent for so long is asked whether it lives. It has no end of its own otherwise.
    pub ping_after: Duration,
    /// And is closed where there is no answer by then.
    pub ping_timeout: Duration,
    /// HTTP/2: requests at once on one connection. A hundred, the least that its standard recommends.
    pub max_streams: u32,
    /// HTTP/2: requests at once on all connections together; one more is told 503. As many as connections: HTTP/1 has no
    /// more either, and without it a hundred times as many could each hold a header, a body and an answer.
    pub max_requests: usize,
    /// A client that has taken nothing of what we send for so long is cut off: its answer waits in memory.
    pub unread: Duration,
    /// Request line and headers together. 32 KiB: four times what browsers and proxies send at most.
    pub max_header_bytes: usize,
    /// Connections open at once, if so many files may be; further ones wait in the kernel's backlog. docs/operations.md sums up what they can take of memory.
    pub max_connections: usize,
    /// After a stop, how long new requests are still answered, each answer being the last of its connection: whoever
    /// keeps connections open goes elsewhere of his own accord, instead of sending a request into one that is just
    /// being closed. 300 ms: several requests' time for a client that matters, and no wait that anyone would notice.
    pub linger: Duration,
    /// After that, how long answers under way may still take.
    pub drain: Duration,
}

impl Default for ServeLimits {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(5),
            keep_alive: Duration::from_secs(75),
            ping_after: Duration::from_secs(20),
            ping_timeout: Duration::from_secs(10),
            max_streams: 100,
            max_requests: 8_192,
            unread: Duration::from_secs(30),
            max_header_bytes: 32 * 1024,
            max_connections: 8_192,
            linger: Duration::from_millis(300),
            drain: Duration::from_secs(5),
        }
    }
}

/// Where a request comes from: an extension of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

/// What a client that has just connected may take to send its request, when the stop has come to its end.
const FIRST_REQUEST: Duration = Duration::from_millis(100);

/// Connections that the kernel may have made and we not taken yet; it allows no more than `net.core.somaxconn` (4,096 by
/// default). Tokio asks for 128: of a few hundred clients that come at once, after a deployment or a balancer's restart,
/// the others' first packets would be dropped, and come again a second later.
const BACKLOG: u32 = 4_096;

/// HTTP/2: what a client may send of bodies before a handler has read it, on one connection. Hyper's megabyte would be
/// eight gigabytes on all; 64 KiB, the standard's own, carry 64 MB a second over a millisecond's way.
const WINDOW: u32 = 64 * 1024;

/// A peer that has been silent for so long is asked by the kernel, thrice, whether it is still there.
const LOST_AFTER: Duration = Duration::from_secs(60);
const ASKED_EVERY: Duration = Duration::from_secs(10);

/// Opens a listening socket, within a runtime; the error says which setting to change.
pub fn bind(addr: SocketAddr, setting: &str) -> Result<TcpListener> {
    let listen = || {
        let socket = if addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // As everywhere: the connections of the process before us may still linger.
        socket.set_reuseaddr(true)?;
        socket.bind(addr)?;
        socket.listen(BACKLOG)
    };
    listen().map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            anyhow::anyhow!("{addr} is taken by another program: stop it, or set {setting} to a free address")
        }
        _ => anyhow::anyhow!("cannot listen on {addr} ({setting}): {error}"),
    })
}

/// Serves `app` on `listener` until `stop` and `limits.linger` longer, then lets the answers under way finish, for
/// `limits.drain` at most.
pub async fn serve<S>(listener: TcpListener, app: S, limits: ServeLimits, stop: Stop)
where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let http = http(&limits);
    if let Err(error) = notice_lost_peers(&listener, limits.unread) {
        tracing::warn!(%error, "cannot have lost peers noticed");
    }
    let places = Arc::new(Semaphore::new(files::connections(limits.max_connections)));
    let requests = Arc::new(Semaphore::new(limits.max_requests));
    let graceful = GracefulShutdown::new();
    let connections = TaskTracker::new();
    let begin = |stream: TcpStream, peer: SocketAddr, place| {
        // Answers are small and whole: waiting to fill a packet only adds 40 ms to some.
        let _ = stream.set_nodelay(true);
        let service = answers::around(app.clone(), Peer(peer.ip()), Arc::clone(&requests), stop.clone());
        let conversation = converse(&http, stream, service, &limits, &graceful);
        connections.spawn(async move {
            conversation.await;
            drop(place);
        });
    };

    let enough = async {
        stop.stopped().await;
        tokio::time::sleep(limits.linger).await;
    };
    tokio::pin!(enough);
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            biased;
            () = &mut enough => break,
            next = next => next,
        };
        match accepted {
            Ok((stream, peer)) => begin(stream, peer, place.ok()),
            Err(error) => {
                // Out of file descriptors or memory: the next accept would fail at once, so wait a little.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    // Whom the kernel has connected would be cut off with the listener, and may have sent a request.
    while let Some(Ok((stream, peer))) = listener.accept().now_or_never() {
        begin(stream, peer, None);
    }
    drop(listener);
    drop(app);
    // What has just been connected has not been read yet, and would count as idle.
    tokio::time::sleep(FIRST_REQUEST).await;
    connections.close();
    if tokio::time::timeout(limits.drain, graceful.shutdown()).await.is_err() {
        tracing::warn!(connections = connections.len(), "some answers were still under way at the stop");
    }
}

/// Lets the kernel ask peers that are silent whether they are still there, because one that lost its power never says so,
/// and give up those that take nothing for as long as `unread`. Asked of the listening socket, because each that it
/// accepts has what it has.
fn notice_lost_peers(listener: &TcpListener, unread: Duration) -> std::io::Result<()> {
    let asked = TcpKeepalive::new().with_time(LOST_AFTER).with_interval(ASKED_EVERY).with_retries(3);
    let socket = SockRef::from(listener);
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(unread))?;
    #[cfg(not(target_os = "linux"))]
    let _ = unread;
    socket.set_tcp_keepalive(&asked)
}

/// Hyper, within `limits`; `converse` gives each connection a timer of its own.
fn http(limits: &ServeLimits) -> Builder<TokioExecutor> {
    let mut http = Builder::new(TokioExecutor::new());
    http.http1()
        // The name is hyper's; see `patience.rs`.
        .header_read_timeout(limits.keep_alive)
        .max_buf_size(limits.max_header_bytes)
        .keep_alive(true);
    http.http2()
        .keep_alive_interval(limits.ping_after)
        .keep_alive_timeout(limits.ping_timeout)
        .max_concurrent_streams(limits.max_streams)
        .initial_connection_window_size(WINDOW)
        .initial_stream_window_size(WINDOW)
        // The same the other way: what hyper takes of an answer before its client has room for it. An answer in one piece is
        // in memory anyway; what comes in many, a stream of events, is not to pile up.
        .max_send_buf_size(WINDOW as usize)
        .max_header_list_size(u32::try_from(limits.max_header_bytes).unwrap_or(u32::MAX));
    http
}

/// One connection, from its first byte to its last.
fn converse<Io, S>(
    http: &Builder<TokioExecutor>,
    stream: Io,
    service: S,
    limits: &ServeLimits,
    graceful: &GracefulShutdown,
) -> impl Future<Output = ()> + Send + use<Io, S>
where
    Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: HyperService<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send>
        + Send
        + 'static,
{
    let (stream, patience) = patience::watch(stream, limits.header_timeout);
    let noting = patience.clone();
    let service = service_fn(move |request| {
        noting.note(&request);
        service.call(request)
    });
    let mut http = http.clone();
    http.http1().timer(patience.clone());
    http.http2().timer(patience.clone());
    let connection = http.serve_connection(TokioIo::new(stream), service).into_owned();
    // In a place of its own: each future that awaits it would else keep room for it twice, 11 KB a connection in all.
    let watched = Box::pin(graceful.watch(connection));
    // A client that hangs up or sends garbage ends there; it is told by hyper, and is no fault of ours.
    async move { patience.unless_silent(watched).await }
}

#[cfg(test)]
mod tests {
    use super::*;

    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// Far more than a socket takes that asks for nothing, 128, and half of the files that a shell's default lets us open.
    const AT_ONCE: usize = 500;

    #[tokio::test]
    async fn clients_that_come_by_the_hundred_are_all_connected_before_anybody_looks() -> Result<()> {
        let listener = bind(([127, 0, 0, 1], 0).into(), "NO_ADDR")?;
        let addr = listener.local_addr()?;
        let mut clients = Vec::with_capacity(AT_ONCE);
        // A connection that the kernel turns away does not fail: it is tried again after one second, three, seven.
        for _ in 0..AT_ONCE {
            clients.push(tokio::time::timeout(Duration::from_millis(900), TcpStream::connect(addr)).await??);
        }
        Ok(())
    }

    #[tokio::test]
    async fn the_kernel_looks_after_peers_that_are_lost() -> Result<()> {
        let listener = bind(([127, 0, 0, 1], 0).into(), "NO_ADDR")?;
        notice_lost_peers(&listener, Duration::from_secs(30))?;
        let _client = TcpStream::connect(listener.local_addr()?).await?;
        let (accepted, _) = listener.accept().await?;
        let accepted = SockRef::from(&accepted);
        assert!(accepted.keepalive()?);
        assert_eq!(accepted.tcp_keepalive_time()?, LOST_AFTER);
        Ok(())
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn who_does_not_read_the_answer_gives_its_place_to_the_next() -> Result<()> {
        /// More than the kernel keeps for both ends.
        const LARGE: usize = 64 * 1024 * 1024;
        let app = axum::Router::new()
            .route("/", get(async || "here"))
            .route("/large", get(async || Body::from(vec![b'x'; LARGE])));
        let listener = bind(([127, 0, 0, 1], 0).into(), "NO_ADDR")?;
        let addr = listener.local_addr()?;
        let (unread, linger) = (Duration::from_millis(300), Duration::ZERO);
        let limits = ServeLimits { max_connections: 1, unread, linger, ..ServeLimits::default() };
        let stop = Stop::new();
        let clients = async {
            let mut first = TcpStream::connect(addr).await?;
            first.write_all(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n").await?;
            first.readable().await?;
            let mut second = TcpStream::connect(addr).await?;
            second.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await?;
            let mut answer = String::new();
            let answered = second.read_to_string(&mut answer);
            tokio::time::timeout(Duration::from_secs(20), answered).await??;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
            anyhow::Ok(())
        };
        let clients = async {
            let done = clients.await;
            stop.stop();
            done
        };
        tokio::join!(serve(listener, app, limits, stop.clone()), clients).1
    }

    #[tokio::test]
    async fn an_address_that_is_taken_says_which_setting_to_change() -> Result<()> {
        let listener = bind(([127, 0, 0, 1], 0).into(), "API_ADDR")?;
        let error = bind(listener.local_addr()?, "API_ADDR").unwrap_err().to_string();
        assert!(error.contains("is taken by another program") && error.contains("API_ADDR"), "{error}");
        Ok(())
    }
}
