//! Walks through the states: all of them, or as far as the shortest way to a broken promise.

use std::fmt;
use std::hash::Hash;
use std::time::{Duration, Instant};

use stateright::{Checker, Expectation, HasDiscoveries, Model, Path};

use crate::protocol::Protocol;
use crate::state::{Kind, State, Worker};

/// Threads of a full walk: as many as the smallest machine that CI runs on has cores.
const THREADS: usize = 2;
/// No way to a broken promise is sought that is longer. The longest that the whole protocol has is 29 steps.
const LONGEST: usize = 40;

/// What a full walk found.
#[derive(Clone, Debug)]
pub struct Walk {
    /// States that differ, workers being alike.
    pub states: usize,
    /// Steps that led to them.
    pub steps: usize,
    /// The longest way.
    pub depth: usize,
    /// How long it took.
    pub took: Duration,
    /// Promises that do not hold.
    pub broken: Vec<&'static str>,
    /// What should have been seen to happen, and was not.
    pub unseen: Vec<&'static str>,
}

/// Visits every state.
pub fn walk(protocol: Protocol) -> Walk {
    let started = Instant::now();
    sum_up(&protocol, started, &protocol.checker().threads(THREADS).symmetry().spawn_dfs().join())
}

/// The same of a model in which nothing is alike.
pub fn walk_plain<M>(model: M) -> Walk
where
    M: Model + Copy + Send + Sync + 'static,
    M::State: fmt::Debug + Clone + Hash + PartialEq + Send + Sync + 'static,
    M::Action: fmt::Debug + Clone + PartialEq + Send + Sync + 'static,
{
    let started = Instant::now();
    sum_up(&model, started, &model.checker().threads(THREADS).spawn_dfs().join())
}

fn sum_up<M: Model>(model: &M, started: Instant, checker: &impl Checker<M>) -> Walk
where
    M::State: Clone + PartialEq,
    M::Action: Clone + PartialEq,
{
    let found = checker.discoveries();
    let of = |kind: Expectation, discovered| {
        let mut names: Vec<_> = model
            .properties()
            .into_iter()
            .filter(|property| {
                property.expectation == kind && found.contains_key(property.name) == discovered
            })
            .map(|property| property.name)
            .collect();
        names.sort_unstable();
        names
    };
    Walk {
        states: checker.unique_state_count(),
        steps: checker.state_count(),
        depth: checker.max_depth(),
        took: started.elapsed(),
        broken: of(Expectation::Always, true),
        unseen: of(Expectation::Sometimes, false),
    }
}

/// The shortest way to a state in which `promise` does not hold. The checker may overwrite what it found with
/// something longer, so it is sent again for a shorter way until there is none.
pub fn shortest<M>(model: M, promise: &'static str) -> Option<Path<M::State, M::Action>>
where
    M: Model + Copy + Send + Sync + 'static,
    M::State: fmt::Debug + Clone + Hash + PartialEq + Send + Sync + 'static,
    M::Action: fmt::Debug + Clone + PartialEq + 'static,
{
    let below = |states| {
        let checker = model
            .checker()
            .target_max_depth(states)
            .finish_when(HasDiscoveries::AnyOf([promise].into()))
            .spawn_bfs()
            .join();
        checker.discovery(promise)
    };
    let mut shortest = below(LONGEST)?;
    while let Some(shorter) = below(shortest.clone().into_vec().len()) {
        shortest = shorter;
    }
    Some(shortest)
}

impl fmt::Display for Walk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { states, steps, depth, took, broken, unseen } = self;
        write!(f, "{states} states, {steps} steps, {depth} deep, {took:.1?}")?;
        if !broken.is_empty() {
            write!(f, "; broken: {}", broken.join(", "))?;
        }
        if !unseen.is_empty() {
            write!(f, "; never seen: {}", unseen.join(", "))?;
        }
        Ok(())
    }
}

/// A way, a line a step: what happened, and how things stood then.
pub fn tell<S, A>(path: Path<S, A>) -> String
where
    S: Eq + fmt::Debug + fmt::Display,
    A: Copy + Eq + fmt::Debug,
{
    let steps = path.into_vec();
    let actions = steps.iter().filter_map(|(_, action)| *action);
    let after = steps.iter().skip(1).map(|(state, _)| state);
    actions.zip(after).map(|(action, state)| format!("    {:<46} {state}\n", format!("{action:?}"))).collect()
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for status in self.orders.iter().filter_map(|order| order.status) {
            write!(f, "{}; ", status.as_str())?;
        }
        if self.orders.iter().any(|order| order.wish) {
            write!(f, "wish; ")?;
        }
        for payment in self.payments.iter().flatten() {
            match payment.kind {
                Kind::Refund { of } => write!(f, "Refund of {of}")?,
                kind => write!(f, "{kind:?}")?,
            }
            let place = match (payment.queued, payment.listed) {
                (true, false) => " in the queue",
                (true, true) => " in the queue and final",
                (false, _) => "",
            };
            write!(f, "{place} {:?} epoch {}", payment.standing, payment.epoch)?;
            let sets = [
                ("on its way", payment.in_flight),
                ("taken", payment.taken),
                ("declined", payment.declined),
                ("void", payment.void),
            ];
            for (name, set) in sets.iter().filter(|(_, set)| !set.is_empty()) {
                write!(f, ", {name} {set:?}")?;
            }
            write!(f, "; ")?;
        }
        for (index, worker) in self.workers.iter().enumerate() {
            if let Worker::Busy(hand) = worker {
                write!(f, "worker {index} {:?} under epoch {}; ", hand.step, hand.epoch)?;
            }
        }
        Ok(())
    }
}
