//! What every verb uses: where things begin, who holds what, and the two ways in which a status changes, which note
//! what should never happen.

use domain::order::status::OrderStatus;
use stateright::Representative;

use crate::accept;
use crate::bits::Bits;
use crate::design::Scope;
use crate::state::Request;
use crate::state::{Api, Hand, Kind, Order, PAYMENTS, Payment, Standing, State, WORKERS, Worker, Wrongs};
use crate::verb::Verb;

impl State {
    /// Before anything: orders on their way to the api; or durable, and their hints lost.
    pub fn new(scope: &Scope) -> Self {
        let order = |index| Order {
            api: if index < usize::from(scope.orders) { Api::Waiting } else { Api::Nothing },
            told: false,
            status: None,
            wish: false,
            told_cancelled: false,
            accepted: false,
            rejected: false,
            kept: Bits::default(),
        };
        let mut state = Self {
            orders: std::array::from_fn(order),
            payments: [None; PAYMENTS],
            workers: [Worker::Idle; WORKERS],
            requests: [Request::Unasked; Verb::ALL.len()],
            faults: scope.faults,
            wrongs: Wrongs::default(),
        };
        if scope.durable {
            accept::accept(&mut state, Bits::of(0..scope.orders));
            accept::crash(&mut state);
        }
        state
    }

    /// The payments of an order that are no refunds.
    pub fn charges(&self, order: u8) -> Bits {
        Bits::of((0..PAYMENTS as u8).filter(|payment| {
            self.payments[usize::from(*payment)]
                .is_some_and(|row| row.order == order && !row.kind.is_refund())
        }))
    }

    /// The charge that decides an order: the last of its own, should it have been paid anew.
    pub fn own_charge_place(&self, order: u8) -> u8 {
        let own = |payment: &Option<Payment>| {
            payment.as_ref().is_some_and(|one| (one.order, one.kind) == (order, Kind::Charge))
        };
        self.payments.iter().rposition(own).expect("an order has a charge") as u8
    }

    /// Whether it is the first charge of its order, which waits in the queue.
    pub fn is_first(&self, payment: u8) -> bool {
        let row = self.payment(payment);
        (row.order, row.kind) == (payment, Kind::Charge)
    }

    /// An order as it is shown: `PAYMENT_PROCESSING` from the first claim of its charge, which does not write it.
    pub fn shown(&self, order: u8) -> Option<OrderStatus> {
        let begun = || self.payments[usize::from(order)].is_some_and(|first| first.queued && first.epoch > 0);
        match self.orders[usize::from(order)].status {
            Some(OrderStatus::Pending) if begun() => Some(OrderStatus::PaymentProcessing),
            stored => stored,
        }
    }

    /// Stores what is only shown, before another change of the order is.
    pub fn note_processing(&mut self, order: u8) {
        if self.shown(order) != self.orders[usize::from(order)].status {
            self.move_order(order, OrderStatus::PaymentProcessing);
        }
    }

    /// Additions that have not come to an end.
    pub fn open_additions(&self, order: u8) -> Bits {
        let open = |charge: &u8| {
            let row = self.payment(*charge);
            row.kind == Kind::Addition && !row.standing.is_final()
        };
        Bits::of(self.charges(order).iter().filter(open))
    }

    /// A payment that there is.
    pub fn payment(&self, payment: u8) -> &Payment {
        self.payments[usize::from(payment)].as_ref().expect("an action names a payment that there is")
    }

    /// The same, to be changed.
    pub fn payment_mut(&mut self, payment: u8) -> &mut Payment {
        self.payments[usize::from(payment)].as_mut().expect("an action names a payment that there is")
    }

    /// What a busy worker holds.
    pub fn hand_mut(&mut self, worker: u8) -> &mut Hand {
        match &mut self.workers[usize::from(worker)] {
            Worker::Busy(hand) => hand,
            Worker::Idle | Worker::Acking(_) => unreachable!("an action of a busy worker"),
        }
    }

    /// The worker that holds a payment under its present epoch.
    pub fn holder(&self, payment: u8) -> Option<usize> {
        let epoch = self.payment(payment).epoch;
        self.workers.iter().position(
            |worker| matches!(worker, Worker::Busy(hand) if (hand.payment, hand.epoch) == (payment, epoch)),
        )
    }

    /// Adds a payment, and says where.
    pub fn insert(&mut self, payment: Payment) -> Option<u8> {
        let place = self.payments.iter().position(Option::is_none);
        match place {
            Some(place) => self.payments[place] = Some(payment),
            None => self.wrongs.no_room = true,
        }
        place.map(|place| place as u8)
    }

    /// Moves an order.
    pub fn move_order(&mut self, order: u8, to: OrderStatus) {
        let row = &mut self.orders[usize::from(order)];
        let from = row.status.replace(to).expect("an order that there is");
        self.wrongs.illegal_move |= !from.may_become(to);
        self.wrongs.final_moved |=
            matches!(from, OrderStatus::Delivered | OrderStatus::Rejected | OrderStatus::Cancelled);
    }

    /// Moves a payment. What is final is one of `payments`.
    pub fn move_payment(&mut self, payment: u8, to: Standing) {
        let row = self.payment_mut(payment);
        let from = std::mem::replace(&mut row.standing, to);
        row.lease_over = false;
        if to.is_final() {
            row.queued = false;
            row.listed = true;
        }
        self.wrongs.final_moved |= from.is_final() && from != to;
    }
}

impl Representative for State {
    /// Workers are alike: who is first makes no difference.
    fn representative(&self) -> Self {
        let mut same = *self;
        same.workers.sort_unstable();
        same
    }
}
