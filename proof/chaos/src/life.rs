//! What becomes of an order after its 202: what its customer does, and what the kitchen does with it. A pure function of
//! the same dice as the order itself.
#![expect(clippy::float_arithmetic, reason = "shares of orders; no money")]

use std::time::Duration;

use domain::money::Money;
use rand::Rng;
use rand::rngs::StdRng;

/// How people are: shares of all orders.
#[derive(Debug, Clone, Copy)]
pub struct Habits {
    /// Are called off by their customer: before the charge, during it or after it.
    pub cancelled: f64,
    /// Have something added.
    pub added: f64,
    /// Are paid anew, where their payment failed.
    pub paid_anew: f64,
    /// The kitchen takes them.
    pub taken: f64,
    /// The kitchen takes them by beginning with them.
    pub begun: f64,
    /// The kitchen refuses them.
    pub rejected: f64,
    /// The kitchen takes them about when it is too late. Those that are left, it never answers.
    pub in_the_last_moment: f64,
    /// The kitchen looks at an order within so many milliseconds of its 202.
    pub looks_within_ms: u64,
}

impl Habits {
    /// A good kitchen on a busy evening.
    pub const EVERYDAY: Self = Self {
        cancelled: 0.04,
        added: 0.1,
        paid_anew: 0.5,
        taken: 0.6,
        begun: 0.08,
        rejected: 0.12,
        in_the_last_moment: 0.1,
        looks_within_ms: 1_500,
    };

    /// One that refuses whatever it looks at, at once, so that refunds are as common as charges.
    pub const REJECTING: Self = Self {
        taken: 0.0,
        begun: 0.0,
        rejected: 0.85,
        in_the_last_moment: 0.0,
        looks_within_ms: 200,
        ..Self::EVERYDAY
    };

    /// One that answers nothing.
    pub const SILENT: Self = Self { rejected: 0.0, ..Self::REJECTING };
}

/// Of the orders taken, so many are handed over, and so many take a step back.
const DELIVERED: f64 = 0.3;
const STEPS_BACK: f64 = 0.05;
/// So many are made and not fetched, and as many again whose money stays.
const NOBODY_CAME: f64 = 0.03;
/// Customers change their minds within this of their 202: a charge takes a tenth of a second, a retried one a second
/// and more.
const CHANGES_MIND_WITHIN_MS: u64 = 1_500;
/// A charge without faults and a sweep take about as long: between these after the deadline, counted from the 202, is
/// just before and just after it.
const LAST_MOMENT_MS: std::ops::Range<u64> = 0..700;

/// What becomes of an order.
#[derive(Debug, Clone)]
pub struct Life {
    /// It is cancelled so long after its 202.
    pub cancelled_after: Option<Duration>,
    /// Something is added to it.
    pub addition: Option<Addition>,
    /// Should its payment fail, it is paid anew.
    pub pays_anew: bool,
    /// The kitchen's answer, and how long after the 202 it first tries to give it.
    pub kitchen: Option<(Duration, Verdict)>,
}

/// More for an order.
#[derive(Debug, Clone)]
pub struct Addition {
    /// So long after its 202.
    pub after: Duration,
    /// Of an article that no other order has.
    pub quantity: u32,
    /// Its price.
    pub price: Money,
}

/// What the kitchen does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Takes it.
    Takes(Then),
    /// Takes it by beginning with it.
    Begins,
    /// Refuses it.
    Rejects,
}

/// What it does then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Nothing more.
    Rests,
    /// Makes it and hands it over.
    Delivers,
    /// Begins, and has to take that back.
    StepsBack,
    /// Makes it, and nobody comes for it.
    NobodyCame {
        /// Whether the money goes back.
        refund: bool,
    },
}

impl Life {
    /// Of an order that nobody changes their mind about: it is made and handed over.
    pub(crate) fn of_a_meal(dice: &mut StdRng, habits: &Habits) -> Self {
        let looks_after = Duration::from_millis(dice.random_range(0..habits.looks_within_ms));
        Self {
            cancelled_after: None,
            addition: None,
            pays_anew: true,
            kitchen: Some((looks_after, Verdict::Takes(Then::Delivers))),
        }
    }

    /// Rolls the dice.
    pub fn new(dice: &mut StdRng, habits: &Habits, price: Money, deadline: Duration) -> Self {
        let mut within = |millis| Duration::from_millis(dice.random_range(0..millis));
        let (cancelled_after, added_after, looks_after) =
            (within(CHANGES_MIND_WITHIN_MS), within(CHANGES_MIND_WITHIN_MS), within(habits.looks_within_ms));
        let quantity = dice.random_range(1..=3);
        Self {
            cancelled_after: dice.random_bool(habits.cancelled).then_some(cancelled_after),
            addition: dice.random_bool(habits.added).then_some(Addition {
                after: added_after,
                quantity,
                price,
            }),
            pays_anew: dice.random_bool(habits.paid_anew),
            kitchen: kitchen(dice, habits, looks_after, deadline),
        }
    }
}

fn kitchen(
    dice: &mut StdRng,
    habits: &Habits,
    looks_after: Duration,
    deadline: Duration,
) -> Option<(Duration, Verdict)> {
    let then = match dice.random::<f64>() {
        share if share < DELIVERED => Then::Delivers,
        share if share < DELIVERED + STEPS_BACK => Then::StepsBack,
        share if share < DELIVERED + STEPS_BACK + NOBODY_CAME => Then::NobodyCame { refund: true },
        share if share < DELIVERED + STEPS_BACK + 2.0 * NOBODY_CAME => Then::NobodyCame { refund: false },
        _ => Then::Rests,
    };
    let last_moment = deadline + Duration::from_millis(dice.random_range(LAST_MOMENT_MS));
    let mut left = dice.random::<f64>();
    [
        (habits.taken, looks_after, Verdict::Takes(then)),
        (habits.begun, looks_after, Verdict::Begins),
        (habits.rejected, looks_after, Verdict::Rejects),
        (habits.in_the_last_moment, last_moment, Verdict::Takes(Then::Rests)),
    ]
    .into_iter()
    .find_map(|(share, after, verdict)| {
        left -= share;
        (left < 0.0).then_some((after, verdict))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::money::Currency;
    use rand::SeedableRng;

    fn lives(habits: &Habits) -> Vec<Life> {
        let mut dice = StdRng::seed_from_u64(7);
        let price = Money::from_minor(499, Currency::USD);
        (0..2_000).map(|_| Life::new(&mut dice, habits, price, Duration::from_secs(6))).collect()
    }

    #[test]
    fn everyday_has_some_of_everything_and_most_are_answered() {
        let lives = lives(&Habits::EVERYDAY);
        let count = |what: &dyn Fn(&Life) -> bool| lives.iter().filter(|life| what(life)).count();
        let verdict = |wanted| move |life: &Life| life.kitchen.is_some_and(|(_, verdict)| verdict == wanted);
        assert!(count(&|life| life.cancelled_after.is_some()) > 40);
        assert!(count(&|life| life.addition.is_some()) > 100);
        let nobody_came = [true, false].map(|refund| Then::NobodyCame { refund });
        for wanted in [Then::Rests, Then::Delivers, Then::StepsBack].into_iter().chain(nobody_came) {
            let wanted = Verdict::Takes(wanted);
            assert!(count(&verdict(wanted)) > 20, "{wanted:?}");
        }
        assert!(count(&verdict(Verdict::Begins)) > 80 && count(&verdict(Verdict::Rejects)) > 120);
        assert!((100..400).contains(&count(&|life| life.kitchen.is_none())));
        assert!(count(&|life| life.kitchen.is_some_and(|(after, _)| after >= Duration::from_secs(6))) > 100);
    }

    #[test]
    fn one_kitchen_only_refuses_and_one_answers_nothing() {
        let rejects = |life: &Life| life.kitchen.is_none_or(|(_, verdict)| verdict == Verdict::Rejects);
        assert!(lives(&Habits::REJECTING).iter().all(rejects));
        assert!(lives(&Habits::REJECTING).iter().any(|life| life.kitchen.is_none()));
        assert!(lives(&Habits::SILENT).iter().all(|life| life.kitchen.is_none()));
    }
}
