//! The checkpoints behind a result.

use super::TrainingState;
use serde::{Deserialize, Serialize};

/// The checkpoints that were tested together, and what their training cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tested {
    /// Their number. If there are several, the prediction is the mean of theirs.
    #[serde(default = "one")]
    pub ensemble: usize,
    /// The outer step of each, best first; empty in files of earlier versions.
    #[serde(default)]
    pub checkpoints: Vec<u64>,
    /// Outer steps taken, until the last of them.
    pub steps: u64,
    /// Gradient evaluations of training.
    pub gradient_evaluations: u64,
    /// Seconds of training.
    pub seconds: f64,
}

impl Tested {
    /// The checkpoints with these states, best first.
    pub fn new(states: &[TrainingState]) -> Self {
        let highest = |count: fn(&TrainingState) -> u64| states.iter().map(count).max().unwrap_or_default();
        Self {
            ensemble: states.len(),
            checkpoints: states.iter().map(|state| state.step).collect(),
            steps: highest(|state| state.step),
            gradient_evaluations: highest(|state| state.evaluations.total()),
            seconds: states.iter().map(|state| state.seconds).fold(0.0, f64::max),
        }
    }

    /// What was tested, in words: the checkpoints, if there are several, and the cost of training.
    pub fn describe(&self) -> String {
        let ensemble = match self.ensemble {
            1 => String::new(),
            members => {
                let list: Vec<String> = self.checkpoints.iter().map(u64::to_string).collect();
                format!("ensemble of the {members} checkpoints after outer steps {}, ", list.join(", "))
            }
        };
        format!(
            "{ensemble}after {} outer steps, {} gradient evaluations, {:.0} s of training",
            self.steps, self.gradient_evaluations, self.seconds
        )
    }

    /// The end of the name of a result's file, which names the checkpoints.
    pub(super) fn name(&self) -> String {
        match self.ensemble {
            1 => format!("-step-{}", self.steps),
            members => format!("-ensemble-{members}-to-step-{}", self.steps),
        }
    }
}

#[cfg(test)]
impl Tested {
    /// One checkpoint after ten outer steps, for tests.
    pub(super) fn example() -> Self {
        Self { ensemble: 1, checkpoints: vec![10], steps: 10, gradient_evaluations: 1200, seconds: 1.5 }
    }
}

/// The size of an ensemble in files of earlier versions.
fn one() -> usize {
    1
}
