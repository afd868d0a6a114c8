//! What a run measured on held-out episodes, of whichever kind.

use super::{EvaluationResult, RegressionResult, Tested};
use serde::{Deserialize, Serialize};

/// What a run measured on held-out episodes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RunResult {
    /// The accuracy of a classifier.
    Accuracy(EvaluationResult),
    /// The squared error of a regression.
    Error(RegressionResult),
}

impl RunResult {
    /// The name of an evaluation's file: all that the number depends on.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Accuracy(result) => result.name(),
            Self::Error(result) => result.name(),
        }
    }

    /// The checkpoints that were tested.
    pub fn tested(&self) -> &Tested {
        match self {
            Self::Accuracy(result) => &result.tested,
            Self::Error(result) => &result.tested,
        }
    }

    /// Whether `other` measured the same: whether all but the measured numbers and the times is equal.
    pub(super) fn measures_the_same(&self, other: &Self) -> bool {
        let seed = |result: &Self| match result {
            Self::Accuracy(result) => result.seed,
            Self::Error(result) => Some(result.seed),
        };
        let checkpoints = |result: &Self| result.tested().checkpoints.clone();
        self.name() == other.name() && seed(self) == seed(other) && checkpoints(self) == checkpoints(other)
    }
}
