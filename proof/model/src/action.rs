//! What can happen, by the code's own verbs.

use crate::bits::Bits;
use crate::verb::Verb;

/// One step. Workers, orders and payments are named by their index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A group commit makes these orders durable, each with its payment.
    Accept {
        /// Which of those that wait.
        orders: Bits,
    },
    /// The client gets its 202.
    Tell {
        /// Whose.
        order: u8,
    },
    /// The hint reaches the queue.
    Publish {
        /// Of which order.
        order: u8,
    },
    /// The api dies, and what it held in memory with it.
    CrashApi,
    /// A message too many: redelivered, published twice, late or forged.
    Forge {
        /// Which it names.
        payment: u8,
    },
    /// A message is gone without effect: the broker lost it, or it found nothing to claim and was acknowledged.
    Drop {
        /// Which it named.
        payment: u8,
    },
    /// A worker takes a message and claims its payment.
    Claim {
        /// Who.
        worker: u8,
        /// What.
        payment: u8,
    },
    /// A worker claims what is due, straight from the database.
    Sweep {
        /// Who.
        worker: u8,
        /// What.
        payment: u8,
    },
    /// The sweep lets a held payment go, because its order is decided.
    LetGo {
        /// What.
        payment: u8,
    },
    /// The time that a charge has is over.
    TimeOver {
        /// Of which payment.
        payment: u8,
    },
    /// The sweep calls it off for that.
    CallOff {
        /// What.
        payment: u8,
    },
    /// A lease runs out: its worker is dead, or (a fault) stopped.
    Expire {
        /// Of which payment.
        payment: u8,
    },
    /// A worker sends a charge.
    Charge {
        /// Who.
        worker: u8,
    },
    /// A worker sends a void.
    Void {
        /// Who.
        worker: u8,
    },
    /// A worker sends a refund.
    Refund {
        /// Who.
        worker: u8,
    },
    /// A request reaches the gateway; if its worker still waits, it hears the answer.
    Land {
        /// Of which payment.
        payment: u8,
        /// Sent under which epoch.
        epoch: u8,
        /// What the bank says, should it be asked.
        approve: bool,
    },
    /// A worker gives up waiting: the request, or its answer, is lost or late or unreadable. It may land yet.
    TimeOut {
        /// Who.
        worker: u8,
    },
    /// The gateway turns the request away unseen.
    Refuse {
        /// Who hears it.
        worker: u8,
    },
    /// It does so because we are set up wrongly: with a key that is no longer good, at an address that is no longer there.
    Misconfigure {
        /// Who hears it.
        worker: u8,
    },
    /// The gateway has the request and says that it is at it. It may land yet.
    Postpone {
        /// Who hears it.
        worker: u8,
    },
    /// The breaker is open, or the lease nearly over: the claim is given back, nothing was sent.
    Release {
        /// Who.
        worker: u8,
    },
    /// A worker commits what it heard.
    Settle {
        /// Who.
        worker: u8,
        /// Whether it learns so. If not, it settles again.
        heard: bool,
    },
    /// A weakened protocol commits two payments of one order in one batch, and looks after one of them.
    SettleBoth {
        /// Whose payment is followed up.
        worker: u8,
    },
    /// A worker acknowledges its message.
    Ack {
        /// Who.
        worker: u8,
    },
    /// A worker dies. Its message comes again; its request may be on its way. Another starts in its place.
    Crash {
        /// Who.
        worker: u8,
    },
    /// Someone asks something of the first order, and it is read.
    Ask {
        /// What.
        verb: Verb,
    },
    /// It is decided, in one transaction; or the order is read again, because it has moved.
    Decide {
        /// What was asked.
        verb: Verb,
    },
    /// A weakened protocol asks for refunds in a transaction of their own.
    Owe {
        /// What was asked.
        verb: Verb,
    },
    /// Its process dies before that.
    Forget {
        /// What was asked.
        verb: Verb,
    },
}
