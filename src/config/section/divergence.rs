//! `[divergence]`: how a run handles an outer step whose loss, gradient or weights are not finite.

use crate::config::checker::Checker;
use crate::config::key::{Fixed, Is, keys};
use crate::config::kind::{Count, Flag, OneOf, between, one_of};
use bilevel::choice;
use serde::Serialize;

keys! {
    /// Whether to leave out tasks whose loss or gradient is not finite and to repeat the outer step with the remaining
    /// tasks. The step then estimates the mean gradient of those tasks.
    DROP_TASKS: Fixed<Flag> = "divergence.drop_tasks", Flag, Is(|| true);
    /// What to do if the step is still not finite: stop the run, skip the step (θ does not change), or
    /// return to the latest checkpoint and continue from it with other episodes.
    ACTION: Fixed<OneOf<Name>> = "divergence.action", one_of(), Is(|| Name::Stop);
    /// Number of skipped steps, or of returns to a checkpoint, after which the run stops anyway.
    MOST: Fixed<Count> = "divergence.most", between(1, 1000), Is(|| 10);
}

choice! {
    /// The names of [`OnDivergence`]'s variants.
    pub enum Name {
        /// Stop the run.
        Stop = "stop",
        /// Skip the step.
        Skip = "skip",
        /// Return to the latest checkpoint.
        Rewind = "rewind",
    }
}

/// How a run handles an outer step that is not finite.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Divergence {
    /// Whether tasks that are not finite are left out if others are finite.
    pub drop_tasks: bool,
    /// What to do if the step is still not finite.
    #[serde(flatten)]
    pub action: OnDivergence,
}

/// What to do about an outer step that is not finite, even without the tasks that are not finite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "lowercase")]
pub enum OnDivergence {
    /// Stop the run with an error.
    Stop,
    /// Skip the step: θ, the optimiser and the estimator do not change.
    Skip {
        /// Number of skipped steps after which the run stops nevertheless, ≥ 1.
        most: usize,
    },
    /// Return to the latest checkpoint and continue from it with other episodes and coins.
    Rewind {
        /// Number of returns after which the run stops nevertheless, ≥ 1.
        most: usize,
    },
}

/// Checks the section.
pub fn check(checker: &mut Checker) -> Divergence {
    let name = checker.get(&ACTION);
    if name == Name::Stop {
        checker.unused(&MOST, &ACTION, name, "the run stops at the first step that is not finite");
    }
    let action = match name {
        Name::Stop => OnDivergence::Stop,
        Name::Skip => OnDivergence::Skip { most: checker.get(&MOST) },
        Name::Rewind => OnDivergence::Rewind { most: checker.get(&MOST) },
    };
    Divergence { drop_tasks: checker.get(&DROP_TASKS), action }
}
