//! `[inner]`: how the network adapts to an episode.

use crate::config::checker::Checker;
use crate::config::key::{Fixed, Is, Open, Otherwise, keys};
use crate::config::kind::{Count, Number, at_least, positive};
use serde::Serialize;

keys! {
    /// Gradient steps on the support images, in training.
    STEPS: Fixed<Count> = "inner.steps", at_least(1), Is(|| 1);
    /// Learning rate of these steps.
    RATE: Fixed<Number> = "inner.rate", positive(), Is(|| 0.4);
    /// Gradient steps on the support images, in evaluation.
    EVAL_STEPS: Open<Count> = "inner.eval_steps", at_least(0), Otherwise("inner.steps");
}

/// How the network adapts to an episode: plain gradient descent on the support images.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Inner {
    /// Steps in training, ≥ 1.
    pub steps: usize,
    /// Learning rate, > 0.
    pub rate: f64,
    /// Steps in evaluation; 0 judges the initial weights.
    pub eval_steps: usize,
}

/// The section, checked.
pub fn check(checker: &mut Checker) -> Inner {
    let steps = checker.get(&STEPS);
    Inner { steps, rate: checker.get(&RATE), eval_steps: checker.find(&EVAL_STEPS).unwrap_or(steps) }
}
