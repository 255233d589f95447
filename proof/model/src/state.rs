//! What there is: the rows of the database, the queue, the workers, and the gateway's ledger.

use domain::order::status::OrderStatus;

use crate::bits::Bits;
use crate::verb::Verb;

/// Workers. Two are the fewest of which one can overtake the other; each stands for one payment in hand.
pub const WORKERS: usize = 2;
/// Orders, of which the second may not come to be.
pub const ORDERS: usize = 2;
/// Payments: of two orders; or of one, paid anew, with an addition, and a refund of each that can take money.
pub const PAYMENTS: usize = 5;
/// The order that is asked of.
pub const ORDER: u8 = 0;

/// Everything, at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// What clients sent.
    pub orders: [Order; ORDERS],
    /// Payments: rows of the queue or of `payments`, with what concerns them elsewhere. The first charge of an order has its index.
    pub payments: [Option<Payment>; PAYMENTS],
    /// Who works.
    pub workers: [Worker; WORKERS],
    /// What is asked of the first order, by verb.
    pub requests: [Request; Verb::ALL.len()],
    /// Faults that may still strike.
    pub faults: u8,
    /// What should never have happened, noted when it did: a state does not know its past.
    pub wrongs: Wrongs,
}

/// An order, and how far the api has come with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Order {
    /// How far the api is.
    pub api: Api,
    /// Whether the client holds a 202.
    pub told: bool,
    /// The row, as it is stored: see [`State::shown`]. `None`: there is none.
    pub status: Option<OrderStatus>,
    /// The client wishes to cancel, which is decided when the charge is.
    pub wish: bool,
    /// Somebody was told that it is cancelled.
    pub told_cancelled: bool,
    /// The kitchen was told that it took it.
    pub accepted: bool,
    /// It was rejected, by the kitchen or by the clock.
    pub rejected: bool,
    /// Charges whose money stays although it was cancelled: nobody came for it.
    pub kept: Bits,
}

/// How far the api has come with an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Api {
    /// No client ever sent it.
    Nothing,
    /// It waits for the next group commit.
    Waiting,
    /// It is committed; the api holds the hint.
    Committed,
    /// The api is done with it, or died over it.
    Left,
}

/// How far one of them is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Request {
    /// Nobody asked.
    Unasked,
    /// The order was read.
    Saw {
        /// Where it stood.
        status: OrderStatus,
        /// What a weakened protocol believes was taken.
        taken: Bits,
        /// And of what it believes that it was never sent.
        unsent: Bits,
    },
    /// A weakened protocol: the order is moved, the refunds of these are still to be asked for.
    Owes(Bits),
    /// Done, refused, or given up.
    Done,
}

/// Takes money, or gives it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The order's own charge, which decides it.
    Charge,
    /// Of what was added later: decides nothing but whether that is added.
    Addition,
    /// Gives back what this payment took.
    Refund {
        /// Which.
        of: u8,
    },
}

impl Kind {
    /// Whether it gives back.
    pub const fn is_refund(self) -> bool {
        matches!(self, Self::Refund { .. })
    }
}

/// Where a payment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names of domain::payment::PaymentStatus")]
pub enum Standing {
    Held,
    Pending,
    Processing,
    Waiting,
    Succeeded,
    Failed,
}

impl Standing {
    /// Whether nothing follows.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

/// A payment: its row, the rows of its tries, its messages, its requests, and its keys at the gateway. An order's first charge is
/// a row of the queue until it is final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Payment {
    /// Index of its order.
    pub order: u8,
    /// What it does.
    pub kind: Kind,
    /// There is a row of it in the queue.
    pub queued: bool,
    /// There is a row of it in `payments`.
    pub listed: bool,
    /// Where it stands; of the queue's row: never claimed, being tried, or waiting.
    pub standing: Standing,
    /// Of a claimed one: `due_at` has passed. The others may be due at any moment.
    pub lease_over: bool,
    /// One more with every claim.
    pub epoch: u8,
    /// Tries made.
    pub attempts: u8,
    /// Tries that count.
    pub spent: u8,
    /// Only voided from now on.
    pub voiding: bool,
    /// Its time is over.
    pub late: bool,
    /// Of a charge: what it took is asked back. The code counts the money; here it is all or nothing.
    pub refunded: bool,
    /// Rows of `payment_attempts`: the epoch of the row with each number, from 1; 0: no such row.
    pub rows: [u8; Bits::LIMIT as usize],
    /// Numbers of those rows that do not say that the gateway never looked: it may have.
    pub looked: Bits,
    /// Messages in the queue that name it.
    pub messages: u8,
    /// Epochs under which a charge (or a refund) was sent that the gateway did not turn away.
    pub sent: Bits,
    /// Epochs under which a void was sent.
    pub voids: Bits,
    /// Epochs whose request is on its way.
    pub in_flight: Bits,
    /// Keys under which money moved.
    pub taken: Bits,
    /// Keys that were declined.
    pub declined: Bits,
    /// Keys that can never move money.
    pub void: Bits,
}

impl Payment {
    /// As accept writes it: in the queue.
    pub fn queued(order: u8) -> Self {
        Self { queued: true, listed: false, ..Self::new(order, Kind::Charge) }
    }

    /// As any other is written: a refund, an addition, a charge that is paid anew.
    pub fn new(order: u8, kind: Kind) -> Self {
        Self {
            order,
            kind,
            queued: false,
            listed: true,
            standing: Standing::Pending,
            lease_over: false,
            epoch: 0,
            attempts: 0,
            spent: 0,
            voiding: false,
            late: false,
            refunded: false,
            rows: [0; Bits::LIMIT as usize],
            looked: Bits::default(),
            messages: 0,
            sent: Bits::default(),
            voids: Bits::default(),
            in_flight: Bits::default(),
            taken: Bits::default(),
            declined: Bits::default(),
            void: Bits::default(),
        }
    }

    /// The same, but to be claimed by nobody before it is let go.
    pub fn held(order: u8, kind: Kind) -> Self {
        Self { standing: Standing::Held, ..Self::new(order, kind) }
    }

    /// Whether money can still move under `key`.
    pub const fn is_open(&self, key: u8) -> bool {
        !(self.taken.has(key) || self.declined.has(key) || self.void.has(key))
    }
}

/// A worker: one place for one payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Worker {
    /// Takes the next one.
    Idle,
    /// Sees one through.
    Busy(Hand),
    /// Has settled, and not yet acknowledged the message that named this payment.
    Acking(u8),
}

/// A claim in a worker's hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hand {
    /// Which payment.
    pub payment: u8,
    /// Under which epoch.
    pub epoch: u8,
    /// Number of its try.
    pub number: u8,
    /// What is asked.
    pub ask: Ask,
    /// Tries that had counted when it was claimed.
    pub spent: u8,
    /// How far it is.
    pub step: Step,
    /// A message of this payment is to be acknowledged.
    pub message: bool,
    /// The worker was stopped for longer than its lease.
    pub overdue: bool,
    /// What a weakened settlement believes of the order, read before its own statement.
    pub saw: Saw,
}

/// What a worker read of the order when it heard the answer. The protocol as it is looks at nothing before it settles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Saw {
    /// A wish to cancel.
    pub wish: bool,
    /// It is cancelled, rejected, or its payment failed.
    pub finished: bool,
}

/// What a try asks of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names of domain::payment::AttemptAction")]
pub enum Ask {
    Charge,
    Void,
    Refund,
}

/// How far a try is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    /// The claim is committed; nothing is sent.
    Claimed,
    /// The request is on its way, or its answer is.
    Asking,
    /// To be settled.
    Heard(Answer),
    /// Settled without learning so: to be settled again.
    Unheard(Answer),
}

/// What the worker makes of an answer, or of its absence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names of worker::gateway::Answer")]
pub enum Answer {
    Done,
    Declined,
    Voided,
    Pending,
    InDoubt,
    Unavailable,
    Misconfigured,
}

/// What should never have happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Wrongs {
    /// A final payment changed, or an order that was delivered, rejected or cancelled.
    pub final_moved: bool,
    /// An order made a move that is not in the table.
    pub illegal_move: bool,
    /// A second row of a try under a number that was taken: the statement would be refused, for ever.
    pub number_taken: bool,
    /// In the same way, a second row of a payment.
    pub paid_twice: bool,
    /// A worker has committed an answer, and there was no row of its try to stand in.
    pub answer_lost: bool,
    /// The answer of one try was written into the row of another.
    pub overwritten: bool,
    /// A request left before its claim, or the row of its try, was written.
    pub unwritten: bool,
    /// A charge was claimed to be charged when its time was over.
    pub claimed_late: bool,
    /// There was no room for another payment: a weakened protocol has no bound.
    pub no_room: bool,
}
