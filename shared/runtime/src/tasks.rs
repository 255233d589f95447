//! Supervision in one place: a stop signal that is passed on, and a crew of named tasks of which the first to
//! end before the stop is named in the log and stops the rest. Nothing else in the workspace spawns loops.

use std::future::Future;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The runtime of a program that shares its machine with the others of the pipeline: half the cores, one at least.
/// PostgreSQL and RabbitMQ need the rest, and threads that find little to do wake each other up for it: on two cores an
/// order costs a tenth less with one thread a program than with two. `TOKIO_WORKER_THREADS` says otherwise.
///
/// And without transparent huge pages: the allocator asks for them wherever the kernel leaves that to programs, and then a
/// thread's few live objects keep two megabytes each. Without them api and worker need a quarter less, and no more time.
pub fn runtime() -> Result<Runtime> {
    crate::chaos::check();
    // Best effort: it saves memory, nothing more.
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_thp_disable(true);
    crate::files::raise_limit();
    let mut builder = Builder::new_multi_thread();
    if !crate::config::names_worker_threads() {
        builder
            .worker_threads(std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2)));
    }
    builder.enable_all().build().context("cannot start the runtime")
}

/// Says to everyone who holds a clone that it is time to finish what is in hand and return.
#[derive(Debug, Clone, Default)]
pub struct Stop(CancellationToken);

impl Stop {
    /// A signal that nobody has given yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the signal. Twice is as good as once.
    pub fn stop(&self) {
        self.0.cancel();
    }

    /// Whether the signal was given.
    pub fn is_stopped(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Returns once the signal is given.
    pub async fn stopped(&self) {
        self.0.cancelled().await;
    }

    /// A signal of its own that this one also gives: to stop a part before the whole.
    pub fn child(&self) -> Self {
        Self(self.0.child_token())
    }

    /// Runs `future` unless the signal comes first; `None` says that it did.
    pub async fn or_stopped<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        self.0.run_until_cancelled(future).await
    }
}

/// Gives `stop` on SIGINT (Ctrl-C) or SIGTERM. Signals are heard from the moment of this call; the future passes them
/// on.
pub fn stop_on_signal(stop: Stop) -> Result<impl Future<Output = Result<()>> + Send + 'static> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    Ok(async move {
        let name = tokio::select! {
            _ = interrupt.recv() => "SIGINT",
            _ = terminate.recv() => "SIGTERM",
            () = stop.stopped() => return Ok(()),
        };
        tracing::info!(signal = name, "stopping: finishing what is in hand");
        stop.stop();
        Ok(())
    })
}

/// A set of named tasks that live and stop together.
#[derive(Debug)]
pub struct Crew {
    stop: Stop,
    tasks: JoinSet<(&'static str, Result<()>)>,
}

impl Crew {
    /// An empty crew that ends when `stop` is given.
    pub fn new(stop: Stop) -> Self {
        Self { stop, tasks: JoinSet::new() }
    }

    /// Starts a task. It must return after `stop`; returning earlier ends the whole crew.
    pub fn spawn(&mut self, name: &'static str, task: impl Future<Output = Result<()>> + Send + 'static) {
        self.tasks.spawn(async move { (name, task.await) });
    }

    /// Waits for the end: of all tasks after the stop, for `grace` at most, or of the first that ends before it.
    /// A task that fails, panics or ends early is the error returned.
    pub async fn run(mut self, grace: Duration) -> Result<()> {
        let mut first_fault = None;
        tokio::select! {
            () = self.stop.stopped() => {}
            Some(ended) = self.tasks.join_next() => {
                let early = fault_of(ended).unwrap_or_else(|name| anyhow!("{name} ended before it was told to"));
                // Whoever gave the signal at the same moment is not at fault.
                if !self.stop.is_stopped() {
                    tracing::error!(error = format!("{early:#}"), "a task ended; stopping the rest");
                    first_fault = Some(early);
                }
                self.stop.stop();
            }
        }
        let finish = async {
            while let Some(ended) = self.tasks.join_next().await {
                if let Ok(fault) = fault_of(ended) {
                    tracing::error!(error = format!("{fault:#}"), "a task failed while stopping");
                    first_fault.get_or_insert(fault);
                }
            }
        };
        if tokio::time::timeout(grace, finish).await.is_err() {
            tracing::warn!(
                seconds = grace.as_secs(),
                tasks = self.tasks.len(),
                "not everything ended in time; what was in hand is taken up again when its lease runs out"
            );
        }
        first_fault.map_or(Ok(()), Err)
    }
}

/// The fault of a task that ended, or its name if it ended well.
fn fault_of(
    ended: std::result::Result<(&'static str, Result<()>), tokio::task::JoinError>,
) -> std::result::Result<anyhow::Error, &'static str> {
    match ended {
        Ok((name, Ok(()))) => Err(name),
        Ok((name, Err(error))) => Ok(error.context(format!("{name} failed"))),
        Err(join) => Ok(anyhow!(join).context("a task panicked")),
    }
}

/// Runs `work` to its end even if the caller is dropped half-way. A handler's future is dropped when its client
/// hangs up; a database call that is dropped with it can leave an open transaction in the pool, and the next
/// borrower's writes vanish. Reads go through here; writes go to a writer that owns its connection.
pub async fn uncancelled<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Result<T> {
    #[expect(clippy::disallowed_methods, reason = "awaited right here; only its cancellation is cut off")]
    let task = tokio::spawn(work);
    task.await.context("the work behind this request panicked")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_task_to_end_early_stops_the_rest_and_is_named() {
        let stop = Stop::new();
        let mut crew = Crew::new(stop.clone());
        let waiting = stop.clone();
        crew.spawn("patient", async move {
            waiting.stopped().await;
            Ok(())
        });
        crew.spawn("hasty", async { Err(anyhow!("lost the queue")) });
        let fault = crew.run(Duration::from_secs(5)).await.unwrap_err();
        assert_eq!(format!("{fault:#}"), "hasty failed: lost the queue");
        assert!(stop.is_stopped());
    }

    #[tokio::test]
    async fn a_stop_lets_everyone_finish() {
        let stop = Stop::new();
        let mut crew = Crew::new(stop.clone());
        let waiting = stop.clone();
        crew.spawn("patient", async move {
            waiting.stopped().await;
            Ok(())
        });
        stop.stop();
        crew.run(Duration::from_secs(5)).await.unwrap();
    }
}
