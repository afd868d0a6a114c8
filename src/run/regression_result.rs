//! The result of a regression, beside [`EvaluationResult`](super::EvaluationResult) for classification.

use super::Tested;
use super::record::is_none;
use crate::data::Part;
use serde::{Deserialize, Serialize};

/// A run's mean squared error on one part of its episodes after each inner step, with the settings and the cost behind it.
/// `results/test.json` holds that of the test after training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RegressionResult {
    /// The part of the episodes.
    pub part: Part,
    /// Mean squared error after the last inner step; `None` if it is not finite.
    pub error: Option<f64>,
    /// Half-width of its 95 % confidence interval; `None` if it is not finite.
    pub ci95: Option<f64>,
    /// The error before adaptation and after each inner step.
    pub errors: Vec<StepError>,
    /// Number of episodes.
    pub episodes: usize,
    /// Support points.
    pub shots: usize,
    /// Query points.
    pub queries: usize,
    /// Inner steps of the evaluated adaptation.
    pub inner_steps: usize,
    /// The run's seed, from which the episodes are drawn too.
    pub seed: u64,
    /// The checkpoints. The predictions of an ensemble are mean outputs.
    #[serde(flatten)]
    pub tested: Tested,
}

/// Mean squared error over episodes after a number of inner steps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepError {
    /// Inner steps taken.
    pub inner_steps: usize,
    /// The mean; `None` if it is not finite.
    pub error: Option<f64>,
    /// Half-width of its 95 % confidence interval; `None` if it is not finite.
    pub ci95: Option<f64>,
    /// The median, which a few episodes that diverge do not move; `None` if it is not finite.
    pub median: Option<f64>,
    /// How many episodes diverged: their error is not finite. If any did, there is no mean.
    #[serde(default, skip_serializing_if = "is_none")]
    pub diverged_episodes: usize,
}

impl RegressionResult {
    /// The name of an evaluation's file: all that the number depends on.
    pub(super) fn name(&self) -> String {
        let Self { part, shots, queries, inner_steps, episodes, tested, .. } = self;
        let which = tested.name();
        format!("{part}-{shots}-shot-{queries}-query-{inner_steps}-inner-steps-{episodes}-episodes{which}")
    }

    /// How many episodes diverged after the last inner step.
    pub fn diverged_episodes(&self) -> usize {
        self.errors.last().map_or(0, |last| last.diverged_episodes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{RunDir, RunResult};

    #[test]
    fn results_are_named_by_what_they_measured_and_read_as_written() {
        let after = |inner_steps, error: Option<f64>| StepError {
            inner_steps,
            error,
            ci95: Some(0.5),
            median: Some(0.25),
            diverged_episodes: usize::from(error.is_none()),
        };
        let result = RegressionResult {
            part: Part::Test,
            error: Some(0.25),
            ci95: Some(0.5),
            errors: vec![after(0, Some(3.0)), after(1, None), after(2, Some(0.25))],
            episodes: 600,
            shots: 10,
            queries: 5,
            inner_steps: 2,
            seed: 3,
            tested: Tested::example(),
        };
        assert_eq!(result.diverged_episodes(), 0);
        assert_eq!(result.name(), "test-10-shot-5-query-2-inner-steps-600-episodes-step-10");
        let ensemble = RegressionResult {
            shots: 20,
            tested: Tested { ensemble: 3, ..result.tested.clone() },
            ..result.clone()
        };
        assert_eq!(ensemble.name(), "test-20-shot-5-query-2-inner-steps-600-episodes-ensemble-3-to-step-10");

        let folder = tempfile::tempdir().unwrap();
        let run = RunDir::at(folder.path());
        let [first, longer] = [10, 20].map(|steps| {
            let tested = Tested { steps, ..result.tested.clone() };
            RunResult::Error(RegressionResult { tested, ..result.clone() })
        });
        run.write_test(&first).unwrap();
        assert_eq!(run.test_result().unwrap().as_ref(), Some(&first));
        run.write_test(&longer).unwrap();
        assert_eq!(run.test_result().unwrap(), Some(longer));
        let kept = folder.path().join(format!("results/{}.json", first.name()));
        assert_eq!(serde_json::from_slice::<RunResult>(&std::fs::read(kept).unwrap()).unwrap(), first);
    }
}
