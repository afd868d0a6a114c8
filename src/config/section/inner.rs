//! `[inner]`: how the network adapts to an episode.

use crate::config::checker::Checker;
use crate::config::choice::choice;
use crate::config::key::{Fixed, Is, Open, Otherwise, keys};
use crate::config::kind::{Count, Number, OneOf, at_least, non_negative, one_of, positive};
use serde::Serialize;

keys! {
    /// Gradient steps on the support images, in training.
    STEPS: Fixed<Count> = "inner.steps", at_least(1), Is(|| 1);
    /// Learning rate of these steps.
    RATE: Fixed<Number> = "inner.rate", positive(), Is(|| 0.4);
    /// Gradient steps on the support images, in evaluation.
    EVAL_STEPS: Open<Count> = "inner.eval_steps", at_least(0), Otherwise("inner.steps");
    /// Which weights these steps move: all of them, or the last linear layer's.
    ADAPTS: Fixed<OneOf<Adapts>> = "inner.adapts", one_of(), Is(|| Adapts::All);
    /// Whether inner.rate stays as it is, or is where a rate of its own for every weight starts, to be
    /// learned with the weights.
    RATES: Fixed<OneOf<RateKind>> = "inner.rates", one_of(), Is(|| RateKind::Fixed);
    /// Strength λ of the pull back to where the inner loop started: λ/2 times the squared distance is
    /// added to the support loss.
    PROXIMAL: Fixed<Number> = "inner.proximal", non_negative(), Is(|| 0.0);
}

choice! {
    /// Which weights adapt to an episode.
    pub enum Adapts {
        /// All of them (MAML).
        All = "all",
        /// The last linear layer's; the others are the same for all episodes (ANIL).
        Head = "head",
    }
}

choice! {
    /// What becomes of the inner learning rate.
    pub enum RateKind {
        /// It stays.
        Fixed = "fixed",
        /// Every weight that adapts has one, learned from there on (Meta-SGD).
        Learned = "learned",
    }
}

/// How the network adapts to an episode: gradient descent on the support images.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Inner {
    /// Steps in training, ≥ 1.
    pub steps: usize,
    /// Learning rate, > 0.
    pub rate: f64,
    /// Steps in evaluation; 0 judges the initial weights.
    pub eval_steps: usize,
    /// Which weights move.
    pub adapts: Adapts,
    /// What becomes of the learning rate.
    pub rates: RateKind,
    /// λ of the proximal term, ≥ 0.
    pub proximal: f64,
}

/// The section, checked.
pub fn check(checker: &mut Checker) -> Inner {
    let steps = checker.get(&STEPS);
    Inner {
        steps,
        rate: checker.get(&RATE),
        eval_steps: checker.find(&EVAL_STEPS).unwrap_or(steps),
        adapts: checker.get(&ADAPTS),
        rates: checker.get(&RATES),
        proximal: checker.get(&PROXIMAL),
    }
}
