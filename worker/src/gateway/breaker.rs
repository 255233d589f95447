//! The circuit breaker in front of the gateway: failsafe's state machine with what it leaves out. While it is not
//! closed, one probe at a time is let through (failsafe lets everybody through when half-open), and only that one's
//! fault opens it again; its state is kept from its own callbacks (asking it changes it); old news does not count;
//! and the loops ask here before they take work. The pace that a gateway asks for (429) is kept here, too.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use failsafe::backoff::Constant;
use failsafe::failure_policy::ConsecutiveFailures;
use failsafe::{Config, FailurePolicy, Instrument, StateMachine, backoff, failure_policy};
use tokio::sync::{Semaphore, watch};

use super::answer::{Answer, Asked};
use super::pace::Pace;

/// The breaker; clones share its state.
#[derive(Debug, Clone)]
pub struct Breaker {
    machine: StateMachine<Opens, Callbacks>,
    state: watch::Receiver<State>,
    set_up_wrongly: Arc<AtomicBool>,
    probe: Arc<Semaphore>,
    order: Arc<CallOrder>,
    pace: Pace,
}

/// Which calls began before which. Time-outs come seconds after the answers to calls that began later: when new calls
/// stop for a moment, only those time-outs still come in, one after the other, and would look like an outage that
/// begins, though the gateway answered everything since. So a fault of a call counts only while no later call has been
/// answered.
#[derive(Debug, Default)]
struct CallOrder {
    /// Calls begun so far.
    begun: AtomicU64,
    /// The last of those that were answered.
    answered: AtomicU64,
}

impl CallOrder {
    fn begin(&self) -> u64 {
        self.begun.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn answered(&self, call: u64) {
        self.answered.fetch_max(call, Ordering::Relaxed);
    }

    fn is_old_news(&self, call: u64) -> bool {
        call < self.answered.load(Ordering::Relaxed)
    }
}

/// What opens it: so many faults in a row, or a single one that says that no charge is worth trying.
#[derive(Debug)]
struct Opens {
    in_a_row: ConsecutiveFailures<Constant>,
    set_up_wrongly: Arc<AtomicBool>,
    recovery: Duration,
}

impl FailurePolicy for Opens {
    fn record_success(&mut self) {
        self.set_up_wrongly.store(false, Ordering::Relaxed);
        self.in_a_row.record_success();
    }

    fn mark_dead_on_failure(&mut self) -> Option<Duration> {
        let in_a_row = self.in_a_row.mark_dead_on_failure();
        if self.set_up_wrongly.load(Ordering::Relaxed) { Some(self.recovery) } else { in_a_row }
    }

    fn revived(&mut self) {
        self.set_up_wrongly.store(false, Ordering::Relaxed);
        self.in_a_row.revived();
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed,
    Open { until: Instant },
    HalfOpen,
}

/// How much work may be taken up now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// As much as there is room for.
    All,
    /// So many payments: the gateway takes no more now.
    Some(usize),
    /// One payment, as a probe.
    One,
    /// None: the gateway is out.
    None,
}

/// The call was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Called {
    /// What came of it.
    pub answer: Answer,
    /// Whether it was made to see if the gateway works again. Such a try spends none of its payment's budget: the
    /// outage is not the payment's.
    pub probe: bool,
}

/// The call was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rejected;

#[derive(Debug)]
struct Callbacks {
    state: watch::Sender<State>,
    recovery: Duration,
}

impl Callbacks {
    fn enter(&self, state: State, name: &'static str, gauge: f64) {
        metrics::gauge!("breaker_state").set(gauge);
        let before = self.state.send_replace(state);
        if before != state {
            metrics::counter!("breaker_moves_total", "to" => name).increment(1);
            match state {
                State::Open { .. } => {
                    tracing::warn!("the gateway fails: the breaker is open, no payment is taken up")
                }
                State::HalfOpen => tracing::info!("probing the gateway"),
                State::Closed => tracing::info!("the gateway works: the breaker is closed"),
            }
        }
    }
}

impl Instrument for Callbacks {
    fn on_call_rejected(&self) {
        metrics::counter!("breaker_rejected_total").increment(1);
    }

    fn on_open(&self) {
        self.enter(State::Open { until: Instant::now() + self.recovery }, "open", 2.0);
    }

    fn on_half_open(&self) {
        self.enter(State::HalfOpen, "half_open", 1.0);
    }

    fn on_closed(&self) {
        self.enter(State::Closed, "closed", 0.0);
    }
}

impl Breaker {
    /// A closed breaker that `threshold` outages in a row open for `recovery`, or a charge that is refused because we are set
    /// up wrongly.
    pub fn new(threshold: u32, recovery: Duration) -> Self {
        let (sender, state) = watch::channel(State::Closed);
        let set_up_wrongly = Arc::<AtomicBool>::default();
        let policy = Opens {
            in_a_row: failure_policy::consecutive_failures(threshold, backoff::constant(recovery)),
            set_up_wrongly: Arc::clone(&set_up_wrongly),
            recovery,
        };
        let callbacks = Callbacks { state: sender, recovery };
        // From the start, so that the first move is seen as one.
        metrics::gauge!("breaker_state").set(0);
        metrics::counter!("breaker_rejected_total").increment(0);
        for name in ["closed", "half_open", "open"] {
            metrics::counter!("breaker_moves_total", "to" => name).increment(0);
        }
        let machine = Config::new().failure_policy(policy).instrument(callbacks).build();
        let (probe, order) = (Arc::new(Semaphore::new(1)), Arc::default());
        Self { machine, state, set_up_wrongly, probe, order, pace: Pace::new() }
    }

    /// Waits for a turn to call; false: that would take too long. Cancel-safe.
    pub async fn turn(&self) -> bool {
        match self.pace.turn() {
            Some(Duration::ZERO) => true,
            Some(wait) => {
                tokio::time::sleep(wait).await;
                true
            }
            None => false,
        }
    }

    /// Makes the call, if it may be made. A call that is dropped half-way counts as nothing, so the time-out belongs
    /// inside `call`.
    pub async fn call(&self, call: impl Future<Output = Asked>) -> Result<Called, Rejected> {
        let probe = if *self.state.borrow() == State::Closed {
            None
        } else {
            Some(self.probe.try_acquire().map_err(|_| Rejected)?)
        };
        if !self.machine.is_call_permitted() {
            return Err(Rejected);
        }
        let number = self.order.begin();
        let asked = call.await;
        if let Ok(Answer::TooMany { retry_after, .. }) = &asked {
            self.pace.turned_away(*retry_after);
        }
        match &asked {
            Ok(_) => {
                self.order.answered(number);
                self.machine.on_success();
            }
            Err(_) if probe.is_some() => self.machine.on_error(),
            // The outage is known, or news of it is old: what began before it says nothing about now.
            Err(_) if *self.state.borrow() != State::Closed || self.order.is_old_news(number) => {}
            Err(answer) => {
                if matches!(answer, Answer::Misconfigured { stops_charges: true, .. }) {
                    self.set_up_wrongly.store(true, Ordering::Relaxed);
                }
                self.machine.on_error();
            }
        }
        let (Ok(answer) | Err(answer)) = asked;
        Ok(Called { answer, probe: probe.is_some() })
    }

    /// How much work may be taken up now.
    pub fn admits(&self) -> Admission {
        let state = *self.state.borrow();
        match state {
            State::Closed => match self.pace.room() {
                None => Admission::All,
                Some(0) => Admission::None,
                Some(room) => Admission::Some(room),
            },
            State::Open { until } if Instant::now() <= until => Admission::None,
            State::Open { .. } | State::HalfOpen if self.probe.available_permits() > 0 => Admission::One,
            State::Open { .. } | State::HalfOpen => Admission::None,
        }
    }

    /// Returns once it is closed and nobody is held back. Cancel-safe.
    pub async fn closed(&self) {
        let is_closed = |state: &State| *state == State::Closed;
        // Each may have changed while the other was waited for.
        while !is_closed(&self.state.borrow()) || self.pace.holds_back() {
            // The sender lives in the machine, which lives in `self`.
            let _ = self.state.clone().wait_for(is_closed).await;
            self.pace.free().await;
        }
    }

    /// Returns once it is not closed, or somebody is held back: then the sweep alone takes work, as much as may be.
    /// Cancel-safe.
    pub async fn opened(&self) {
        let mut state = self.state.clone();
        tokio::select! {
            _ = state.wait_for(|state| *state != State::Closed) => {}
            () = self.pace.held_back() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Long enough never to pass during a test, short enough to be waited for.
    const RECOVERY: Duration = Duration::from_millis(50);

    fn fault() -> Asked {
        Err(Answer::Voided)
    }

    fn fine() -> Asked {
        Ok(Answer::Voided)
    }

    async fn ask(breaker: &Breaker, asked: Asked) -> Result<Called, Rejected> {
        breaker.call(std::future::ready(asked)).await
    }

    #[tokio::test]
    async fn faults_in_a_row_open_it_and_an_answer_in_between_starts_the_count_anew() {
        let breaker = Breaker::new(3, Duration::from_secs(3_600));
        for asked in [fault(), fault(), fine(), fault(), fault()] {
            ask(&breaker, asked).await.unwrap();
        }
        assert_eq!(breaker.admits(), Admission::All);
        ask(&breaker, fault()).await.unwrap();
        assert_eq!(breaker.admits(), Admission::None);
        assert_eq!(ask(&breaker, fine()).await, Err(Rejected));
        breaker.opened().await;
    }

    #[tokio::test]
    async fn a_charge_refused_because_we_are_set_up_wrongly_opens_it_at_once() {
        let wrong = |stops_charges| {
            let reason = crate::gateway::Reason { code: "http_401".into(), message: String::new() };
            Err(Answer::Misconfigured { reason, stops_charges })
        };
        let breaker = Breaker::new(3, RECOVERY);
        for asked in [wrong(false), wrong(false), fine(), wrong(false)] {
            ask(&breaker, asked).await.unwrap();
        }
        assert_eq!(breaker.admits(), Admission::All, "a refund that is refused is one fault");
        ask(&breaker, wrong(true)).await.unwrap();
        assert_eq!(breaker.admits(), Admission::None);
        while breaker.admits() == Admission::None {
            tokio::task::yield_now().await;
        }
        ask(&breaker, fine()).await.unwrap();
        // Mended, it is as before.
        for _ in 0..2 {
            ask(&breaker, fault()).await.unwrap();
        }
        assert_eq!(breaker.admits(), Admission::All);
    }

    #[tokio::test]
    async fn after_the_recovery_one_probe_at_a_time_decides() {
        let breaker = Breaker::new(1, RECOVERY);
        ask(&breaker, fault()).await.unwrap();
        while breaker.admits() == Admission::None {
            tokio::task::yield_now().await;
        }
        let (answer, answered) = tokio::sync::oneshot::channel();
        let mut probe = Box::pin(breaker.call(async { answered.await.unwrap() }));
        assert!(futures_util::poll!(&mut probe).is_pending());
        assert_eq!(breaker.admits(), Admission::None, "a probe is under way");
        for _ in 0..1_000 {
            assert_eq!(ask(&breaker, fine()).await, Err(Rejected), "half-open lets nobody else through");
        }
        answer.send(fine()).unwrap();
        assert!(probe.await.unwrap().probe);
        breaker.closed().await;
        assert_eq!(breaker.admits(), Admission::All);
    }

    #[tokio::test]
    async fn time_outs_of_calls_older_than_an_answer_do_not_open_it() {
        let breaker = Breaker::new(2, Duration::from_secs(3_600));
        let slow = || {
            let (end, ended) = tokio::sync::oneshot::channel();
            (end, Box::pin(breaker.call(async { ended.await.unwrap() })))
        };
        let (mut ends, mut calls): (Vec<_>, Vec<_>) = (0..10).map(|_| slow()).unzip();
        for call in &mut calls {
            assert!(futures_util::poll!(call).is_pending());
        }
        ask(&breaker, fine()).await.unwrap();
        // Nothing else is called any more; the slow ones end in faults, one after the other.
        ends.drain(..).for_each(|end| end.send(fault()).unwrap());
        for call in calls {
            call.await.unwrap();
        }
        assert_eq!(breaker.admits(), Admission::All);
        // What begins after the last answer counts.
        for _ in 0..2 {
            ask(&breaker, fault()).await.unwrap();
        }
        assert_eq!(breaker.admits(), Admission::None);
    }

    #[tokio::test]
    async fn while_it_is_not_closed_only_the_probe_decides() {
        let breaker = Breaker::new(1, RECOVERY);
        let (end, ended) = tokio::sync::oneshot::channel();
        let mut old = Box::pin(breaker.call(async { ended.await.unwrap() }));
        assert!(futures_util::poll!(&mut old).is_pending());
        ask(&breaker, fault()).await.unwrap();
        while breaker.admits() == Admission::None {
            tokio::task::yield_now().await;
        }
        let (answer, answered) = tokio::sync::oneshot::channel();
        let mut probe = Box::pin(breaker.call(async { answered.await.unwrap() }));
        assert!(futures_util::poll!(&mut probe).is_pending());
        end.send(fault()).unwrap();
        old.await.unwrap();
        answer.send(fine()).unwrap();
        probe.await.unwrap();
        assert_eq!(breaker.admits(), Admission::All);
    }

    #[tokio::test]
    async fn a_failed_probe_opens_it_again() {
        let breaker = Breaker::new(1, RECOVERY);
        ask(&breaker, fault()).await.unwrap();
        while breaker.admits() == Admission::None {
            tokio::task::yield_now().await;
        }
        ask(&breaker, fault()).await.unwrap();
        assert_eq!(ask(&breaker, fine()).await, Err(Rejected));
    }
}
