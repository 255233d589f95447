//! The protocol's switches, each of which takes one safeguard away, and how much the checker is to walk through.

use crate::verb::Verb;

/// The protocol. The default is how it is; each switch leaves one thing out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Design {
    /// The client is told 202 before the commit.
    pub answer_before_commit: bool,
    /// Each try goes out under a key of its own.
    pub new_key_per_try: bool,
    /// When the budget is spent, the payment fails; the gateway is not asked.
    pub fail_without_asking: bool,
    /// When the budget is spent, the key is looked up, not voided: nothing there, and the payment fails.
    pub look_up_instead_of_void: bool,
    /// A try in doubt is taken for a success.
    pub doubt_confirms: bool,
    /// Settle and release find their payment by its id alone.
    pub no_guard: bool,
    /// Settle and release look at the payment's status, but not at its epoch.
    pub no_epoch_guard: bool,
    /// Release alone looks at the payment's status, but not at its epoch.
    pub release_unguarded: bool,
    /// Nobody looks for what is due.
    pub no_sweep: bool,
    /// A claimed payment may be claimed at any time.
    pub no_lease: bool,
    /// The claim of what is in the queue is written when its try is settled.
    pub call_before_claim: bool,
    /// Of other payments, the row of the try is.
    pub call_before_attempt_row: bool,
    /// A claim writes no row of the try that was left open.
    pub abandoned_unwritten: bool,
    /// It writes it under its own epoch.
    pub abandoned_under_new_epoch: bool,
    /// A late answer goes to the row with its number, whatever that says.
    pub late_overwrites: bool,
    /// A charge that is final stays in the queue, too.
    pub queue_row_stays: bool,
    /// A settlement writes the payment even if it took nothing out of the queue.
    pub payment_unguarded: bool,
    /// The end of an order takes its charge out of the queue, claimed or not.
    pub claimed_is_closed: bool,
    /// The message is acknowledged as soon as its payment is claimed.
    pub ack_before_settle: bool,
    /// What was not sent, or turned away, counts against the retry budget.
    pub outage_counts: bool,
    /// A request that a gateway refused because we are set up wrongly counts against the retry budget.
    pub misconfigured_counts: bool,
    /// A gateway that says that it is at it is taken to be done.
    pub pending_is_done: bool,
    /// A message that names a payment that is not new makes a new one.
    pub message_makes_payment: bool,
    /// A cancellation ends an order whose charge is under way.
    pub cancel_kills: bool,
    /// Whether a charge was ever sent is read before the cancellation's own transaction.
    pub unsent_from_snapshot: bool,
    /// A charge counts as never sent whatever its tries came to.
    pub doubt_counts_as_unsent: bool,
    /// So does one whose try a dead worker left open.
    pub abandoned_counts_as_unsent: bool,
    /// A settlement moves its order wherever that stands.
    pub settle_resurrects: bool,
    /// The end of an order leaves a payment that nobody has claimed.
    pub finish_leaves_payments: bool,
    /// Nor does it close one that is held.
    pub finish_leaves_held: bool,
    /// A wish, or an end, leaves what may be on its way to be charged again.
    pub nothing_called_off: bool,
    /// A claim takes what is held, too.
    pub held_is_claimed: bool,
    /// Nobody lets go what is held.
    pub held_forgotten: bool,
    /// What is held is let go before its order is decided.
    pub let_go_undecided: bool,
    /// What is held is let go to be charged, whatever became of its order.
    pub let_go_charges_all: bool,
    /// Who lets go fails any addition of an order that came to nothing, not only one that is held.
    pub let_go_fails_what_may_be_sent: bool,
    /// An order is paid anew while an addition is still open.
    pub pays_anew_early: bool,
    /// A settlement reads the wish before its own statement.
    pub wish_read_before: bool,
    /// A wish is answered as if it were granted.
    pub wish_told_as_done: bool,
    /// Money that comes in for a finished order is let be.
    pub late_capture_ignored: bool,
    /// A settlement reads before its own statement whether the order is finished.
    pub late_capture_from_snapshot: bool,
    /// An addition's charge decides its order like the order's own.
    pub addition_decides: bool,
    /// Of two payments of one order that are settled in one batch, what follows is looked after for one.
    pub batch_follows_one: bool,
    /// Refunds are asked for in a transaction after the move's.
    pub refund_in_second_transaction: bool,
    /// What is to be refunded was read before the move.
    pub refunds_from_snapshot: bool,
    /// A refund is asked for without a look at how much of its charge is left.
    pub refund_uncounted: bool,
    /// Each try of a refund goes out under a key of its own.
    pub new_key_per_refund: bool,
    /// A refund that is declined is done with.
    pub declined_refund_fails: bool,
    /// The sweep of deadlines moves what it has seen, whatever that has become.
    pub sweep_unguarded: bool,
    /// So does a cancellation.
    pub cancel_unguarded: bool,
    /// And whoever says that nobody came for it.
    pub no_show_unguarded: bool,
    /// A claim takes what is late, too.
    pub late_is_claimed: bool,
    /// Nobody looks for what is late.
    pub late_forgotten: bool,
    /// What waits counts as never sent when its time is over.
    pub late_counts_as_unsent: bool,
    /// An addition whose time is over ends its order.
    pub late_addition_ends_order: bool,
    /// The gateway forgets that it declined a key. Not ours to switch: what we rely on.
    pub decline_forgotten: bool,
}

impl Design {
    /// The protocol as it is.
    pub fn full() -> Self {
        Self::default()
    }
}

/// How much is walked through. Every state within it is visited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Orders, one or two.
    pub orders: u8,
    /// Faults that may strike in one run, of any kinds: a worker that dies or stops for longer than its lease, a
    /// request without an answer, a gateway or a breaker that turns away, a wrong setting, an answer that is put off, a message too many, a lost acknowledgement.
    pub faults: u8,
    /// Tries that may end in doubt before the key is voided.
    pub budget: u8,
    /// What may be asked of the first order, by [`Verb`].
    pub verbs: &'static [Verb],
    /// The orders are there to begin with, and their hints lost.
    pub durable: bool,
    /// The time of any charge may be over at any moment.
    pub late: bool,
}

impl Scope {
    /// All of them, by name.
    pub const ALL: [(&'static str, Self); 8] = [
        ("deep", Self::DEEP),
        ("wide", Self::WIDE),
        ("cancel", Self::CANCEL),
        ("deadline", Self::DEADLINE),
        ("kitchen", Self::KITCHEN),
        ("additions", Self::ADDITIONS),
        ("anew", Self::ANEW),
        ("late", Self::LATE),
    ];
    /// One order, and many faults.
    pub const DEEP: Self = Self { orders: 1, faults: 4, budget: 2, verbs: &[], durable: false, late: false };
    /// Two orders that share workers and queue, and fewer faults.
    pub const WIDE: Self = Self { orders: 2, faults: 2, budget: 1, verbs: &[], durable: false, late: false };
    /// One order that its client may cancel at any moment, and the refund that may follow.
    pub const CANCEL: Self =
        Self { orders: 1, faults: 3, budget: 1, verbs: &[Verb::Cancel], durable: false, late: false };
    /// One order whose charge may take too long, and that its client may cancel at the same moment.
    pub const DEADLINE: Self =
        Self { orders: 1, faults: 3, budget: 1, verbs: &[Verb::Cancel], durable: true, late: true };
    /// One order that the kitchen, the clock and the customer pull at.
    pub const KITCHEN: Self = Self {
        orders: 1,
        faults: 2,
        budget: 1,
        verbs: &[
            Verb::Cancel,
            Verb::Accept,
            Verb::Reject,
            Verb::Expire,
            Verb::Prepare,
            Verb::Ready,
            Verb::NoShow,
            Verb::NoShowKept,
        ],
        durable: true,
        late: false,
    };
    /// One order to which something is added, and which may be cancelled, rejected, or paid anew.
    pub const ADDITIONS: Self = Self {
        orders: 1,
        faults: 1,
        budget: 1,
        verbs: &[Verb::Cancel, Verb::Reject, Verb::Add, Verb::PayAnew],
        durable: true,
        late: false,
    };
    /// One that may be paid anew, added to, and is then taken by the kitchen or too late.
    pub const ANEW: Self = Self {
        orders: 1,
        faults: 1,
        budget: 1,
        verbs: &[Verb::Accept, Verb::Expire, Verb::Add, Verb::PayAnew],
        durable: true,
        late: false,
    };

    /// One that may be paid anew, added to and cancelled, and any of its charges may be late.
    pub const LATE: Self = Self {
        orders: 1,
        faults: 1,
        budget: 1,
        verbs: &[Verb::Cancel, Verb::Add, Verb::PayAnew],
        durable: true,
        late: true,
    };

    /// Whether this may be asked.
    pub fn asks(&self, verb: Verb) -> bool {
        self.verbs.contains(&verb)
    }
}
