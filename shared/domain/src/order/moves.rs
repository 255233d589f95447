//! What people may do with an order, and what becomes of it: pure. The statements that carry it out stand in
//! `store/moves.rs`.

use std::sync::Arc;

use uuid::Uuid;

use crate::order::status::OrderStatus;

/// Longest reason that is taken: a line on a screen.
pub const MAX_REASON_CHARS: usize = 500;

/// Who asks, once that is proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// A caller that did not say who it is: a guest, where guests are let in.
    Unnamed,
    /// The customer of this id: may do with orders of their own what customers may.
    Customer(String),
    /// Somebody of the restaurant, by name where one was given.
    Staff(Option<String>),
    /// The same, at these locations only.
    StaffAt(String, Arc<[String]>),
    /// A machine, by its name: may order for everybody.
    Service(String),
    /// The same, at these locations only.
    ServiceAt(String, Arc<[String]>),
}

impl Actor {
    /// As the history shows it.
    pub fn name(&self) -> String {
        match self {
            Self::Unnamed => "api".to_owned(),
            Self::Customer(id) => format!("customer:{id}"),
            Self::Staff(None) => "staff".to_owned(),
            Self::Staff(Some(name)) | Self::StaffAt(name, _) => format!("staff:{name}"),
            Self::Service(name) | Self::ServiceAt(name, _) => format!("service:{name}"),
        }
    }

    /// Whether it is believed what they say of money that was taken elsewhere.
    pub const fn is_of_the_house(&self) -> bool {
        self.is_staff() || matches!(self, Self::Service(_) | Self::ServiceAt(..))
    }

    /// Whether they are people of the restaurant.
    pub const fn is_staff(&self) -> bool {
        matches!(self, Self::Staff(_) | Self::StaffAt(..))
    }

    /// Where they may look and act; `None`: everywhere.
    pub fn locations(&self) -> Option<&[String]> {
        match self {
            Self::StaffAt(_, at) | Self::ServiceAt(_, at) => Some(at),
            Self::Unnamed | Self::Customer(_) | Self::Staff(_) | Self::Service(_) => None,
        }
    }

    /// Whether they may act at this location.
    pub fn may_act_at(&self, location: &str) -> bool {
        self.locations().is_none_or(|at| at.iter().any(|one| one == location))
    }

    /// Whether an order of this customer, at this location, is any business of theirs.
    pub fn may_see(&self, customer_id: &str, location: &str) -> bool {
        !matches!(self, Self::Customer(id) if id != customer_id) && self.may_act_at(location)
    }
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// The kitchen takes a confirmed order.
    Accept,
    /// The kitchen refuses it.
    Reject,
    /// It is called off.
    Cancel,
    /// It was ready, and nobody came for it.
    NoShow {
        /// Whether the money goes back; else it stays.
        refund: bool,
    },
    /// It stands here now.
    Status(OrderStatus),
}

impl Wanted {
    /// Where it leads.
    pub const fn to(self) -> OrderStatus {
        match self {
            Self::Accept => OrderStatus::Accepted,
            Self::Reject => OrderStatus::Rejected,
            Self::Cancel | Self::NoShow { .. } => OrderStatus::Cancelled,
            Self::Status(status) => status,
        }
    }
}

/// The status that a move passes through, so that it stands in the history, too: who begins with an order has taken it, and
/// what is charged was being processed.
pub const fn on_the_way(from: OrderStatus, to: OrderStatus) -> Option<OrderStatus> {
    match (from, to) {
        (OrderStatus::Confirmed, OrderStatus::Preparing) => Some(OrderStatus::Accepted),
        (OrderStatus::Pending, OrderStatus::Confirmed | OrderStatus::PaymentFailed) => {
            Some(OrderStatus::PaymentProcessing)
        }
        _ => None,
    }
}

/// A request to move an order.
#[derive(Debug, Clone)]
pub struct Move {
    /// This request: carried out twice, it knows itself again.
    pub request: Uuid,
    /// The order.
    pub order_id: Uuid,
    /// What is asked for.
    pub wanted: Wanted,
    /// Who asks.
    pub by: Actor,
    /// Why.
    pub reason: Option<String>,
    /// What they have seen.
    pub expected: Expected,
}

/// The versions of which the order must have one, as whoever asks has seen it; or any, which is the default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expected(Option<Vec<i32>>);

impl Expected {
    /// One of these.
    pub const fn one_of(versions: Vec<i32>) -> Self {
        Self(Some(versions))
    }

    /// Whether it is one of them.
    pub fn has(&self, version: i32) -> bool {
        self.0.as_ref().is_none_or(|versions| versions.contains(&version))
    }
}

/// What of an order decides about a move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Where it stands.
    pub status: OrderStatus,
    /// A charge was claimed, the gateway may have looked at it, and nobody knows yet what came of it.
    pub in_flight: bool,
    /// The kitchen's deadline has passed.
    pub late: bool,
    /// It is to be cancelled once its charge is known.
    pub wished: bool,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ruling {
    /// The order moves.
    Move,
    /// It is to be cancelled once its charge is known.
    Wish,
    /// The same was wished before: nothing changes.
    Wished,
    /// No.
    Refused(Refusal),
}

/// Why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It stands there already.
    SameStatus,
    /// There is no such move from where it stands.
    IllegalMove,
    /// Too late: a sweep is about to reject it.
    DeadlinePassed,
    /// The order is not as whoever asks has seen it.
    VersionChanged {
        /// Its version now.
        now: i32,
    },
    /// A step back has to be explained.
    ReasonNeeded,
    /// No money is awaited for it.
    NothingDue,
    /// Another amount is awaited than the one that came in.
    OtherAmountDue {
        /// This one.
        minor: i64,
    },
    /// Nothing can be added to it any more.
    NotOpen,
    /// The order has a payment of this name already.
    DuplicateReference,
    /// More lines, more of one article or more money than an order may have.
    TooMuch,
    /// Charges of additions are still to be settled.
    ChargesOpen,
    /// It goes as it was ordered: the kitchen has begun, or it has ended.
    KitchenBegan,
    /// Its channel says another thing of what cannot change.
    SaidOtherwise,
    /// There is not enough of what it takes.
    OutOfStock,
}

impl Standing {
    /// What becomes of a request for `wanted`.
    pub fn rule(self, wanted: Wanted, has_reason: bool) -> Ruling {
        use OrderStatus::{
            Accepted, Cancelled, Confirmed, PaymentFailed, PaymentProcessing, Pending, Preparing, Ready,
        };
        let no_show = matches!(wanted, Wanted::NoShow { .. });
        let (from, to) = (self.status, wanted.to());
        match (from, to) {
            _ if from == to => Ruling::Refused(Refusal::SameStatus),
            // These are for the payment to decide.
            (_, Pending | PaymentProcessing | Confirmed | PaymentFailed) => {
                Ruling::Refused(Refusal::IllegalMove)
            }
            _ if !from.may_become(to) => Ruling::Refused(Refusal::IllegalMove),
            // Who ends what is ready says what becomes of its money; and nobody was to come for anything else.
            (_, Cancelled) if no_show != (from == Ready) => Ruling::Refused(Refusal::IllegalMove),
            // Cancelling it now and charging it a moment later would keep the money of a cancelled order.
            (Pending | PaymentProcessing, Cancelled) if self.in_flight => {
                if self.wished {
                    Ruling::Wished
                } else {
                    Ruling::Wish
                }
            }
            // Who takes an order does not mean to take a step back.
            (Preparing, Accepted) if wanted == Wanted::Accept => Ruling::Refused(Refusal::IllegalMove),
            (Preparing, Accepted) if !has_reason => Ruling::Refused(Refusal::ReasonNeeded),
            (Confirmed, Accepted | Preparing) if self.late => Ruling::Refused(Refusal::DeadlinePassed),
            _ => Ruling::Move,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use OrderStatus::{
        Accepted, Cancelled, Confirmed, Delivered, PaymentFailed, PaymentProcessing, Pending, Preparing,
        Ready, Rejected,
    };

    const fn at(status: OrderStatus) -> Standing {
        Standing { status, in_flight: false, late: false, wished: false }
    }

    /// All that people may do, with nothing in flight and in time; everything else is refused.
    const MAY: [(OrderStatus, OrderStatus); 13] = [
        (Pending, Cancelled),
        (PaymentProcessing, Cancelled),
        (PaymentFailed, Cancelled),
        (Confirmed, Accepted),
        (Confirmed, Preparing),
        (Confirmed, Rejected),
        (Confirmed, Cancelled),
        (Accepted, Preparing),
        (Accepted, Cancelled),
        (Preparing, Ready),
        (Preparing, Accepted),
        (Preparing, Cancelled),
        (Ready, Delivered),
    ];

    #[test]
    fn every_pair_is_either_on_the_list_or_refused() {
        for from in OrderStatus::ALL {
            for to in OrderStatus::ALL {
                let ruling = at(from).rule(Wanted::Status(to), true);
                let expected = match MAY.contains(&(from, to)) {
                    true => Ruling::Move,
                    false if from == to => Ruling::Refused(Refusal::SameStatus),
                    false => Ruling::Refused(Refusal::IllegalMove),
                };
                assert_eq!(ruling, expected, "{from:?} -> {to:?}");
            }
        }
    }

    #[test]
    fn nobody_comes_only_for_what_is_ready_and_that_ends_in_no_other_way() {
        for refund in [true, false] {
            for from in OrderStatus::ALL {
                let ruling = at(from).rule(Wanted::NoShow { refund }, false);
                let expected = match from {
                    Ready => Ruling::Move,
                    Cancelled => Ruling::Refused(Refusal::SameStatus),
                    _ => Ruling::Refused(Refusal::IllegalMove),
                };
                assert_eq!(ruling, expected, "{from:?}");
            }
        }
        for wanted in [Wanted::Cancel, Wanted::Status(Cancelled)] {
            assert_eq!(at(Ready).rule(wanted, true), Ruling::Refused(Refusal::IllegalMove));
        }
    }

    #[test]
    fn while_a_charge_is_in_flight_a_cancellation_is_a_wish() {
        for status in [Pending, PaymentProcessing] {
            let flying = Standing { in_flight: true, ..at(status) };
            assert_eq!(flying.rule(Wanted::Cancel, false), Ruling::Wish);
            assert_eq!(Standing { wished: true, ..flying }.rule(Wanted::Cancel, false), Ruling::Wished);
        }
        // That of an addition: the order itself is paid.
        let paid = Standing { in_flight: true, ..at(Confirmed) };
        assert_eq!(paid.rule(Wanted::Cancel, false), Ruling::Move);
    }

    #[test]
    fn the_deadline_stops_whoever_takes_the_order_and_nobody_else() {
        let late = Standing { late: true, ..at(Confirmed) };
        for wanted in [Wanted::Accept, Wanted::Status(Preparing)] {
            assert_eq!(late.rule(wanted, true), Ruling::Refused(Refusal::DeadlinePassed));
        }
        for wanted in [Wanted::Reject, Wanted::Cancel] {
            assert_eq!(late.rule(wanted, true), Ruling::Move);
        }
    }

    #[test]
    fn a_step_back_is_explained_and_never_taken_by_accepting() {
        let preparing = at(Preparing);
        assert_eq!(preparing.rule(Wanted::Accept, true), Ruling::Refused(Refusal::IllegalMove));
        let back = Wanted::Status(Accepted);
        assert_eq!(preparing.rule(back, false), Ruling::Refused(Refusal::ReasonNeeded));
        assert_eq!(preparing.rule(back, true), Ruling::Move);
    }
}
