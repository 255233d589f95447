//! What must hold in every state, and what must happen in some, so that a check cannot be green for want of events.

use domain::order::status::OrderStatus;
use stateright::Property;

use crate::design::Scope;
use crate::protocol::Protocol;
use crate::state::Request;
use crate::state::{Kind, ORDERS, Payment, Standing, State, Step, Worker};
use crate::verb::Verb;
use crate::{ending, finish};

/// At most one charge an order takes money, by the gateway's own ledger.
pub const CHARGED_ONCE: &str = "charged once";
/// An order that is confirmed or further was charged, and keeps that charge.
pub const CONFIRMED_WAS_CHARGED: &str = "confirmed was charged";
/// An order whose payment failed was not charged, nor was any charge that failed; and never will be, because this holds in
/// every later state, and a request that is late may land in any of them.
pub const FAILED_WAS_NOT_CHARGED: &str = "failed was not charged";
/// What a charge took of an order that is cancelled, rejected or not paid is on its way back, as soon as that charge is
/// settled; and it comes back, because nothing ends before ([`ACCEPTED_ENDS`]).
pub const FINISHED_KEEPS_NOTHING: &str = "finished keeps nothing";
/// Money that stays with an order that nobody came for is not given back, and nothing stays with any other.
pub const KEPT_STAYS: &str = "kept stays";
/// Nothing is given back that was not taken, or twice.
pub const REFUNDED_ONCE: &str = "refunded once";
/// A refund that counts as done was done.
pub const REFUNDED_WAS_GIVEN: &str = "refunded was given";
/// An addition is charged only once its order is paid: an order that comes to nothing has never had money of one.
pub const ADDED_AFTER_PAID: &str = "added after paid";
/// What is added is paid for once: by a charge of its own, or by that of an order that is paid anew, which is of all
/// that was added before.
pub const LINES_ARE_PAID_ONCE: &str = "lines are paid once";
/// An order that somebody was told is cancelled is, and stays so.
pub const CANCELLED_STAYS: &str = "told is cancelled";
/// A wish to cancel waits for its charge, or is granted.
pub const WISH_IS_GRANTED: &str = "a wish is granted";
/// The kitchen took it, or it was rejected; not both.
pub const ACCEPTED_OR_REJECTED: &str = "accepted or rejected";
/// Whatever is final stays as it is.
pub const FINAL_STAYS: &str = "final stays final";
/// Orders move as the table allows.
pub const MOVES_ARE_LEGAL: &str = "moves are legal";
/// Every request was written down before it left: by its claim in the queue, or as the row of its try.
pub const WRITTEN_BEFORE_ASKED: &str = "written before asked";
/// No number of a try is given twice.
pub const NUMBERS_ARE_FREE: &str = "numbers are free";
/// Every try has a row, under the numbers 1, 2, 3, ..; but for the one of a first charge that is under way.
pub const TRIES_HAVE_ROWS: &str = "tries have rows";
/// An answer that a worker has committed stands with its try, whoever has the payment by then.
pub const ANSWERS_ARE_KEPT: &str = "answers are kept";
/// No answer is written into the row of another try.
pub const NOTHING_IS_OVERWRITTEN: &str = "nothing is overwritten";
/// Until it is final, an order's first charge is one row of the queue, and from then on one of the payments: never both, never
/// neither. All others are payments.
pub const CHARGE_IS_IN_ONE_PLACE: &str = "a charge is in one place";
/// A client that holds a 202 has a durable order.
pub const TOLD_IS_DURABLE: &str = "told is durable";
/// A worker that lives, and was not stopped for longer than its lease, is never overtaken.
pub const NOBODY_IS_OVERTAKEN: &str = "nobody is overtaken";
/// An order fails because its charge was declined, or because as many charges as the budget has were really sent;
/// never because the gateway, or the way there, was closed.
pub const OUTAGE_FAILS_NOTHING: &str = "outage fails nothing";
/// Nothing is claimed to be charged when its time is over, whoever has noticed that.
pub const LATE_IS_NOT_CHARGED: &str = "late is not charged";
/// Every durable order ends, see [`ending`].
pub const ACCEPTED_ENDS: &str = "accepted ends";

/// The promises.
pub fn always() -> Vec<Property<Protocol>> {
    vec![
        Property::always(CHARGED_ONCE, |_, state: &State| {
            let taken = |order| own_charges(state, order).map(|(_, p)| p.taken.len()).sum::<u32>();
            let each = orders().flat_map(|order| charges(state, order));
            orders().all(|order| taken(order) <= 1)
                && each.map(|(_, p)| p.taken.len()).all(|taken| taken <= 1)
        }),
        Property::always(CONFIRMED_WAS_CHARGED, |_, state: &State| {
            orders().filter(|order| is_kept(state, *order)).all(|order| {
                let own = own_charges(state, order).filter(|(_, p)| !p.taken.is_empty());
                own.map(|(charge, _)| finish::refunds(state, charge).count()).eq([0])
            })
        }),
        Property::always(FAILED_WAS_NOT_CHARGED, |_, state: &State| {
            with(state, OrderStatus::PaymentFailed).all(|order| !is_charged(state, order))
                && orders()
                    .flat_map(|order| charges(state, order))
                    .all(|(_, p)| p.standing != Standing::Failed || p.taken.is_empty())
        }),
        Property::always(FINISHED_KEEPS_NOTHING, |_, state: &State| {
            let to_come = |charge| {
                state
                    .requests
                    .iter()
                    .any(|request| matches!(request, Request::Owes(charges) if charges.has(charge)))
            };
            orders().filter(|order| finish::is_finished(state, *order)).all(|order| {
                let kept = state.orders[usize::from(order)].kept;
                charges(state, order).filter(|(_, p)| !p.taken.is_empty() && p.standing.is_final()).all(
                    |(charge, _)| {
                        let mut asked = finish::refunds(state, charge);
                        kept.has(charge) || asked.any(|p| p.standing != Standing::Failed) || to_come(charge)
                    },
                )
            })
        }),
        Property::always(KEPT_STAYS, |_, state: &State| {
            let cancelled = Some(OrderStatus::Cancelled);
            state.orders.iter().filter(|order| !order.kept.is_empty()).all(|order| {
                let given_back = |charge| finish::refunds(state, charge).next().is_some();
                order.status == cancelled && !order.kept.iter().any(given_back)
            })
        }),
        Property::always(REFUNDED_ONCE, |_, state: &State| {
            orders().flat_map(|order| charges(state, order)).all(|(charge, p)| {
                let refunded: u32 = finish::refunds(state, charge).map(|p| p.taken.len()).sum();
                refunded <= p.taken.len()
            })
        }),
        Property::always(REFUNDED_WAS_GIVEN, |_, state: &State| {
            state.payments.iter().flatten().filter(|p| p.kind.is_refund()).all(|p| match p.standing {
                Standing::Succeeded => !p.taken.is_empty(),
                Standing::Failed => false,
                Standing::Held => false,
                Standing::Pending | Standing::Processing | Standing::Waiting => true,
            })
        }),
        Property::always(ADDED_AFTER_PAID, |_, state: &State| {
            let paid = |order| own_charges(state, order).any(|(_, p)| p.standing == Standing::Succeeded);
            orders().all(|order| additions(state, order).all(|(_, p)| p.sent.is_empty()) || paid(order))
        }),
        Property::always(LINES_ARE_PAID_ONCE, |_, state: &State| {
            let taken = |(_, p): &(u8, &Payment)| !p.taken.is_empty();
            orders().all(|order| {
                let last = own_charges(state, order).filter(taken).map(|(own, _)| own).max();
                additions(state, order)
                    .filter(taken)
                    .all(|(addition, _)| last.is_none_or(|own| own < addition))
            })
        }),
        Property::always(CANCELLED_STAYS, |_, state: &State| {
            let cancelled = Some(OrderStatus::Cancelled);
            state.orders.iter().all(|order| !order.told_cancelled || order.status == cancelled)
        }),
        Property::always(WISH_IS_GRANTED, |_, state: &State| {
            state.orders.iter().filter(|order| order.wish).all(|order| {
                matches!(order.status, Some(OrderStatus::PaymentProcessing | OrderStatus::Cancelled))
            })
        }),
        Property::always(ACCEPTED_OR_REJECTED, |_, state: &State| {
            state.orders.iter().all(|order| !(order.accepted && order.rejected))
        }),
        Property::always(FINAL_STAYS, |_, state: &State| !state.wrongs.final_moved),
        Property::always(MOVES_ARE_LEGAL, |_, state: &State| !state.wrongs.illegal_move),
        Property::always(WRITTEN_BEFORE_ASKED, |_, state: &State| !state.wrongs.unwritten),
        Property::always(NUMBERS_ARE_FREE, |_, state: &State| !state.wrongs.number_taken),
        Property::always(TRIES_HAVE_ROWS, |_, state: &State| {
            state.payments.iter().flatten().all(|p| {
                let under_way = u8::from(p.queued && p.standing == Standing::Processing);
                let written = p.attempts - under_way;
                (1..).zip(&p.rows[1..]).all(|(number, epoch)| (*epoch != 0) == (number <= written))
            })
        }),
        Property::always(ANSWERS_ARE_KEPT, |_, state: &State| !state.wrongs.answer_lost),
        Property::always(NOTHING_IS_OVERWRITTEN, |_, state: &State| !state.wrongs.overwritten),
        Property::always(CHARGE_IS_IN_ONE_PLACE, |_, state: &State| {
            let places = |(_, p): (u8, &Payment)| p.queued != p.listed && p.listed == p.standing.is_final();
            let first = |(payment, _): &(u8, &Payment)| state.is_first(*payment);
            orders().flat_map(|order| payments(state, order)).filter(first).all(places)
                && state.payments.iter().flatten().all(|p| p.queued || p.listed)
                && !state.wrongs.paid_twice
        }),
        Property::always(TOLD_IS_DURABLE, |_, state: &State| {
            state.orders.iter().all(|order| !order.told || order.status.is_some())
        }),
        Property::always(NOBODY_IS_OVERTAKEN, |_, state: &State| {
            hands(state).all(|hand| {
                let gave_it_up = hand.overdue || matches!(hand.step, Step::Unheard(_));
                gave_it_up || hand.epoch == state.payment(hand.payment).epoch
            })
        }),
        Property::always(OUTAGE_FAILS_NOTHING, |protocol, state: &State| {
            with(state, OrderStatus::PaymentFailed).all(|order| {
                // Or by its own deadline.
                own_charges(state, order).all(|(_, p)| {
                    p.late || !p.declined.is_empty() || p.sent.len() >= protocol.scope.budget.into()
                })
            })
        }),
        Property::always(LATE_IS_NOT_CHARGED, |_, state: &State| !state.wrongs.claimed_late),
        Property::always(ACCEPTED_ENDS, |protocol, state: &State| {
            ending::has_ended(&protocol.scope, state) || ending::can_go_on(protocol, state)
        }),
    ]
}

/// What must be seen to happen within a scope.
pub fn sometimes(scope: &Scope) -> Vec<Property<Protocol>> {
    let mut seen = vec![
        Property::sometimes("confirmed", |_, state: &State| {
            with(state, OrderStatus::Confirmed).next().is_some()
        }),
        Property::sometimes("declined", |_, state: &State| {
            with(state, OrderStatus::PaymentFailed)
                .any(|order| own_charges(state, order).all(|(_, p)| p.void.is_empty()))
        }),
        Property::sometimes("voided", |_, state: &State| {
            with(state, OrderStatus::PaymentFailed)
                .any(|order| own_charges(state, order).all(|(_, p)| p.declined.is_empty()))
        }),
        Property::sometimes("found charged by a void", |_, state: &State| {
            with(state, OrderStatus::Confirmed)
                .any(|order| own_charges(state, order).any(|(_, p)| !p.voids.is_empty()))
        }),
        Property::sometimes("two hold one payment", |_, state: &State| {
            let mut hands = hands(state).map(|hand| hand.payment);
            hands.next().is_some_and(|payment| hands.any(|other| other == payment))
        }),
        Property::sometimes("processing, and not stored", |_, state: &State| {
            with(state, OrderStatus::Pending)
                .any(|order| state.shown(order) == Some(OrderStatus::PaymentProcessing))
        }),
        Property::sometimes("an answer comes late", |_, state: &State| {
            hands(state).filter(|hand| matches!(hand.step, Step::Heard(_))).any(|hand| {
                let p = state.payment(hand.payment);
                p.queued && p.rows[usize::from(hand.number)] == hand.epoch
            })
        }),
        Property::sometimes("a charge is late for its void", |_, state: &State| {
            with(state, OrderStatus::PaymentFailed).any(|order| {
                own_charges(state, order).any(|(_, p)| p.sent.iter().any(|epoch| p.in_flight.has(epoch)))
            })
        }),
    ];
    if scope.asks(Verb::Cancel) {
        seen.extend(sometimes_cancelled());
    }
    if scope.late {
        seen.push(Property::sometimes("took too long, and nothing was sent", |_, state: &State| {
            with(state, OrderStatus::PaymentFailed).any(|order| {
                own_charges(state, order).all(|(_, p)| p.epoch > 0 && p.sent.is_empty() && p.voids.is_empty())
            })
        }));
    }
    if scope.asks(Verb::Ready) {
        seen.extend(sometimes_in_the_kitchen());
    }
    if scope.asks(Verb::Expire) && scope.asks(Verb::PayAnew) {
        seen.push(Property::sometimes("paid anew, and too late", |_, state: &State| {
            with(state, OrderStatus::Rejected)
                .any(|order| own_charges(state, order).count() == 2 && is_refunded(state, order))
        }));
    }
    if scope.asks(Verb::Add) {
        seen.extend(sometimes_added());
    }
    if scope.late && scope.asks(Verb::Add) {
        seen.extend(sometimes_late());
    }
    seen
}

fn sometimes_cancelled() -> Vec<Property<Protocol>> {
    vec![
        Property::sometimes("cancelled and refunded", |_, state: &State| {
            with(state, OrderStatus::Cancelled).any(|order| is_refunded(state, order))
        }),
        Property::sometimes("cancelled in time", |_, state: &State| {
            with(state, OrderStatus::Cancelled).any(|order| charges(state, order).all(|(_, p)| p.epoch == 0))
        }),
        Property::sometimes("cancelled at once, though it was tried", |_, state: &State| {
            with(state, OrderStatus::Cancelled).any(|order| {
                !state.orders[usize::from(order)].wish
                    && charges(state, order).all(|(_, p)| p.attempts > 0 && p.standing == Standing::Failed)
            })
        }),
        Property::sometimes("a wish granted, nothing taken", |_, state: &State| {
            with(state, OrderStatus::Cancelled).any(|order| {
                state.orders[usize::from(order)].wish && charges(state, order).all(|(_, p)| p.sent.is_empty())
            })
        }),
        Property::sometimes("a wish granted, all given back", |_, state: &State| {
            with(state, OrderStatus::Cancelled)
                .any(|order| state.orders[usize::from(order)].wish && is_refunded(state, order))
        }),
        Property::sometimes("found charged by a void for a wish", |_, state: &State| {
            with(state, OrderStatus::Cancelled).any(|order| {
                own_charges(state, order)
                    .any(|(_, p)| !p.voids.is_empty() && p.spent == 0 && p.standing == Standing::Succeeded)
            })
        }),
    ]
}

fn sometimes_in_the_kitchen() -> Vec<Property<Protocol>> {
    vec![
        Property::sometimes("rejected and refunded", |_, state: &State| {
            with(state, OrderStatus::Rejected).any(|order| is_refunded(state, order))
        }),
        Property::sometimes("ready, and too late to cancel", |_, state: &State| {
            with(state, OrderStatus::Ready).next().is_some()
                && state.requests[Verb::Cancel as usize] == Request::Done
        }),
        Property::sometimes("nobody came, and its money stays", |_, state: &State| {
            state.orders.iter().any(|order| !order.kept.is_empty())
        }),
        Property::sometimes("nobody came, and its money went back", |_, state: &State| {
            with(state, OrderStatus::Cancelled).any(|order| {
                is_refunded(state, order)
                    && state.requests[Verb::NoShow as usize] == Request::Done
                    && state.requests[Verb::Cancel as usize] == Request::Unasked
            })
        }),
        Property::sometimes("cancelled while the kitchen was at it", |_, state: &State| {
            with(state, OrderStatus::Cancelled).any(|order| state.orders[usize::from(order)].accepted)
        }),
    ]
}

fn sometimes_late() -> Vec<Property<Protocol>> {
    vec![
        Property::sometimes("an addition too late, the order kept", |_, state: &State| {
            let dropped = |(_, p): (u8, &Payment)| p.standing == Standing::Failed && is_late_unsent(p);
            orders().any(|order| is_kept(state, order) && additions(state, order).any(dropped))
        }),
        Property::sometimes("paid anew, and that too late", |_, state: &State| {
            with(state, OrderStatus::PaymentFailed).any(|order| {
                own_charges(state, order).count() == 2
                    && own_charges(state, order).last().is_some_and(|(_, p)| is_late_unsent(p))
            })
        }),
        Property::sometimes("paid anew, too late, and found charged", |_, state: &State| {
            with(state, OrderStatus::Confirmed).any(|order| {
                own_charges(state, order).count() == 2
                    && own_charges(state, order).last().is_some_and(|(_, p)| p.late && !p.voids.is_empty())
            })
        }),
    ]
}

fn sometimes_added() -> Vec<Property<Protocol>> {
    vec![
        Property::sometimes("held while its order is paid", |_, state: &State| {
            with(state, OrderStatus::Confirmed)
                .any(|order| additions(state, order).any(|(_, p)| p.standing == Standing::Held))
        }),
        Property::sometimes("held, and closed by the sweep", |_, state: &State| {
            with(state, OrderStatus::PaymentFailed).any(|order| {
                additions(state, order).any(|(_, p)| (p.standing, p.epoch) == (Standing::Failed, 0))
            })
        }),
        Property::sometimes("paid anew with an addition behind it", |_, state: &State| {
            with(state, OrderStatus::Confirmed).any(|order| {
                own_charges(state, order).count() == 2 && additions(state, order).next().is_some()
            })
        }),
        Property::sometimes("added", |_, state: &State| {
            orders().any(|order| {
                is_kept(state, order)
                    && charges(state, order)
                        .any(|(_, p)| (p.kind, p.standing) == (Kind::Addition, Standing::Succeeded))
            })
        }),
        Property::sometimes("an addition dropped, the order kept", |_, state: &State| {
            orders().any(|order| {
                is_kept(state, order)
                    && charges(state, order)
                        .any(|(_, p)| (p.kind, p.standing) == (Kind::Addition, Standing::Failed))
            })
        }),
        Property::sometimes("order and addition given back", |_, state: &State| {
            orders().any(|order| {
                finish::is_finished(state, order)
                    && payments(state, order)
                        .filter(|(_, p)| p.kind.is_refund() && p.standing == Standing::Succeeded)
                        .count()
                        == 2
            })
        }),
    ]
}

fn orders() -> std::ops::Range<u8> {
    0..ORDERS as u8
}

fn with(state: &State, status: OrderStatus) -> impl Iterator<Item = u8> {
    (0..).zip(&state.orders).filter(move |(_, order)| order.status == Some(status)).map(|(order, _)| order)
}

fn is_kept(state: &State, order: u8) -> bool {
    use OrderStatus::{Accepted, Confirmed, Delivered, Preparing, Ready};
    let kept = [Confirmed, Accepted, Preparing, Ready, Delivered];
    state.orders[usize::from(order)].status.is_some_and(|status| kept.contains(&status))
}

fn payments(state: &State, order: u8) -> impl Iterator<Item = (u8, &Payment)> {
    let all = (0..).zip(&state.payments).filter_map(|(index, payment)| Some((index, payment.as_ref()?)));
    all.filter(move |(_, payment)| payment.order == order)
}

fn charges(state: &State, order: u8) -> impl Iterator<Item = (u8, &Payment)> {
    payments(state, order).filter(|(_, payment)| !payment.kind.is_refund())
}

fn own_charges(state: &State, order: u8) -> impl Iterator<Item = (u8, &Payment)> {
    payments(state, order).filter(|(_, payment)| payment.kind == Kind::Charge)
}

fn additions(state: &State, order: u8) -> impl Iterator<Item = (u8, &Payment)> {
    payments(state, order).filter(|(_, payment)| payment.kind == Kind::Addition)
}

fn is_refunded(state: &State, order: u8) -> bool {
    payments(state, order).any(|(_, p)| p.kind.is_refund() && p.standing == Standing::Succeeded)
}

fn hands(state: &State) -> impl Iterator<Item = &crate::state::Hand> {
    state.workers.iter().filter_map(|worker| match worker {
        Worker::Busy(hand) => Some(hand),
        Worker::Idle | Worker::Acking(_) => None,
    })
}

fn is_late_unsent(payment: &Payment) -> bool {
    payment.late && payment.sent.is_empty() && payment.voids.is_empty()
}

fn is_charged(state: &State, order: u8) -> bool {
    own_charges(state, order).any(|(_, payment)| !payment.taken.is_empty())
}
