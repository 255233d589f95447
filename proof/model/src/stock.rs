//! A sixth model, of stock: one piece that two orders and a cart want. It is taken with an order, held until that ends, and then counted
//! back or sold by a chore that several workers do at once; who pays anew takes it again. What a cart holds is held until its time is
//! over, is renewed by a change, and becomes that of the order that the cart becomes. Whoever reads decides in a transaction of their
//! own, by what the locks show and not by what they saw before, unless a weakening says otherwise.

use std::fmt;

use stateright::{Model, Property};

/// What there is to begin with.
const PIECES: i8 = 1;
/// How often the cart is filled at most: made, and renewed.
const FILLS: u8 = 2;

/// The protocol, with one thing left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Design {
    /// Who orders takes what was there when they looked.
    pub takes_by_snapshot: bool,
    /// An order that is written a second time, because an answer was lost, takes again.
    pub replay_takes: bool,
    /// The end of an order leaves what it holds.
    pub end_forgets: bool,
    /// It marks what went back already.
    pub end_marks_again: bool,
    /// The chore counts what was due when it looked.
    pub counts_by_snapshot: bool,
    /// Who pays anew keeps what was held when they looked.
    pub anew_by_snapshot: bool,
    /// Who pays anew takes nothing.
    pub anew_takes_nothing: bool,
    /// Who renews a cart keeps what it held when they looked.
    pub renews_by_snapshot: bool,
    /// Who renews a cart takes all of it again, and gives back what it held only then.
    pub renewal_takes_all: bool,
    /// The order of a cart takes over what it held when they looked.
    pub checks_out_by_snapshot: bool,
    /// What the order takes over stays due as it was.
    pub taken_over_stays_due: bool,
    /// The order of a cart asks neither whether it is there still nor whether it has changed.
    pub checks_out_unguarded: bool,
    /// Who lets go of a cart leaves what it holds.
    pub release_forgets: bool,
}

/// Where an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Not asked for, or refused.
    None,
    /// Accepted, and not over.
    Open,
    /// Its payment failed.
    Failed,
    /// Cancelled or rejected.
    Ended,
    /// Handed over.
    Delivered,
}

/// What a hold counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names of the database's hold_state")]
pub enum Counts {
    Nothing,
    Held,
    Back,
    Sold,
}

/// An order, and its hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Order {
    standing: Standing,
    counts: Counts,
    /// What it is to be counted as.
    due: Option<Counts>,
    /// Who accepts it has looked, and whether there was any.
    saw: Option<bool>,
    /// Who pays it anew has looked, and whether it was held still.
    saw_held: Option<bool>,
    /// Whoever orders the cart has read it: its version, and whether it held anything.
    saw_cart: Option<(u8, bool)>,
    of_cart: bool,
    answered: bool,
    replayed: bool,
    paid_anew: bool,
}

/// The cart, and its hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cart {
    /// One more with every change; 0: it was never filled.
    version: u8,
    /// It was let go of, or is an order's.
    gone: bool,
    counts: Counts,
    /// Its time is over, or it was let go of.
    due: bool,
    /// Who changes it has looked, and whether it held anything.
    saw: Option<bool>,
}

/// The stock's row, the orders, and what each chore saw as due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    available: i8,
    held: i8,
    sold: i8,
    orders: [Order; 2],
    cart: Cart,
    /// Of the orders, and of the cart.
    chores: [Option<[bool; 3]>; 2],
    /// A cart was refused what it held itself.
    own_way: bool,
}

/// What may happen next: to an order, or by a chore.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "what they do is their name")]
pub enum Action {
    Look(usize),
    Accept(usize),
    AcceptAgain(usize),
    Fail(usize),
    Cancel(usize),
    Deliver(usize),
    LookAnew(usize),
    PayAnew(usize),
    LookAtOwn,
    Fill,
    Expire,
    Release,
    LookAtCart(usize),
    CheckOut(usize),
    LookForDue(usize),
    Count(usize),
}

/// What the checker walks through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stock {
    /// What is checked.
    pub design: Design,
}

/// Nothing comes from nowhere, and nothing is lost.
pub const ADDS_UP: &str = "available, held and sold are what was put in";
/// The net under it.
pub const NEVER_BELOW: &str = "no count is below zero";
/// What is to be handed over is there.
pub const OPEN_HOLDS: &str = "an order that goes on holds what it wants";
/// What nobody gets is to be had again.
pub const ENDED_LETS_GO: &str = "an ended order holds nothing but what is due to go back";
/// Who has it has it.
pub const DELIVERED_HAS: &str = "what was handed over is sold, or due to be";

/// Nor is it ordered twice.
pub const CART_ONCE: &str = "a cart becomes one order";
/// Nobody has it any more.
pub const CART_LETS_GO: &str = "a cart that is no more holds nothing but what is due to go back";
/// What one holds oneself is there for oneself.
pub const OWN_WAY: &str = "nobody is refused what their cart holds";

/// Each with the promise that falls.
pub fn weakenings() -> Vec<(&'static str, Stock, &'static str)> {
    let of = |design| Stock { design };
    let full = Design::default();
    vec![
        ("takes_by_snapshot", of(Design { takes_by_snapshot: true, ..full }), NEVER_BELOW),
        ("replay_takes", of(Design { replay_takes: true, ..full }), ADDS_UP),
        ("end_forgets", of(Design { end_forgets: true, ..full }), ENDED_LETS_GO),
        ("end_marks_again", of(Design { end_marks_again: true, ..full }), ADDS_UP),
        ("counts_by_snapshot", of(Design { counts_by_snapshot: true, ..full }), ADDS_UP),
        ("counts_by_snapshot", of(Design { counts_by_snapshot: true, ..full }), OPEN_HOLDS),
        ("anew_by_snapshot", of(Design { anew_by_snapshot: true, ..full }), ADDS_UP),
        ("anew_takes_nothing", of(Design { anew_takes_nothing: true, ..full }), OPEN_HOLDS),
        ("renews_by_snapshot", of(Design { renews_by_snapshot: true, ..full }), ADDS_UP),
        ("renewal_takes_all", of(Design { renewal_takes_all: true, ..full }), OWN_WAY),
        ("checks_out_by_snapshot", of(Design { checks_out_by_snapshot: true, ..full }), ADDS_UP),
        ("taken_over_stays_due", of(Design { taken_over_stays_due: true, ..full }), OPEN_HOLDS),
        ("checks_out_unguarded", of(Design { checks_out_unguarded: true, ..full }), CART_ONCE),
        ("release_forgets", of(Design { release_forgets: true, ..full }), CART_LETS_GO),
    ]
}

impl State {
    /// Moves one piece from what is available to what is held, if there is one, or if somebody does not mind.
    fn take(&mut self, whatever: bool) -> bool {
        let takes = whatever || self.available > 0;
        if takes {
            self.available -= 1;
            self.held += 1;
        }
        takes
    }

    /// An order ends: its hold is marked in the same transaction.
    fn end(&mut self, design: &Design, order: usize, standing: Standing, becomes: Counts) {
        let order = &mut self.orders[order];
        order.standing = standing;
        let marks = order.counts == Counts::Held && order.due.is_none() || design.end_marks_again;
        if marks && !design.end_forgets {
            order.due = Some(becomes);
        }
    }

    /// A hold that is due is counted.
    fn count(&mut self, order: usize, becomes: Counts) {
        self.orders[order].counts = becomes;
        self.orders[order].due = None;
        self.held -= 1;
        *(if becomes == Counts::Sold { &mut self.sold } else { &mut self.available }) += 1;
    }

    fn accept(&mut self, design: &Design, order: usize) {
        let saw = self.orders[order].saw.unwrap_or(false);
        let takes = if design.takes_by_snapshot { saw && self.take(true) } else { self.take(false) };
        let one = &mut self.orders[order];
        one.answered = true;
        if takes {
            (one.standing, one.counts) = (Standing::Open, Counts::Held);
        }
    }

    /// Makes the cart, or renews it: takes what it does not hold.
    fn fill(&mut self, design: &Design) {
        let saw = self.cart.saw.take();
        let is_held = match saw {
            Some(saw) if design.renews_by_snapshot => saw,
            _ => self.cart.counts == Counts::Held,
        };
        let needs = design.renewal_takes_all || !is_held;
        if needs && !self.take(false) {
            // What was in it is in it still.
            self.own_way |= self.cart.counts == Counts::Held;
            return;
        }
        let cart = &mut self.cart;
        (cart.version, cart.counts, cart.due) = (cart.version + 1, Counts::Held, false);
    }

    fn release(&mut self, design: &Design) {
        self.cart.gone = true;
        self.cart.due |= self.cart.counts == Counts::Held && !design.release_forgets;
    }

    /// The cart becomes this order: what it holds is the order's, and what it holds no longer is taken.
    fn check_out(&mut self, design: &Design, order: usize) {
        let (version, saw_held) = self.orders[order].saw_cart.take().unwrap_or_default();
        self.orders[order].answered = true;
        let is_same = !self.cart.gone && self.cart.version == version;
        if !(is_same || design.checks_out_unguarded) {
            return;
        }
        let is_held = if design.checks_out_by_snapshot { saw_held } else { self.cart.counts == Counts::Held };
        if !is_held && !self.take(false) {
            return;
        }
        let one = &mut self.orders[order];
        (one.standing, one.counts, one.of_cart) = (Standing::Open, Counts::Held, true);
        if is_held {
            one.due = (design.taken_over_stays_due && self.cart.due).then_some(Counts::Back);
            (self.cart.counts, self.cart.due) = (Counts::Nothing, false);
        }
        self.cart.gone = true;
    }

    fn pay_anew(&mut self, design: &Design, order: usize) {
        let one = self.orders[order];
        self.orders[order].paid_anew = true;
        let is_held = match one.saw_held {
            Some(saw) if design.anew_by_snapshot => saw,
            _ => one.counts == Counts::Held,
        };
        if !(is_held || design.anew_takes_nothing || self.take(false)) {
            return;
        }
        let one = &mut self.orders[order];
        one.standing = Standing::Open;
        if !design.anew_takes_nothing {
            (one.counts, one.due) = (Counts::Held, None);
        }
    }
}

impl Model for Stock {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let order = Order {
            standing: Standing::None,
            counts: Counts::Nothing,
            due: None,
            saw: None,
            saw_held: None,
            saw_cart: None,
            of_cart: false,
            answered: false,
            replayed: false,
            paid_anew: false,
        };
        let cart = Cart { version: 0, gone: false, counts: Counts::Nothing, due: false, saw: None };
        let chores = [None; 2];
        let own_way = false;
        vec![State { available: PIECES, held: 0, sold: 0, orders: [order; 2], cart, chores, own_way }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (n, order) in state.orders.iter().enumerate() {
            let Order { standing, saw, saw_held, answered, replayed, paid_anew, .. } = *order;
            let goes_on = matches!(standing, Standing::Open | Standing::Failed);
            let may = [
                (!answered && saw.is_none() && order.saw_cart.is_none(), Action::Look(n)),
                (!answered && saw.is_some(), Action::Accept(n)),
                (answered && !replayed && standing != Standing::None, Action::AcceptAgain(n)),
                // Once: what is paid anew is paid, or cancelled.
                (standing == Standing::Open && !paid_anew, Action::Fail(n)),
                (goes_on, Action::Cancel(n)),
                (standing == Standing::Open, Action::Deliver(n)),
                (standing == Standing::Failed && !paid_anew && saw_held.is_none(), Action::LookAnew(n)),
                (standing == Standing::Failed && !paid_anew && saw_held.is_some(), Action::PayAnew(n)),
            ];
            actions.extend(may.into_iter().filter(|(may, _)| *may).map(|(_, action)| action));
        }
        let Cart { version, gone, counts, due, saw } = state.cart;
        let may = [
            (!gone && version < FILLS && saw.is_none(), Action::LookAtOwn),
            (!gone && saw.is_some(), Action::Fill),
            (counts == Counts::Held && !due, Action::Expire),
            (!gone && version > 0, Action::Release),
        ];
        actions.extend(may.into_iter().filter(|(may, _)| *may).map(|(_, action)| action));
        for (n, order) in state.orders.iter().enumerate() {
            // Who has not begun to order otherwise.
            let Order { answered, saw, saw_cart, .. } = *order;
            if !answered && saw.is_none() {
                match saw_cart {
                    None if !gone && version > 0 => actions.push(Action::LookAtCart(n)),
                    Some(_) => actions.push(Action::CheckOut(n)),
                    None => {}
                }
            }
        }
        let is_due = due || state.orders.iter().any(|order| order.due.is_some());
        for (n, chore) in state.chores.iter().enumerate() {
            match chore {
                None if is_due => actions.push(Action::LookForDue(n)),
                Some(_) => actions.push(Action::Count(n)),
                None => {}
            }
        }
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let (design, mut after) = (&self.design, *before);
        match action {
            Action::Look(n) => after.orders[n].saw = Some(before.available > 0),
            Action::Accept(n) => after.accept(design, n),
            Action::AcceptAgain(n) => {
                after.orders[n].replayed = true;
                if design.replay_takes {
                    after.available -= 1;
                }
            }
            Action::Fail(n) => after.end(design, n, Standing::Failed, Counts::Back),
            Action::Cancel(n) => after.end(design, n, Standing::Ended, Counts::Back),
            Action::Deliver(n) => after.end(design, n, Standing::Delivered, Counts::Sold),
            Action::LookAnew(n) => after.orders[n].saw_held = Some(before.orders[n].counts == Counts::Held),
            Action::PayAnew(n) => after.pay_anew(design, n),
            Action::LookAtOwn => after.cart.saw = Some(before.cart.counts == Counts::Held),
            Action::Fill => after.fill(design),
            Action::Expire => after.cart.due = true,
            Action::Release => after.release(design),
            Action::LookAtCart(n) => {
                after.orders[n].saw_cart = Some((before.cart.version, before.cart.counts == Counts::Held));
            }
            Action::CheckOut(n) => after.check_out(design, n),
            Action::LookForDue(n) => {
                let [one, other] = before.orders.map(|order| order.due.is_some());
                after.chores[n] = Some([one, other, before.cart.due]);
            }
            Action::Count(n) => {
                let [one, other, cart] = after.chores[n].take().unwrap_or_default();
                if cart && after.cart.due {
                    (after.cart.counts, after.cart.due) = (Counts::Back, false);
                    after.held -= 1;
                    after.available += 1;
                }
                for (order, saw) in [one, other].into_iter().enumerate() {
                    let due = after.orders[order].due.or(design.counts_by_snapshot.then_some(Counts::Back));
                    if let (true, Some(becomes)) = (saw, due) {
                        after.count(order, becomes);
                    }
                }
            }
        }
        Some(after)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always(ADDS_UP, |_: &Self, state: &State| {
                let all = state.orders.iter().map(|order| order.counts).chain([state.cart.counts]);
                let held = all.filter(|counts| *counts == Counts::Held).count();
                let sold = state.orders.iter().filter(|order| order.counts == Counts::Sold).count();
                state.available + state.held + state.sold == PIECES
                    && usize::try_from(state.held) == Ok(held)
                    && usize::try_from(state.sold) == Ok(sold)
            }),
            Property::always(NEVER_BELOW, |_, state: &State| {
                state.available >= 0 && state.held >= 0 && state.sold >= 0
            }),
            Property::always(OPEN_HOLDS, |_, state: &State| {
                let holds = |order: &Order| order.counts == Counts::Held && order.due.is_none();
                state.orders.iter().all(|order| order.standing != Standing::Open || holds(order))
            }),
            Property::always(ENDED_LETS_GO, |_, state: &State| {
                let ended = |order: &Order| matches!(order.standing, Standing::Ended | Standing::Failed);
                let lets_go = |order: &Order| order.counts == Counts::Back || order.due == Some(Counts::Back);
                state.orders.iter().all(|order| !ended(order) || lets_go(order))
            }),
            Property::always(DELIVERED_HAS, |_, state: &State| {
                let has = |order: &Order| order.counts == Counts::Sold || order.due == Some(Counts::Sold);
                state.orders.iter().all(|order| order.standing != Standing::Delivered || has(order))
            }),
            Property::always(CART_ONCE, |_, state: &State| {
                state.orders.iter().filter(|order| order.of_cart).count() <= 1
            }),
            Property::always(CART_LETS_GO, |_, state: &State| {
                !state.cart.gone || state.cart.counts != Counts::Held || state.cart.due
            }),
            Property::always(OWN_WAY, |_, state: &State| !state.own_way),
        ];
        if self.design == Design::default() {
            let sometimes = |name, what: fn(&Self, &State) -> bool| Property::sometimes(name, what);
            properties.push(sometimes("sold", |_, state| state.sold == PIECES));
            properties.push(sometimes("went back, and was taken by the other", |_, state| {
                state.orders.iter().any(|order| order.counts == Counts::Back) && state.held > 0
            }));
            properties.push(sometimes("paid anew, and it was gone", |_, state| {
                state.orders.iter().any(|order| order.paid_anew && order.standing == Standing::Failed)
            }));
            properties.push(sometimes("paid anew, and it was there", |_, state| {
                state.orders.iter().any(|order| order.paid_anew && order.standing == Standing::Open)
            }));
            properties.push(sometimes("a cart's hold became an order's", |_, state| {
                state.orders.iter().any(|order| order.of_cart && order.counts == Counts::Sold)
            }));
            properties.push(sometimes("a cart's time was over, and it was renewed", |_, state| {
                state.cart.version == FILLS && state.cart.counts == Counts::Held && !state.cart.due
            }));
            properties.push(sometimes("a cart's time was over, and another had it", |_, state| {
                state.cart.counts == Counts::Back
                    && state.orders.iter().any(|order| !order.of_cart && order.counts == Counts::Held)
            }));
            properties.push(sometimes(
                "a cart was ordered that held nothing any more, and it was there",
                |_, state| {
                    state.cart.counts == Counts::Back
                        && state.orders.iter().any(|order| order.of_cart && order.counts == Counts::Held)
                },
            ));
        }
        properties
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} available, {} held, {} sold; ", self.available, self.held, self.sold)?;
        let mut orders = self.orders.iter();
        orders.try_for_each(|order| {
            write!(f, "{:?}: {:?}, due {:?}; ", order.standing, order.counts, order.due)
        })?;
        let Cart { version, gone, counts, due, .. } = self.cart;
        write!(f, "cart {version}: {counts:?}, due {due}, gone {gone}")
    }
}
