//! A sixth model, of orders for later. Until its time comes the charge of such an order is held, a payment that nobody claims; then a
//! sweep lets it go, and with it the order becomes `PAYMENT_PROCESSING`, as one that is paid anew. Meanwhile messages name it (they may
//! be forged), the customer cancels, the clock runs. Whoever lets go, cancels or calls off looks, and decides in a transaction of
//! their own; what they decide by is read again under the locks, unless a weakening says otherwise.
//!
//! One that nothing is charged for is `CONFIRMED` from the start; its kitchen's deadline counts from its time.

use std::fmt;

use domain::order::status::OrderStatus;
use stateright::{Model, Property};

/// The protocol, with one thing left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Design {
    /// A claim takes what is held.
    pub held_is_claimed: bool,
    /// It is pending from the start, and due far ahead: a date that does for a status.
    pub due_far_ahead: bool,
    /// Who lets go minds no time.
    pub let_go_early: bool,
    /// Who lets go minds what was held before the locks.
    pub let_go_by_snapshot: bool,
    /// Nobody lets go.
    pub let_go_forgotten: bool,
    /// Who lets a charge go leaves its order `PENDING`.
    pub let_go_leaves_order: bool,
    /// Who cancels minds where the charge stood before the locks.
    pub cancels_by_snapshot: bool,
    /// A cancellation of what is held is a wish.
    pub cancel_waits_for_its_time: bool,
    /// The time that a charge has counts from when its order came in.
    pub time_runs_while_held: bool,
    /// So does the kitchen's.
    pub deadline_runs_from_the_start: bool,
}

/// Who comes. All but the kitchen and the clock look first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "what they do is their name")]
pub enum Step {
    ItsTimeComes,
    LetGo,
    LetGoAgain,
    Cancel,
    /// A message or a sweep.
    Claim,
    Charged,
    Declined,
    /// The gateway did not look.
    TurnedAway,
    TimeIsOver,
    CallOff,
    KitchenTakes,
    KitchenIsLate,
}

const ALL: [Step; 12] = [
    Step::ItsTimeComes,
    Step::LetGo,
    Step::LetGoAgain,
    Step::Cancel,
    Step::Claim,
    Step::Charged,
    Step::Declined,
    Step::TurnedAway,
    Step::TimeIsOver,
    Step::CallOff,
    Step::KitchenTakes,
    Step::KitchenIsLate,
];

/// Where the charge stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Charge {
    Held,
    Pending,
    Claimed,
    /// Tried, and never looked at.
    Waiting,
    Succeeded,
    Failed,
    /// There is none: it was paid elsewhere.
    Elsewhere,
}

/// How far somebody who looks first has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Asked {
    Unasked,
    Saw(Charge),
    Done,
}

/// How things stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    status: OrderStatus,
    charge: Charge,
    its_time: bool,
    is_late: bool,
    wished: bool,
    refunded: bool,
    /// Times that it was turned away: bounded.
    tries: u8,
    let_go: [Asked; 2],
    cancel: Asked,
    call_off: Asked,
    /// What must never be.
    sent_early: bool,
    rejected_early: bool,
    ran_out_held: bool,
    closed_in_hand: bool,
    cancel_is_open: bool,
    illegal: bool,
}

/// The model.
#[derive(Clone, Copy, Debug)]
pub struct ForLater {
    /// How it is done.
    pub design: Design,
    /// Its channel took the money.
    pub elsewhere: bool,
}

/// No gateway is asked before its time.
pub const NOT_BEFORE: &str = "nothing is sent before its time";
/// Nor does anybody count the kitchen's time.
pub const KITCHENS_TIME: &str = "no kitchen is late before its time";
/// Nor that of the charge.
pub const HELD_HAS_TIME: &str = "what is held does not run out";
/// A cancellation of what is held is done when it is answered.
pub const ENDS_AT_ONCE: &str = "what is held is cancelled at once";
/// What is closed was never in a worker's hand.
pub const CLOSED_UNSENT: &str = "closed was never sent";
/// Orders and charges move as the tables allow.
pub const LEGAL: &str = "moves are legal";
/// Nothing is left waiting.
pub const ENDS: &str = "accepted ends";
/// Money is kept for what is made, and for nothing else.
pub const PAID: &str = "what was taken is paid for or goes back";

/// Each with the promise that falls.
pub fn weakenings() -> Vec<(&'static str, ForLater, &'static str)> {
    let of = |design| ForLater { design, elsewhere: false };
    let full = Design::default();
    vec![
        ("held_is_claimed_for_later", of(Design { held_is_claimed: true, ..full }), NOT_BEFORE),
        ("due_far_ahead", of(Design { due_far_ahead: true, ..full }), NOT_BEFORE),
        ("let_go_early", of(Design { let_go_early: true, ..full }), NOT_BEFORE),
        ("let_go_by_snapshot", of(Design { let_go_by_snapshot: true, ..full }), LEGAL),
        ("let_go_forgotten", of(Design { let_go_forgotten: true, ..full }), ENDS),
        ("let_go_leaves_order", of(Design { let_go_leaves_order: true, ..full }), ENDS),
        ("cancels_held_by_snapshot", of(Design { cancels_by_snapshot: true, ..full }), CLOSED_UNSENT),
        ("cancel_waits_for_its_time", of(Design { cancel_waits_for_its_time: true, ..full }), ENDS_AT_ONCE),
        ("time_runs_while_held", of(Design { time_runs_while_held: true, ..full }), HELD_HAS_TIME),
        (
            "deadline_runs_from_the_start",
            ForLater { design: Design { deadline_runs_from_the_start: true, ..full }, elsewhere: true },
            KITCHENS_TIME,
        ),
    ]
}

impl Charge {
    const fn may_become(self, to: Self) -> bool {
        match self {
            Self::Held => matches!(to, Self::Pending | Self::Failed),
            Self::Pending | Self::Waiting => matches!(to, Self::Claimed | Self::Failed),
            Self::Claimed => matches!(to, Self::Waiting | Self::Succeeded | Self::Failed),
            Self::Succeeded | Self::Failed | Self::Elsewhere => false,
        }
    }
}

impl State {
    fn move_order(&mut self, to: OrderStatus) {
        self.illegal |= !self.status.may_become(to);
        self.status = to;
    }

    fn move_charge(&mut self, to: Charge) {
        self.illegal |= !self.charge.may_become(to);
        self.charge = to;
    }

    fn has_ended(&self) -> bool {
        matches!(self.status, OrderStatus::Cancelled | OrderStatus::Rejected | OrderStatus::PaymentFailed)
    }

    /// As `finish` of the first model: what was never sent is closed, what was taken goes back.
    fn end(&mut self, to: OrderStatus, charge: Charge) {
        match charge {
            Charge::Held | Charge::Pending | Charge::Waiting => {
                self.closed_in_hand |= matches!(self.charge, Charge::Claimed | Charge::Succeeded);
                self.move_charge(Charge::Failed);
            }
            Charge::Succeeded => self.refunded = true,
            Charge::Claimed | Charge::Failed | Charge::Elsewhere => {}
        }
        self.move_order(to);
    }

    /// What was said by the gateway, on the road of what is paid anew: it moves an order that waits for it.
    fn settle(&mut self, charged: bool) {
        self.move_charge(if charged { Charge::Succeeded } else { Charge::Failed });
        if self.status != OrderStatus::PaymentProcessing {
            self.refunded |= charged;
            return;
        }
        self.refunded |= charged && self.wished;
        self.move_order(match (self.wished, charged) {
            (true, _) => OrderStatus::Cancelled,
            (false, true) => OrderStatus::Confirmed,
            (false, false) => OrderStatus::PaymentFailed,
        });
    }

    fn let_go(&mut self, design: &Design) {
        self.move_charge(Charge::Pending);
        if !design.let_go_leaves_order {
            self.move_order(OrderStatus::PaymentProcessing);
        }
    }

    /// By where the charge stands; the order is read under its lock in any case.
    fn cancel(&mut self, design: &Design, charge: Charge) {
        use OrderStatus::{Accepted, Confirmed, PaymentProcessing, Pending};
        let held = charge == Charge::Held;
        match self.status {
            Pending | PaymentProcessing if held && design.cancel_waits_for_its_time => {
                self.wished = true;
                self.cancel_is_open = true;
            }
            Pending | PaymentProcessing if charge == Charge::Claimed => self.wished = true,
            Pending | PaymentProcessing | Confirmed | Accepted => self.end(OrderStatus::Cancelled, charge),
            _ => {}
        }
    }

    fn asked(&mut self, step: Step) -> Option<&mut Asked> {
        match step {
            Step::LetGo => Some(&mut self.let_go[0]),
            Step::LetGoAgain => Some(&mut self.let_go[1]),
            Step::Cancel => Some(&mut self.cancel),
            Step::CallOff => Some(&mut self.call_off),
            _ => None,
        }
    }
}

impl ForLater {
    /// Whether there is anything for them to do, or somebody who looked is about to.
    fn may(&self, state: &State, step: Step) -> bool {
        let (design, charge) = (&self.design, state.charge);
        let mut asked = *state;
        match asked.asked(step) {
            Some(Asked::Saw(_)) => return true,
            Some(Asked::Done) => return false,
            Some(Asked::Unasked) | None => {}
        }
        match step {
            Step::ItsTimeComes => !state.its_time,
            Step::LetGo | Step::LetGoAgain => {
                let now = state.its_time || design.let_go_early;
                charge == Charge::Held && now && !design.let_go_forgotten
            }
            Step::Cancel => !state.has_ended(),
            Step::Claim => match charge {
                Charge::Pending | Charge::Waiting => !state.is_late,
                Charge::Held => design.held_is_claimed,
                _ => false,
            },
            Step::Charged | Step::Declined => charge == Charge::Claimed,
            Step::TurnedAway => charge == Charge::Claimed && state.tries < 1,
            Step::TimeIsOver => {
                let runs = match charge {
                    Charge::Held => design.time_runs_while_held,
                    charge => matches!(charge, Charge::Pending | Charge::Claimed | Charge::Waiting),
                };
                runs && !state.is_late
            }
            Step::CallOff => {
                let unsent = matches!(charge, Charge::Pending | Charge::Waiting)
                    || (charge == Charge::Held && design.time_runs_while_held);
                state.is_late && unsent
            }
            Step::KitchenTakes => state.status == OrderStatus::Confirmed,
            Step::KitchenIsLate => {
                let runs = state.its_time || design.deadline_runs_from_the_start;
                state.status == OrderStatus::Confirmed && runs
            }
        }
    }

    /// What whoever looked does, by what they saw or by what stands there now.
    fn decide(&self, state: &mut State, step: Step, saw: Charge) {
        let design = &self.design;
        match step {
            Step::LetGo | Step::LetGoAgain => {
                let seen = if design.let_go_by_snapshot { saw } else { state.charge };
                if seen == Charge::Held {
                    state.let_go(design);
                }
            }
            Step::Cancel => {
                let seen = if design.cancels_by_snapshot { saw } else { state.charge };
                state.cancel(design, seen);
            }
            _ => {
                let charge = state.charge;
                if matches!(charge, Charge::Pending | Charge::Waiting | Charge::Held) {
                    state.ran_out_held |= charge == Charge::Held;
                    let to = if state.wished { OrderStatus::Cancelled } else { OrderStatus::PaymentFailed };
                    if state.status == OrderStatus::Pending {
                        state.move_order(OrderStatus::PaymentProcessing);
                    }
                    state.end(to, charge);
                }
            }
        }
    }
}

impl Model for ForLater {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let (status, charge) = match (self.elsewhere, self.design.due_far_ahead) {
            (true, _) => (OrderStatus::Confirmed, Charge::Elsewhere),
            (false, true) => (OrderStatus::Pending, Charge::Pending),
            (false, false) => (OrderStatus::Pending, Charge::Held),
        };
        vec![State {
            status,
            charge,
            its_time: false,
            is_late: false,
            wished: false,
            refunded: false,
            tries: 0,
            let_go: [Asked::Unasked; 2],
            cancel: Asked::Unasked,
            call_off: Asked::Unasked,
            sent_early: false,
            rejected_early: false,
            ran_out_held: false,
            closed_in_hand: false,
            cancel_is_open: false,
            illegal: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Step>) {
        actions.extend(ALL.into_iter().filter(|step| self.may(state, *step)));
    }

    fn next_state(&self, before: &State, step: Step) -> Option<State> {
        let mut after = *before;
        let charge = before.charge;
        if let Some(asked) = after.asked(step) {
            let saw = *asked;
            *asked = if saw == Asked::Unasked { Asked::Saw(charge) } else { Asked::Done };
            if let Asked::Saw(saw) = saw {
                self.decide(&mut after, step, saw);
            }
            return Some(after);
        }
        match step {
            Step::ItsTimeComes => after.its_time = true,
            Step::Claim => {
                // Of a charge that was held only a weakened claim takes it so.
                after.charge = Charge::Claimed;
                after.sent_early |= !before.its_time;
                if before.status == OrderStatus::Pending && charge != Charge::Held {
                    // As the claim of any charge in the queue is shown.
                    let shown = self.design.due_far_ahead;
                    after.status = if shown { OrderStatus::PaymentProcessing } else { before.status };
                }
            }
            Step::Charged => after.settle(true),
            Step::Declined => after.settle(false),
            Step::TurnedAway => {
                after.tries += 1;
                after.move_charge(Charge::Waiting);
                if after.wished {
                    after.end(OrderStatus::Cancelled, Charge::Waiting);
                }
            }
            Step::TimeIsOver => after.is_late = true,
            Step::KitchenTakes => after.move_order(OrderStatus::Accepted),
            Step::KitchenIsLate => {
                after.rejected_early |= !before.its_time;
                after.end(OrderStatus::Rejected, charge);
            }
            Step::LetGo | Step::LetGoAgain | Step::Cancel | Step::CallOff => {}
        }
        Some(after)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always(NOT_BEFORE, |_: &Self, state: &State| !state.sent_early),
            Property::always(KITCHENS_TIME, |_, state: &State| !state.rejected_early),
            Property::always(HELD_HAS_TIME, |_, state: &State| !state.ran_out_held),
            Property::always(ENDS_AT_ONCE, |_, state: &State| !state.cancel_is_open),
            Property::always(CLOSED_UNSENT, |_, state: &State| !state.closed_in_hand),
            Property::always(LEGAL, |_, state: &State| !state.illegal),
            Property::always(ENDS, |model: &Self, state: &State| {
                let waits = matches!(state.status, OrderStatus::Pending | OrderStatus::PaymentProcessing);
                // What is done of itself, without anybody's luck or wish.
                let goes_on = [Step::ItsTimeComes, Step::LetGo, Step::Claim, Step::Charged, Step::CallOff];
                !waits || goes_on.into_iter().any(|step| model.may(state, step))
            }),
            Property::always(PAID, |_, state: &State| {
                state.charge != Charge::Succeeded || state.refunded == state.has_ended()
            }),
        ];
        if self.design == Design::default() {
            let seen = |name, status: fn(&Self, &State) -> bool| Property::sometimes(name, status);
            properties.push(seen("taken", |_, state| state.status == OrderStatus::Accepted));
            properties
                .push(seen("too late for the kitchen", |_, state| state.status == OrderStatus::Rejected));
            properties.push(seen("cancelled before its time", |_, state| {
                state.status == OrderStatus::Cancelled && !state.its_time
            }));
            if !self.elsewhere {
                properties.push(seen("called off", |_, state| {
                    state.status == OrderStatus::PaymentFailed && state.is_late
                }));
                properties.push(seen("a wish granted", |_, state| {
                    state.wished && state.refunded && state.status == OrderStatus::Cancelled
                }));
            }
        }
        properties
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, charge, its_time, .. } = self;
        write!(f, "{}, {charge:?}{}", status.as_str(), if *its_time { ", its time" } else { "" })
    }
}
