//! `[inner]`: how the network adapts to an episode.

use crate::config::checker::Checker;
use crate::config::key::{Fixed, Is, Open, Otherwise, keys};
use crate::config::kind::{Count, Number, OneOf, at_least, non_negative, one_of, positive};
use crate::task::Adapts;
use bilevel::choice;
use serde::Serialize;

keys! {
    /// Number of gradient steps on the support images in training.
    STEPS: Fixed<Count> = "inner.steps", at_least(1), Is(|| 1);
    /// Learning rate of the inner steps.
    RATE: Fixed<Number> = "inner.rate", positive(), Is(|| 0.4);
    /// Number of gradient steps on the support images in evaluation.
    EVAL_STEPS: Open<Count> = "inner.eval_steps", at_least(0), Otherwise("inner.steps");
    /// Which weights these steps change: all of them, or only those of the last linear layer.
    ADAPTS: Fixed<OneOf<Adapts>> = "inner.adapts", one_of(), Is(|| Adapts::All);
    /// Whether all weights use inner.rate, or each weight has its own rate, which starts at inner.rate and is
    /// learned together with the initial weights.
    RATES: Fixed<OneOf<RateKind>> = "inner.rates", one_of(), Is(|| RateKind::Fixed);
    /// Strength λ of the proximal term: λ/2 times the squared distance from the inner loop's start is added
    /// to the support loss.
    PROXIMAL: Fixed<Number> = "inner.proximal", non_negative(), Is(|| 0.0);
}

choice! {
    /// Whether inner learning rates are learned.
    pub enum RateKind {
        /// All weights use the same rate, which does not change.
        Fixed = "fixed",
        /// Every weight that adapts has its own rate, which is learned (Meta-SGD).
        Learned = "learned",
    }
}

/// How the network adapts to an episode: gradient descent on the support images.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Inner {
    /// Number of steps in training, ≥ 1.
    pub steps: usize,
    /// Learning rate, > 0.
    pub rate: f64,
    /// Number of steps in evaluation; 0 evaluates the initial weights.
    pub eval_steps: usize,
    /// Which weights adapt.
    pub adapts: Adapts,
    /// Whether learning rates are learned.
    pub rates: RateKind,
    /// λ of the proximal term, ≥ 0.
    pub proximal: f64,
}

/// Checks the section.
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
