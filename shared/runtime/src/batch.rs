//! Group commit: commands gather while the last batch is being written; a lane takes all that are there, writes
//! them at once, and answers each caller. No delay is added: a lone command leaves at once, as a batch of one.
//!
//! The connection belongs to the lane, so that nobody's hanging up can cut a write short: a caller that goes away
//! before its batch begins is passed over, a later one takes only its answer with it.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, oneshot};

/// Why a command was not taken, or got no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// As many wait as may wait. Nothing was done.
    #[error("too many wait already")]
    Full,
    /// The lanes have stopped. Whether the command was carried out is unknown.
    #[error("the writers have stopped")]
    Stopped,
    /// There was no answer in time. Whether the command is carried out is unknown.
    #[error("no answer in time")]
    Late,
}

/// What is given back when a command is answered or given up, whoever waits for it: room in memory, say.
pub type Held = Option<Box<dyn Any + Send + Sync>>;

struct Command<C, A> {
    command: C,
    caller: Caller<A>,
}

/// Whoever waits for an answer, and what is held for as long.
#[derive(Debug)]
struct Caller<A> {
    answer: oneshot::Sender<A>,
    _held: Held,
}

/// Where commands are handed in. Lanes end when the last one is dropped and all that was handed in is done.
#[derive(Debug)]
pub struct Desk<C, A>(mpsc::Sender<Command<C, A>>);

/// Where a lane takes its batches from; clones share one queue.
#[derive(Debug)]
pub struct Lane<C, A> {
    queue: Arc<Mutex<mpsc::Receiver<Command<C, A>>>>,
    max_batch: usize,
}

/// A desk that lets `capacity` commands wait, and a lane that takes up to `max_batch` of them at once.
pub fn desk<C, A>(capacity: usize, max_batch: usize) -> (Desk<C, A>, Lane<C, A>) {
    let (sender, receiver) = mpsc::channel(capacity);
    (Desk(sender), Lane { queue: Arc::new(Mutex::new(receiver)), max_batch })
}

impl<C, A> Clone for Desk<C, A> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<C, A> Clone for Lane<C, A> {
    fn clone(&self) -> Self {
        Self { queue: Arc::clone(&self.queue), max_batch: self.max_batch }
    }
}

impl<C, A> Desk<C, A> {
    /// Hands in a command and awaits its answer; refused at once where too many wait already.
    pub async fn offer(&self, command: C) -> Result<A, NotTaken> {
        self.offer_holding(command, None).await
    }

    async fn offer_holding(&self, command: C, held: Held) -> Result<A, NotTaken> {
        let (answer, answered) = oneshot::channel();
        let caller = Caller { answer, _held: held };
        self.0.try_send(Command { command, caller }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => NotTaken::Full,
            mpsc::error::TrySendError::Closed(_) => NotTaken::Stopped,
        })?;
        answered.await.map_err(|_| NotTaken::Stopped)
    }

    /// The same, for as long as a client waits. `held` is let go only with the command: a client that hangs up leaves that
    /// behind.
    pub async fn ask(&self, command: C, held: Held, within: Duration) -> Result<A, NotTaken> {
        let answer = self.offer_holding(command, held);
        tokio::time::timeout(within, answer).await.unwrap_or(Err(NotTaken::Late))
    }

    /// How many commands wait to be taken.
    pub fn waiting(&self) -> usize {
        self.0.max_capacity() - self.0.capacity()
    }

    /// Hands in a command, waiting for a place if need be, and awaits its answer.
    pub async fn submit(&self, command: C) -> Result<A, NotTaken> {
        let (answer, answered) = oneshot::channel();
        let caller = Caller { answer, _held: None };
        self.0.send(Command { command, caller }).await.map_err(|_| NotTaken::Stopped)?;
        answered.await.map_err(|_| NotTaken::Stopped)
    }
}

/// Commands to be carried out together.
#[derive(Debug)]
pub struct Batch<C, A> {
    /// The commands, in the order in which they came.
    pub commands: Vec<C>,
    callers: Vec<Caller<A>>,
}

impl<C, A> Lane<C, A> {
    /// The next batch; waits for a first command, then takes what is there. `None`: all desks are gone.
    pub async fn collect(&self) -> Option<Batch<C, A>> {
        let mut taken = Vec::new();
        while taken.is_empty() {
            if self.queue.lock().await.recv_many(&mut taken, self.max_batch).await == 0 {
                return None;
            }
            // Whoever was told 503 meanwhile, or hung up, should not find the command carried out.
            taken.retain(|one| !one.caller.answer.is_closed());
        }
        let (commands, callers) = taken.into_iter().map(|one| (one.command, one.caller)).unzip();
        Some(Batch { commands, callers })
    }
}

impl<C, A> Batch<C, A> {
    /// Whether anybody waits for an answer still. Whoever was told 503 should not find the command carried out.
    pub fn is_awaited(&self) -> bool {
        self.callers.iter().any(|caller| !caller.answer.is_closed())
    }

    /// Each command by itself, in the order in which they came.
    pub fn one_by_one(self) -> impl Iterator<Item = Self> {
        let all = self.commands.into_iter().zip(self.callers);
        all.map(|(command, caller)| Self { commands: vec![command], callers: vec![caller] })
    }

    /// Those that may be carried out together, and the others.
    pub fn part(self, is_other: impl Fn(&C) -> bool) -> (Self, Self) {
        let all = self.commands.into_iter().zip(self.callers);
        let (others, together): (Vec<_>, Vec<_>) = all.partition(|(command, _)| is_other(command));
        let of = |all: Vec<(C, Caller<A>)>| {
            let (commands, callers) = all.into_iter().unzip();
            Self { commands, callers }
        };
        (of(together), of(others))
    }

    /// Gives each caller its answer, in the order of the commands, where there is one. The others come back, each as a batch of
    /// its own.
    pub fn answer_some(self, answers: Vec<Option<A>>) -> Vec<Self> {
        debug_assert_eq!(answers.len(), self.callers.len(), "a place for each command");
        let mut open = Vec::new();
        for ((command, caller), answer) in self.commands.into_iter().zip(self.callers).zip(answers) {
            match answer {
                Some(answer) => drop(caller.answer.send(answer)),
                None => open.push(Self { commands: vec![command], callers: vec![caller] }),
            }
        }
        open
    }

    /// Gives each caller its answer, in the order of the commands.
    pub fn answer(self, answers: Vec<A>) {
        self.answer_with(answers, |_, answer| answer);
    }

    /// The same, each made of its command and of what became of it.
    pub fn answer_with<B>(self, became: Vec<B>, answer: impl Fn(C, B) -> A) {
        debug_assert_eq!(became.len(), self.callers.len(), "an answer for each command");
        for ((command, caller), became) in self.commands.into_iter().zip(self.callers).zip(became) {
            // A caller that is gone needs no answer.
            let _ = caller.answer.send(answer(command, became));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_waits_is_taken_together_and_everyone_gets_their_own_answer() {
        let (desk, lane) = desk::<u32, u32>(3, 2);
        let callers = (1..=3).map(|n| {
            let desk = desk.clone();
            async move { desk.offer(n).await }
        });
        let work = async {
            let mut sizes = Vec::new();
            while let Some(batch) = lane.collect().await {
                sizes.push(batch.commands.len());
                let answers = batch.commands.iter().map(|n| n * 10).collect();
                batch.answer(answers);
            }
            sizes
        };
        let ask = futures_util::future::join_all(callers);
        drop(desk);
        let (answers, sizes) = tokio::join!(ask, work);
        assert_eq!(answers, [Ok(10), Ok(20), Ok(30)]);
        assert_eq!(sizes.iter().sum::<usize>(), 3);
        assert!(sizes.iter().all(|size| *size <= 2));
    }

    #[tokio::test]
    async fn a_full_desk_refuses_at_once_and_a_stopped_one_says_so() {
        let (desk, lane) = desk::<u32, u32>(1, 8);
        let mut first = Box::pin(desk.offer(1));
        assert!(futures_util::poll!(&mut first).is_pending());
        assert_eq!(desk.offer(2).await, Err(NotTaken::Full));
        assert_eq!(desk.ask(2, None, Duration::from_secs(60)).await, Err(NotTaken::Full));
        drop(lane);
        assert_eq!(first.await, Err(NotTaken::Stopped));
    }

    #[tokio::test]
    async fn who_waited_long_enough_is_told_that_nobody_knows() {
        let (desk, _lane) = desk::<u32, u32>(1, 8);
        assert_eq!(desk.ask(1, None, Duration::from_millis(1)).await, Err(NotTaken::Late));
    }

    #[tokio::test]
    async fn what_is_held_for_a_command_is_held_until_it_is_answered_or_given_up() {
        let (desk, lane) = desk::<u32, u32>(8, 8);
        let room = Arc::new(());
        let ask = |n: u32| Box::pin(desk.ask(n, Some(Box::new(Arc::clone(&room))), Duration::from_secs(60)));
        let mut callers: Vec<_> = (1..=2).map(ask).collect();
        for caller in &mut callers {
            assert!(futures_util::poll!(caller).is_pending());
        }
        drop(callers.remove(0));
        assert_eq!(Arc::strong_count(&room), 3, "its command is still in the queue");
        let batch = lane.collect().await.unwrap();
        assert_eq!(Arc::strong_count(&room), 2, "that of the one who waits");
        drop(callers.remove(0));
        assert_eq!(Arc::strong_count(&room), 2, "its command is being carried out");
        batch.answer(vec![20]);
        assert_eq!(Arc::strong_count(&room), 1);
    }

    #[tokio::test]
    async fn who_has_no_answer_yet_is_answered_later() {
        let (desk, lane) = desk::<u32, u32>(8, 8);
        let mut callers: Vec<_> = (1..=3).map(|n| Box::pin(desk.offer(n))).collect();
        for caller in &mut callers {
            assert!(futures_util::poll!(caller).is_pending());
        }
        let open = lane.collect().await.unwrap().answer_some(vec![Some(10), None, Some(30)]);
        assert_eq!(open.iter().map(|one| one.commands[0]).collect::<Vec<_>>(), [2]);
        assert_eq!((callers.pop().unwrap().await, callers.remove(0).await), (Ok(30), Ok(10)));
        open.into_iter().for_each(|one| one.answer(vec![20]));
        assert_eq!(callers.remove(0).await, Ok(20));
    }

    #[tokio::test]
    async fn a_caller_that_goes_away_disturbs_nobody() {
        let (desk, lane) = desk::<u32, u32>(8, 8);
        let mut callers: Vec<_> = (1..=3).map(|n| Box::pin(desk.offer(n))).collect();
        for caller in &mut callers {
            assert!(futures_util::poll!(caller).is_pending());
        }
        drop(callers.remove(0));
        let batch = lane.collect().await.unwrap();
        assert_eq!(batch.commands, [2, 3], "who left before the batch began is passed over");
        drop(callers.remove(0));
        batch.answer(vec![20, 30]);
        assert_eq!(callers.remove(0).await, Ok(30));
    }
}
