//! How long a stream lasts, and its signs of life meanwhile.

use std::convert::Infallible;
use std::time::Duration;

use axum::response::Sse;
use axum::response::sse::{Event as Frame, KeepAlive, KeepAliveStream};
use futures_util::Stream;
use futures_util::stream::{BoxStream, StreamExt};
use runtime::tasks::Stop;
use tokio::time::{Instant, sleep_until};

/// A sign of life while nothing happens: more often than what is between us and a client forgets a silent connection.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long a stream lasts: what is between us and a client forgets those that last for ever.
const LONGEST: Duration = Duration::from_secs(15 * 60);

/// A stream that is answered with.
pub(super) type Frames = Sse<KeepAliveStream<BoxStream<'static, Result<Frame, Infallible>>>>;

/// These frames, with signs of life between them, until the process stops, whoever watches may do so no longer (`ended`), or the
/// stream has lasted long enough.
pub(super) fn until_the_end(
    stop: Stop,
    ended: impl Future<Output = ()> + Send + 'static,
    frames: impl Stream<Item = Result<Frame, Infallible>> + Send + 'static,
) -> Frames {
    let deadline = Instant::now() + LONGEST;
    let end = async move {
        let lasts = async {
            tokio::select! {
                () = ended => {}
                () = sleep_until(deadline) => {}
            }
        };
        stop.or_stopped(lasts).await;
    };
    let frames = frames.take_until(Box::pin(end)).boxed();
    Sse::new(frames).keep_alive(KeepAlive::new().interval(HEARTBEAT))
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use axum::response::IntoResponse;
    use futures_util::stream;

    use super::*;

    /// When something came of a stream that nothing happens in, and when it ended, by a clock that runs as fast as it can.
    async fn signs(
        stop: Stop,
        ended: impl Future<Output = ()> + Send + 'static,
    ) -> (Vec<Duration>, Duration) {
        let (began, mut signs) = (Instant::now(), Vec::new());
        let frames = until_the_end(stop, ended, stream::pending());
        let mut body = frames.into_response().into_body().into_data_stream();
        while let Some(bytes) = body.next().await {
            let bytes = bytes.unwrap();
            assert!(
                bytes.starts_with(b":") && bytes.ends_with(b"\n\n"),
                "a comment, and no event: {bytes:?}"
            );
            signs.push(began.elapsed());
            assert!(signs.len() < 100, "it has no end");
        }
        (signs, began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_stream_shows_every_quarter_of_a_minute_that_it_lives_and_ends_after_a_quarter_of_an_hour()
     {
        let (signs, end) = signs(Stop::new(), pending()).await;
        assert!((59..=60).contains(&signs.len()), "{}", signs.len());
        for (sign, nth) in signs.iter().zip(1..) {
            assert_eq!(sign.as_secs(), 15 * nth);
        }
        assert_eq!(end.as_secs(), 900);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_ends_with_the_right_to_watch_and_with_the_process() {
        let over = tokio::time::sleep(Duration::from_secs(40));
        let (seen, end) = signs(Stop::new(), over).await;
        assert_eq!((seen.len(), end.as_secs()), (2, 40));
        let stop = Stop::new();
        stop.stop();
        assert_eq!(signs(stop, pending()).await, (Vec::new(), Duration::ZERO));
    }
}
