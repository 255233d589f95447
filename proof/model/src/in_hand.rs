//! A fifth model, of orders for which no gateway is asked: free ones, and those that are paid when they are handed over. Both are
//! CONFIRMED from the start. Staff write down that the money came in, while the customer, the kitchen and the clock pull at the
//! order, and while something is added that is due with it. Whoever collects or adds reads, and decides in a transaction of their
//! own; what they decide by is read again under the locks, unless a weakening says otherwise.

use std::fmt;

use domain::order::status::OrderStatus;
use stateright::{Model, Property};

/// The protocol, with one thing left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Design {
    /// Who collects minds what was due before the locks.
    pub collects_by_snapshot: bool,
    /// Who adds minds where the order stood before the locks.
    pub adds_by_snapshot: bool,
    /// The end of an order leaves what is due.
    pub end_leaves_due: bool,
    /// It closes the order's own payment, and not what was added.
    pub end_closes_own_alone: bool,
    /// It asks the gateway to give back what came in.
    pub end_refunds: bool,
    /// What stays with an order that nobody came for is whatever it comes to.
    pub keeps_what_is_due: bool,
}

/// Who comes, once each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "what they do is their name")]
pub enum Who {
    Collect,
    CollectAgain,
    Add,
    Cancel,
    Reject,
    Expire,
    Accept,
    Prepare,
    Ready,
    NoShow,
    NoShowKept,
    Deliver,
}

const ALL: [Who; 12] = [
    Who::Collect,
    Who::CollectAgain,
    Who::Add,
    Who::Cancel,
    Who::Reject,
    Who::Expire,
    Who::Accept,
    Who::Prepare,
    Who::Ready,
    Who::NoShow,
    Who::NoShowKept,
    Who::Deliver,
];

/// How far one of them is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Asked {
    /// Not yet here.
    Unasked,
    /// Has read the order, and whether anything was due.
    Saw(OrderStatus, bool),
    /// Done, or refused.
    Done,
}

/// A payment without a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Payment {
    /// As `domain::payment::PaymentStatus` has it.
    pub standing: Standing,
    /// Money came in: once for each time that somebody wrote it down.
    pub came_in: u8,
    /// It counts as what stays.
    pub kept: bool,
}

/// Where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names of domain::payment::PaymentStatus")]
pub enum Standing {
    Due,
    Succeeded,
    Failed,
}

/// The order, what it is paid by, and what is asked of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    status: OrderStatus,
    own: Payment,
    added: Option<Payment>,
    asked: [Asked; ALL.len()],
    /// Refunds that a gateway was asked for.
    refunds: u8,
    /// A final payment changed, or an order moved as none may.
    wrong: bool,
}

/// What the checker walks through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InHand {
    /// What is checked.
    pub design: Design,
    /// Whether the order costs nothing.
    pub free: bool,
}

/// What is due is due of an order that goes on.
pub const ENDED_OWES_NOTHING: &str = "an ended order owes nothing";
/// Money is written down once, and only where some was due.
pub const COMES_IN_ONCE: &str = "money comes in once";
/// No gateway is asked for anything.
pub const NO_GATEWAY: &str = "no gateway hears of it";
/// What stays was there.
pub const KEPT_CAME_IN: &str = "what is kept came in";
/// Final payments stay, and orders move as the table allows.
pub const FINAL_STAYS: &str = "final stays final";

/// Each with the promise that falls.
pub fn weakenings() -> Vec<(&'static str, InHand, &'static str)> {
    let of = |design| InHand { design, free: false };
    let full = Design::default();
    vec![
        ("collects_by_snapshot", of(Design { collects_by_snapshot: true, ..full }), FINAL_STAYS),
        ("collects_by_snapshot", of(Design { collects_by_snapshot: true, ..full }), COMES_IN_ONCE),
        ("adds_by_snapshot", of(Design { adds_by_snapshot: true, ..full }), ENDED_OWES_NOTHING),
        ("end_leaves_due", of(Design { end_leaves_due: true, ..full }), ENDED_OWES_NOTHING),
        ("end_closes_own_alone", of(Design { end_closes_own_alone: true, ..full }), ENDED_OWES_NOTHING),
        ("end_refunds", of(Design { end_refunds: true, ..full }), NO_GATEWAY),
        ("keeps_what_is_due", of(Design { keeps_what_is_due: true, ..full }), KEPT_CAME_IN),
    ]
}

impl Payment {
    const fn new(standing: Standing) -> Self {
        Self { standing, came_in: 0, kept: false }
    }
}

impl State {
    fn payments(&self) -> impl Iterator<Item = &Payment> {
        std::iter::once(&self.own).chain(&self.added)
    }

    fn payments_mut(&mut self) -> impl Iterator<Item = &mut Payment> {
        std::iter::once(&mut self.own).chain(&mut self.added)
    }

    fn is_due(&self) -> bool {
        self.payments().any(|one| one.standing == Standing::Due)
    }

    const fn has_ended(&self) -> bool {
        matches!(self.status, OrderStatus::Cancelled | OrderStatus::Rejected)
    }

    fn move_to(&mut self, to: OrderStatus) {
        self.wrong |= !self.status.may_become(to);
        self.status = to;
    }

    /// As `finish` of the first model: what is due is closed, and what came in is no gateway's.
    fn end(&mut self, design: &Design, to: OrderStatus, keeps: bool) {
        self.move_to(to);
        if keeps {
            for one in self.payments_mut() {
                let is_there = one.standing == Standing::Succeeded && one.came_in > 0;
                one.kept = is_there || design.keeps_what_is_due;
            }
        }
        let came_in = self.payments().filter(|one| one.came_in > 0 && !one.kept).count();
        if design.end_refunds {
            self.refunds += u8::try_from(came_in).unwrap_or(u8::MAX);
        }
        let close = |one: &mut Payment| {
            if one.standing == Standing::Due {
                one.standing = Standing::Failed;
            }
        };
        if !design.end_leaves_due {
            close(&mut self.own);
            self.added.iter_mut().filter(|_| !design.end_closes_own_alone).for_each(close);
        }
    }
}

impl Who {
    /// Whether it may be done to an order that stands so.
    const fn may(self, status: OrderStatus) -> bool {
        use OrderStatus::{Accepted, Cancelled, Confirmed, Preparing, Ready, Rejected};
        match self {
            Self::Collect | Self::CollectAgain => !matches!(status, Cancelled | Rejected),
            Self::Add | Self::Accept | Self::Reject | Self::Expire => matches!(status, Confirmed),
            Self::Cancel => matches!(status, Confirmed | Accepted | Preparing),
            Self::Prepare => matches!(status, Accepted),
            Self::Ready => matches!(status, Preparing),
            Self::NoShow | Self::NoShowKept | Self::Deliver => matches!(status, Ready),
        }
    }
}

impl Model for InHand {
    type State = State;
    type Action = Who;

    fn init_states(&self) -> Vec<State> {
        let own = Payment::new(if self.free { Standing::Succeeded } else { Standing::Due });
        let asked = [Asked::Unasked; ALL.len()];
        vec![State { status: OrderStatus::Confirmed, own, added: None, asked, refunds: 0, wrong: false }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Who>) {
        // What is added to a free order is charged as ever, which is the first model's.
        let comes = |who: &Who| !(self.free && *who == Who::Add);
        let may = |who: &Who| match state.asked[*who as usize] {
            Asked::Unasked => who.may(state.status),
            Asked::Saw(..) => true,
            Asked::Done => false,
        };
        actions.extend(ALL.into_iter().filter(comes).filter(may));
    }

    fn next_state(&self, before: &State, who: Who) -> Option<State> {
        let mut after = *before;
        let place = who as usize;
        let (saw, was_due) = match before.asked[place] {
            Asked::Saw(status, due) => (status, due),
            // Of the others the first model shows that what they saw before their locks is worth nothing.
            _ if !matches!(who, Who::Collect | Who::CollectAgain | Who::Add) => {
                (before.status, before.is_due())
            }
            _ => {
                after.asked[place] = Asked::Saw(before.status, before.is_due());
                return Some(after);
            }
        };
        after.asked[place] = Asked::Done;
        let by_snapshot = match who {
            Who::Collect | Who::CollectAgain => self.design.collects_by_snapshot,
            Who::Add => self.design.adds_by_snapshot,
            _ => false,
        };
        let (status, is_due) = if by_snapshot { (saw, was_due) } else { (before.status, before.is_due()) };
        if !who.may(status) {
            return Some(after);
        }
        match who {
            Who::Collect | Who::CollectAgain if !is_due => {}
            Who::Collect | Who::CollectAgain => {
                let mut wrong = false;
                let takes = |one: &&mut Payment| by_snapshot || one.standing == Standing::Due;
                for one in after.payments_mut().filter(takes) {
                    wrong |= one.standing != Standing::Due;
                    one.standing = Standing::Succeeded;
                    one.came_in += 1;
                }
                after.wrong |= wrong;
            }
            Who::Add => after.added = Some(Payment::new(Standing::Due)),
            Who::Cancel | Who::NoShow => after.end(&self.design, OrderStatus::Cancelled, false),
            Who::NoShowKept => after.end(&self.design, OrderStatus::Cancelled, true),
            Who::Reject | Who::Expire => after.end(&self.design, OrderStatus::Rejected, false),
            Who::Accept => after.move_to(OrderStatus::Accepted),
            Who::Prepare => after.move_to(OrderStatus::Preparing),
            Who::Ready => after.move_to(OrderStatus::Ready),
            Who::Deliver => after.move_to(OrderStatus::Delivered),
        }
        Some(after)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always(ENDED_OWES_NOTHING, |_: &Self, state: &State| {
                !(state.has_ended() && state.is_due())
            }),
            Property::always(COMES_IN_ONCE, |model: &Self, state: &State| {
                state.payments().all(|one| one.came_in <= u8::from(!model.free))
            }),
            Property::always(NO_GATEWAY, |_, state: &State| state.refunds == 0),
            Property::always(KEPT_CAME_IN, |_, state: &State| {
                state.payments().all(|one| !one.kept || one.came_in > 0)
            }),
            Property::always(FINAL_STAYS, |_, state: &State| !state.wrong),
        ];
        if self.design == Design::default() {
            properties.push(Property::sometimes("delivered", |_, state: &State| {
                state.status == OrderStatus::Delivered
            }));
            properties.push(Property::sometimes("rejected", |_, state: &State| {
                state.status == OrderStatus::Rejected
            }));
            if !self.free {
                properties.push(Property::sometimes("came in, and ended after", |_, state: &State| {
                    state.has_ended() && state.payments().any(|one| one.came_in > 0)
                }));
                properties.push(Property::sometimes("delivered, and still due", |_, state: &State| {
                    state.status == OrderStatus::Delivered && state.is_due()
                }));
                properties.push(Property::sometimes("kept", |_, state: &State| {
                    state.payments().any(|one| one.kept)
                }));
            }
        }
        properties
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.status.as_str())?;
        self.payments().try_for_each(|one| write!(f, "{:?}, came in {} times; ", one.standing, one.came_in))
    }
}
