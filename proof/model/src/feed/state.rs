//! What there is: transactions, ticks, who takes them, who reads, and what was read.

use super::Scope;
use crate::bits::Bits;

/// Transactions, of which a scope may have fewer.
pub const TRANSACTIONS: usize = 4;
/// Events that one of them may write.
pub const WRITES: usize = 2;
/// Subjects that events may be of.
pub const SUBJECTS: usize = 2;
/// Events, where every one of them is taken in a transaction that may be lost.
pub const EVENTS: usize = 3;
/// Events of a scope, at most.
pub const WRITTEN: usize = 4;
/// Ticks: a tick is taken when something has ended since the one before.
pub const TICKS: usize = 4;
/// Processes that would take a tick, and as many that would read: the fewest that can get in each other's way.
pub const PROCESSES: usize = 2;

/// Everything, at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// Transactions, as the scope lists them.
    pub transactions: [Transaction; TRANSACTIONS],
    /// The highest id that has been given.
    pub given: u8,
    /// The highest id whose transaction has ended.
    pub ended: u8,
    /// Committed ticks, by their number, which begins at 1.
    pub ticks: [Option<Tick>; TICKS],
    /// Who is about to write a tick: its number and its snapshot.
    pub tickers: [Option<(u8, Snapshot)>; PROCESSES],
    /// Who has a page in hand.
    pub readers: [Option<Page>; PROCESSES],
    /// As far as the feed was read.
    pub cursor: Cursor,
    /// Events that were read, by the name of each [`Event`].
    pub read: Bits,
    /// The newest version that was read of each subject.
    pub versions_read: [u8; SUBJECTS],
    /// An event was read twice. (A state does not know its past.)
    pub twice: bool,
    /// An event was read that was not the next of its subject.
    pub out_of_order: bool,
    /// Commits in the log of a primary that may be lost.
    pub log: u8,
    /// Those of a reader that keeps its cursor in the database, oldest first.
    pub takes: [Option<Take>; EVENTS],
    /// It was lost; this is the other one.
    pub lost: bool,
    /// The reader was told that where it stood is gone.
    pub told_gone: bool,
}

/// One that writes events, or nothing of interest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Transaction {
    /// How far it is.
    pub stage: Stage,
    /// From a counter, when it begins to write; 0 before.
    pub id: u8,
    /// Of each event that it has written, the version.
    pub versions: [u8; WRITES],
    /// Where its commit stands in the log.
    pub place: u8,
}

/// How far a transaction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// It has no id yet.
    New,
    /// It has one. It writes, or waits for a lock.
    Running,
    /// It is committed and no longer in the list of those that run; it still holds its locks.
    Left,
    /// Where locks go first: it is committed and holds none, and is still in the list.
    Unlocked,
    /// It is over.
    Committed,
    /// It is over, and has left nothing.
    RolledBack,
    /// It was lost with the primary.
    Lost,
}

/// What a statement sees, by the ids of who wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Snapshot {
    /// One more than the highest id that had ended.
    pub xmax: u8,
    /// Ids below it that were running.
    pub running: Bits,
}

impl Snapshot {
    /// Below it, everything had ended.
    pub fn xmin(&self) -> u8 {
        self.running.iter().next().unwrap_or(self.xmax)
    }

    /// Whether it shows what the transaction of this id wrote.
    pub const fn shows(&self, id: u8) -> bool {
        id < self.xmax && !self.running.has(id)
    }
}

/// A row that holds a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tick {
    /// What it notes.
    pub snapshot: Snapshot,
    /// Its time: it tells apart the ticks of two primaries.
    pub after_loss: bool,
    /// Where its commit stands in the log.
    pub place: u8,
}

/// A committed row of the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Which it really is, whatever its row says: the transaction's index, and which of its writes.
    pub name: u8,
    /// What it is about.
    pub subject: u8,
    /// One more than the one before of its subject.
    pub version: u8,
    /// The id of its transaction.
    pub tx: u8,
}

/// The order in which events are read. (Where there are no ticks, `tick` is 0; where ids do not matter, `id` is.)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "they say it")]
pub struct Place {
    pub tick: u8,
    pub id: u8,
    pub subject: u8,
    pub version: u8,
}

/// The last event that was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// Where.
    pub place: Place,
    /// Its transaction.
    pub tx: u8,
    /// Its tick, as it was.
    pub tick: Option<Tick>,
}

/// A page: one event, or all that several ticks hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Page {
    /// Which, in the order in which they take effect.
    pub events: [Option<Read>; WRITTEN],
    /// The cursor behind them.
    pub to: Cursor,
    /// The first of two transactions is committed, where there are two.
    pub half: bool,
}

/// An event, as a reader has it in hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "they are those of `Event`")]
pub struct Read {
    pub subject: u8,
    pub version: u8,
    pub name: u8,
}

/// A reader's commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Take {
    /// What it took.
    pub page: Page,
    /// Where it stands in the log.
    pub place: u8,
}

impl State {
    /// Nothing has happened.
    pub(super) fn new() -> Self {
        let new = Transaction { stage: Stage::New, id: 0, versions: [0; WRITES], place: 0 };
        Self {
            transactions: [new; TRANSACTIONS],
            given: 0,
            ended: 0,
            ticks: [None; TICKS],
            tickers: [None; PROCESSES],
            readers: [None; PROCESSES],
            cursor: Cursor::default(),
            read: Bits::default(),
            versions_read: [0; SUBJECTS],
            twice: false,
            out_of_order: false,
            log: 0,
            takes: [None; EVENTS],
            lost: false,
            told_gone: false,
        }
    }

    /// Where a commit stands in the log. (When nothing can be lost any more, it does not matter.)
    pub(super) fn logged(&mut self, scope: &Scope) -> u8 {
        if scope.may_lose() && !self.lost {
            self.log += 1;
        }
        self.log
    }

    /// What a statement that begins now sees.
    pub(super) fn snapshot(&self) -> Snapshot {
        let xmax = self.ended + 1;
        let running = self.transactions.iter().filter(|one| one.is_in_the_list() && one.id < xmax);
        Snapshot { xmax, running: Bits::of(running.map(|one| one.id)) }
    }

    /// What is committed, and seen to be by a statement that begins now.
    pub(super) fn events(&self, scope: &Scope) -> impl Iterator<Item = Event> {
        let committed = |one: &Transaction| matches!(one.stage, Stage::Left | Stage::Committed);
        let transactions = self.transactions.into_iter().zip(scope.transactions).zip(0..);
        transactions.filter(move |((one, _), _)| committed(one)).flat_map(|((one, subjects), index)| {
            one.versions.into_iter().zip(*subjects).zip(0..).map(move |((version, subject), write)| Event {
                name: Event::name(index, write),
                subject: *subject,
                version,
                tx: one.id,
            })
        })
    }

    /// Ticks that are there, with their numbers.
    pub(super) fn ticks(&self) -> impl Iterator<Item = (u8, Tick)> {
        (1..).zip(self.ticks).filter_map(|(number, tick)| Some((number, tick?)))
    }

    /// The tick of this number, if it is there.
    pub(super) fn tick(&self, number: u8) -> Option<Tick> {
        self.ticks().find(|(there, _)| *there == number).map(|(_, tick)| tick)
    }

    /// Whether an event is in this tick: the tick's snapshot shows it, that of the one before does not.
    pub(super) fn is_in(&self, number: u8, event: &Event) -> bool {
        let shows = |tick: Tick| tick.snapshot.shows(event.tx);
        let before = self.ticks().take_while(|(there, _)| *there < number).last();
        self.tick(number).is_some_and(shows) && !before.is_some_and(|(_, tick)| shows(tick))
    }
}

impl Transaction {
    /// Whether a snapshot that is taken now counts it among those that run.
    pub(super) const fn is_in_the_list(&self) -> bool {
        matches!(self.stage, Stage::Running | Stage::Unlocked)
    }

    /// How many events it has written.
    pub(super) fn written(&self) -> usize {
        self.versions.iter().filter(|version| **version > 0).count()
    }
}

impl Event {
    /// A number for what this transaction writes at this step.
    pub(super) fn name(transaction: u8, write: u8) -> u8 {
        transaction * WRITES as u8 + write
    }

    /// The transaction that wrote it.
    pub(super) fn writer(name: u8) -> usize {
        usize::from(name) / WRITES
    }
}
