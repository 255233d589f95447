//! How long a connection may keep us waiting. Hyper has one time-out, for the header of a request: before the first
//! byte of all it does not run yet, and between two requests it runs as if the next had begun. So it could not both cut off
//! clients that dawdle and let balancers keep their connections. Here hyper is given a timer that knows whether bytes have
//! come: what rests has the time of a resting connection, what has begun that of a header.
//!
//! It costs a request what hyper's own timer costs: one box for each header that is waited for.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use axum::body::HttpBody;
use axum::http::{Request, Version};
use hyper::body::Incoming;
use hyper::rt::{Sleep, Timer};
use hyper_util::rt::TokioTimer;
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::last_words::LastWords;

/// What is known of one connection. One task at a time touches it: the atomics are there for the types alone.
#[derive(Debug, Default)]
struct Line {
    /// Bytes of the header that hyper waits for have come.
    begun: AtomicBool,
    /// The last read brought bytes. Hyper reads on until none come, unless it has some that it does not want yet: then there
    /// are more than it has looked at, in its hands or on their way.
    more: AtomicBool,
    /// The request in hand has a body. Nobody says whether all of it has come.
    body: AtomicBool,
    /// Hyper has asked for a timer, and looks after the connection from then on.
    in_hand: AtomicBool,
}

/// `stream`, and the timer that hyper is to have for it.
pub(super) fn watch<Io>(stream: Io, header: Duration) -> (Watched<Io>, Patience) {
    let line = Arc::new(Line::default());
    (Watched { stream, line: Arc::clone(&line), last_words: None }, Patience { line, header })
}

/// The timer of one connection. For HTTP/1 hyper's `header_read_timeout` is how long it may rest.
#[derive(Debug, Clone)]
pub(super) struct Patience {
    line: Arc<Line>,
    header: Duration,
}

impl Patience {
    /// Awaits the end of `connection`, or drops it: hyper would wait for ever for as much as tells HTTP/1 from HTTP/2.
    pub(super) async fn unless_silent(&self, connection: impl Future) {
        let mut connection = pin!(connection);
        let open = tokio::time::timeout(self.header, connection.as_mut()).await.is_err();
        if open && self.line.in_hand.load(Relaxed) {
            connection.await;
        }
    }

    /// Notes what is about to be answered.
    pub(super) fn note(&self, request: &Request<Incoming>) {
        // A connection of HTTP/2 has many at once, and no need to be closed for one of them.
        if !request.body().is_end_stream() && request.version() != Version::HTTP_2 {
            self.line.body.store(true, Relaxed);
        }
    }
}

impl Timer for Patience {
    /// Asked by HTTP/2, for its pings.
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.line.in_hand.store(true, Relaxed);
        TokioTimer::new().sleep(duration)
    }

    /// Asked by HTTP/1 whenever it begins to wait for a header.
    fn sleep_until(&self, rested: Instant) -> Pin<Box<dyn Sleep>> {
        // What came before the first of them told HTTP/1 from HTTP/2, and is that header's beginning; what came on the heels of
        // the last request is the beginning of this one's.
        if self.line.in_hand.load(Relaxed) {
            self.line.begun.store(self.line.more.load(Relaxed), Relaxed);
        }
        self.line.in_hand.store(true, Relaxed);
        self.line.body.store(false, Relaxed);
        let timer = tokio::time::sleep_until(rested.into());
        Box::pin(Wait { timer, line: Arc::clone(&self.line), header: Some(self.header) })
    }

    fn now(&self) -> Instant {
        TokioTimer::new().now()
    }

    /// Asked by HTTP/2 alone: HTTP/1 has a new one for each header.
    fn reset(&self, sleep: &mut Pin<Box<dyn Sleep>>, deadline: Instant) {
        TokioTimer::new().reset(sleep, deadline);
    }
}

pin_project! {
    /// The wait for a header.
    struct Wait {
        #[pin]
        timer: tokio::time::Sleep,
        line: Arc<Line>,
        // How long it may take from its first byte on, until that has come.
        header: Option<Duration>,
    }
}

impl Sleep for Wait {}

impl Future for Wait {
    type Output = ();

    /// Hyper does so after each read that did not complete the header.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        if this.line.begun.load(Relaxed)
            && let Some(header) = this.header.take()
        {
            this.timer.as_mut().reset(tokio::time::Instant::now() + header);
        }
        this.timer.poll(cx)
    }
}

/// A stream that notes when bytes come.
#[derive(Debug)]
pub(super) struct Watched<Io> {
    stream: Io,
    line: Arc<Line>,
    last_words: Option<LastWords>,
}

impl<Io: AsyncRead + Unpin> AsyncRead for Watched<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        let more = buf.filled().len() > before;
        self.line.more.store(more, Relaxed);
        if more {
            self.line.begun.store(true, Relaxed);
        }
        read
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<Io> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Says that nothing more comes from us, and listens for a while to a client that is still sending: were the connection
    /// closed with something unread, the client would be told so at once, and could not read why.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.last_words.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
            if !this.line.more.load(Relaxed) && !this.line.body.load(Relaxed) {
                return Poll::Ready(Ok(()));
            }
        }
        let listen = this.last_words.get_or_insert_with(LastWords::new);
        listen.poll(&mut this.stream, cx).map(Ok)
    }
}

#[cfg(test)]
mod tests;
