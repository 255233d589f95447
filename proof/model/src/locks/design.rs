//! In which sequence everybody locks, and what happens without it.

use super::Row::{Added, Anew, Order, Own, Tries};
use super::Step::{Take, Try};
use super::{Locks, NO_DEADLOCK, Row, Step, Who};

/// Further charges by their ids. An id has its order's time and no more, so those of two orders may stand in any sequence.
const BY_ID: [Row; 4] = [Added(1, 1), Added(0, 0), Added(0, 1), Added(1, 0)];

/// In which sequence locks are taken. The default is how it should be; each switch leaves one thing out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Design {
    /// The sweep of deadlines takes first the charge that has the deadline, and waits for the order's own.
    pub deadline_first: bool,
    /// It waits for what is held.
    pub sweep_waits: bool,
    /// It takes the further charges order by order, as the deadlines come.
    pub others_as_they_come: bool,
    /// What follows from a settlement locks the orders as the payments come.
    pub orders_as_they_come: bool,
    /// An addition is charged before its order is paid.
    pub takes_held: bool,
    /// Who settles too late to move anything removes rows of old tries all the same, as its batch came.
    pub late_removes: bool,
}

/// Who comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Who, once each.
    pub who: &'static [Who],
}

impl Scope {
    /// All of them, by name.
    pub const ALL: [(&'static str, Self); 4] = [
        ("paid anew", Self::PAID),
        ("being paid anew", Self::PAYING),
        ("tried for days", Self::TRIED),
        ("late anew", Self::LATE),
    ];
    /// Two orders that were paid anew, have additions, and are late.
    pub const PAID: Self = Self {
        who: &[Who::Sweep, Who::SweepBack, Who::Kitchen, Who::OtherKitchen, Who::Settle, Who::SettleBack],
    };
    /// The second is being paid; additions of it are held until then.
    pub const PAYING: Self =
        Self { who: &[Who::Kitchen, Who::OtherKitchen, Who::SettleAnew, Who::SettleBesides] };
    /// Both wait for their payment, which was tried many times.
    pub const TRIED: Self = Self { who: &[Who::Kitchen, Who::OtherKitchen, Who::SettleOld, Who::SettleLate] };
    /// Both are being paid anew, and that takes too long; what was added to them is held.
    pub const LATE: Self =
        Self { who: &[Who::Sweep, Who::SweepBack, Who::Kitchen, Who::OtherKitchen, Who::SettleBothAnew] };
}

impl Design {
    /// The locks of one transaction, in their sequence.
    pub(super) fn steps(&self, who: Who) -> Vec<Step> {
        match who {
            Who::Sweep => self.sweep([0, 1]),
            Who::SweepBack => self.sweep([1, 0]),
            Who::Kitchen => one_order(0),
            Who::OtherKitchen => one_order(1),
            Who::Settle => self.settle(&[Added(0, 0), Added(1, 0)]),
            Who::SettleBack => self.settle(&[Added(1, 1), Added(0, 1)]),
            Who::SettleBesides if self.takes_held => self.settle(&[Added(0, 1), Added(1, 0)]),
            Who::SettleBesides => self.settle(&[Added(0, 1)]),
            // `settle/own.rs`, `few.rs`: the charges, then the rows of each; who comes late is stopped by the charges' epoch.
            Who::SettleOld => [Own(0), Own(1), Tries(0), Tries(1)].map(Take).to_vec(),
            Who::SettleLate if self.late_removes => [Tries(1), Tries(0)].map(Take).to_vec(),
            Who::SettleLate => Vec::new(),
            // `settle/others.rs`: one statement moves the charge and the order that waits for it; the addition's order is looked at after that.
            Who::SettleAnew => [Anew(1), Order(1), Added(0, 0), Order(0)].map(Take).to_vec(),
            Who::SettleBothAnew => [Anew(0), Order(0), Anew(1), Order(1)].map(Take).to_vec(),
        }
    }

    /// `store/src/deadline`, `store/src/call_off`: what its query takes, overdue longest first; then the further charges, by id; then the orders.
    fn sweep(&self, late: [u8; 2]) -> Vec<Step> {
        let first = if self.sweep_waits { Take } else { Try };
        let pair = |order: u8| match (self.deadline_first, self.sweep_waits) {
            (false, _) => [first(Own(order)), first(Anew(order))],
            (true, _) => [first(Anew(order)), Take(Own(order))],
        };
        let mut others = BY_ID;
        if self.others_as_they_come {
            others.sort_by_key(|row| row.order() != late[0]);
        }
        let orders = [Order(0), Order(1)];
        late.into_iter().flat_map(pair).chain(others.into_iter().chain(orders).map(Take)).collect()
    }

    /// `store/src/settle`: the payments by id, all of them; then the orders of those whose money moved, by id.
    fn settle(&self, payments: &[Row]) -> Vec<Step> {
        let mut orders: Vec<u8> = payments.iter().map(|row| row.order()).collect();
        if !self.orders_as_they_come {
            orders.sort_unstable();
        }
        payments.iter().copied().chain(orders.into_iter().map(Order)).map(Take).collect()
    }
}

/// `store/src/moves.rs`, and all who go by it: an order's own charge, its others by id, then the order.
fn one_order(order: u8) -> Vec<Step> {
    let others = BY_ID.into_iter().filter(|row| row.order() == order);
    [Own(order), Anew(order)].into_iter().chain(others).chain([Order(order)]).map(Take).collect()
}

/// Each part of the sequence that may be left out, with the promise that then falls.
pub fn weakenings() -> Vec<(&'static str, Locks, &'static str)> {
    let full = Design::default();
    let paid = |name, design| (name, Locks { design, scope: Scope::PAID }, NO_DEADLOCK);
    vec![
        paid("deadline_first", Design { deadline_first: true, ..full }),
        paid("sweep_waits", Design { sweep_waits: true, ..full }),
        (
            "calling_off_waits",
            Locks { design: Design { sweep_waits: true, ..full }, scope: Scope::LATE },
            NO_DEADLOCK,
        ),
        paid("others_as_they_come", Design { others_as_they_come: true, ..full }),
        paid("orders_as_they_come", Design { orders_as_they_come: true, ..full }),
        (
            "additions_before_paid",
            Locks { design: Design { takes_held: true, ..full }, scope: Scope::PAYING },
            NO_DEADLOCK,
        ),
        (
            "late_removes",
            Locks { design: Design { late_removes: true, ..full }, scope: Scope::TRIED },
            NO_DEADLOCK,
        ),
    ]
}
