//! The protocol's switches, each of which takes one safeguard away, and how much the checker is to walk through.

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
    /// Nobody looks for what is due.
    pub no_sweep: bool,
    /// A claimed payment may be claimed at any time.
    pub no_lease: bool,
    /// The attempt row is written when the try is settled.
    pub call_before_attempt_row: bool,
    /// The message is acknowledged as soon as its payment is claimed.
    pub ack_before_settle: bool,
    /// What was not sent, or turned away, counts against the retry budget.
    pub outage_counts: bool,
    /// A message that names a payment that is not new makes a new one.
    pub message_makes_payment: bool,
    /// A cancellation ends an order whose charge is under way.
    pub cancel_kills: bool,
    /// A settlement moves its order wherever that stands.
    pub settle_resurrects: bool,
    /// A cancellation of an order that is not yet claimed leaves its payment.
    pub cancel_leaves_payment: bool,
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
    /// request without an answer, a gateway or a breaker that turns away, a message too many, a lost acknowledgement.
    pub faults: u8,
    /// Tries that may end in doubt before the key is voided.
    pub budget: u8,
    /// Whether the client may cancel.
    pub cancel: bool,
}

impl Scope {
    /// All three, by name.
    pub const ALL: [(&'static str, Self); 3] =
        [("deep", Self::DEEP), ("wide", Self::WIDE), ("cancel", Self::CANCEL)];
    /// One order, and many faults.
    pub const DEEP: Self = Self { orders: 1, faults: 4, budget: 2, cancel: false };
    /// Two orders that share workers and queue, and fewer faults.
    pub const WIDE: Self = Self { orders: 2, faults: 2, budget: 1, cancel: false };
    /// One order that its client may cancel at any moment, and the refund that may follow.
    pub const CANCEL: Self = Self { orders: 1, faults: 3, budget: 1, cancel: true };
}
