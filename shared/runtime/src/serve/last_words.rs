//! What a client still sends when it has been answered. Who sends a body that is too large, or has no right to send it, is
//! told so before it has sent all; many clients send all before they read. If the connection were closed meanwhile, the
//! kernel would answer their next packet with a reset, and the answer would be lost with it. So what comes is read and
//! thrown away, within bounds.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Sleep, sleep};

/// How long. As long as a body may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How much, in bytes: four times the largest bodies that somebody sends by mistake.
const MOST: usize = 32 * 1024 * 1024;
/// At once.
const PIECE: usize = 8 * 1024;

/// Listens to a client that is still sending.
#[derive(Debug)]
pub(super) struct LastWords {
    until: Pin<Box<Sleep>>,
    left: usize,
}

impl LastWords {
    pub(super) fn new() -> Self {
        Self { until: Box::pin(sleep(PATIENCE)), left: MOST }
    }

    /// Ready when the client has sent all, has hung up, or has sent enough.
    pub(super) fn poll<Io: AsyncRead + Unpin>(&mut self, stream: &mut Io, cx: &mut Context<'_>) -> Poll<()> {
        if self.until.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        loop {
            let mut piece = [0; PIECE];
            let mut piece = ReadBuf::new(&mut piece);
            let read = ready!(pin!(&mut *stream).poll_read(cx, &mut piece));
            let length = piece.filled().len();
            self.left = self.left.saturating_sub(length);
            if read.is_err() || length == 0 || self.left == 0 {
                return Poll::Ready(());
            }
        }
    }
}
