//! `[divergence]`: what is done about an outer step whose loss, gradient or weights are not finite.

use crate::config::checker::Checker;
use crate::config::choice::choice;
use crate::config::key::{Fixed, Is, keys};
use crate::config::kind::{Count, Flag, OneOf, between, one_of};
use serde::Serialize;

keys! {
    /// Whether tasks whose loss or gradient is not finite are left out of an outer step that others
    /// still make; the estimate is then one of the tasks that are left.
    DROP_TASKS: Fixed<Flag> = "divergence.drop_tasks", Flag, Is(|| true);
    /// What is done about a step that is not finite even so: the run stops, the step is skipped (θ stays
    /// as it was), or the run goes back to its latest checkpoint and from there draws other episodes.
    ACTION: Fixed<OneOf<Name>> = "divergence.action", one_of(), Is(|| Name::Stop);
    /// Steps skipped, or ways gone back, before a run stops all the same.
    MOST: Fixed<Count> = "divergence.most", between(1, 1000), Is(|| 10);
}

choice! {
    /// The names of [`OnDivergence`]'s variants.
    pub enum Name {
        /// The run ends.
        Stop = "stop",
        /// Without the step.
        Skip = "skip",
        /// From an earlier step.
        Rewind = "rewind",
    }
}

/// What is done about an outer step that is not finite.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Divergence {
    /// Whether only the tasks at fault are left out, where there are others.
    pub drop_tasks: bool,
    /// What is done about a step that is not finite even so.
    #[serde(flatten)]
    pub action: OnDivergence,
}

/// What is done about an outer step that no choice of tasks makes finite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "lowercase")]
pub enum OnDivergence {
    /// The run ends with an error.
    Stop,
    /// θ, the optimiser and the estimator stay as they were.
    Skip {
        /// Steps skipped before the run stops all the same, ≥ 1.
        most: usize,
    },
    /// The run goes back to its latest checkpoint, and draws other episodes and coins from there.
    Rewind {
        /// Ways gone back before the run stops all the same, ≥ 1.
        most: usize,
    },
}

/// The section, checked.
pub fn check(checker: &mut Checker) -> Divergence {
    let name = checker.get(&ACTION);
    if name == Name::Stop {
        checker.unused(&MOST, &ACTION, name, "the first step that is not finite ends the run");
    }
    let action = match name {
        Name::Stop => OnDivergence::Stop,
        Name::Skip => OnDivergence::Skip { most: checker.get(&MOST) },
        Name::Rewind => OnDivergence::Rewind { most: checker.get(&MOST) },
    };
    Divergence { drop_tasks: checker.get(&DROP_TASKS), action }
}
