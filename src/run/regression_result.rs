//! The result of a regression, beside [`EvaluationResult`](super::EvaluationResult) for classification.

use super::result::which_checkpoint;
use super::{CheckpointSelector, Error, RunDir};
use crate::config::Config;
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
    /// Number of checkpoints whose mean outputs are the predictions; 1 if it is not an ensemble.
    pub ensemble: usize,
    /// The outer step of each of these checkpoints, best first.
    pub checkpoints: Vec<u64>,
    /// Outer steps taken, until the last of the checkpoints.
    pub steps: u64,
    /// Gradient evaluations of training.
    pub gradient_evaluations: u64,
    /// Seconds of training.
    pub seconds: f64,
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
    /// The median, which a few episodes whose inner loop diverges do not move; `None` if it is not finite.
    pub median: Option<f64>,
}

impl RegressionResult {
    /// The name of its file: the part, and whatever differs from an evaluation of the latest checkpoint as `config` says.
    fn name(&self, config: &Config, checkpoint: CheckpointSelector) -> String {
        let differences = [
            (self.inner_steps == config.inner.eval_steps, format!("inner-steps-{}", self.inner_steps)),
            (self.shots == config.task.shots, format!("{}-shot", self.shots)),
        ];
        let different = differences.into_iter().filter(|(is_own, _)| !is_own).map(|(_, text)| text);
        let which = which_checkpoint(self.ensemble, checkpoint);
        std::iter::once(self.part.name().into()).chain(which).chain(different).collect::<Vec<_>>().join("-")
    }
}

impl RunDir {
    /// Writes the error of `checkpoint`, or of an ensemble, to `results/`, under a name as of [`Self::write_result`].
    ///
    /// # Errors
    /// Returns an error if the file cannot be written.
    pub fn write_regression(
        &self,
        config: &Config,
        checkpoint: CheckpointSelector,
        result: &RegressionResult,
    ) -> Result<(), Error> {
        self.write_json(&result.name(config, checkpoint), result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_named_by_what_differs_and_read_as_written() {
        let set = ["outer.steps=10", "task.kind=sinusoid", "inner.eval_steps=2"].map(String::from);
        let config = Config::load(None, &set).unwrap();
        let after = |inner_steps, error| StepError { inner_steps, error, ci95: Some(0.5), median: error };
        let result = RegressionResult {
            part: Part::Test,
            error: Some(0.25),
            ci95: Some(0.5),
            errors: vec![after(0, Some(3.0)), after(1, None), after(2, Some(0.25))],
            episodes: 600,
            shots: config.task.shots,
            queries: 5,
            inner_steps: 2,
            seed: 3,
            ensemble: 1,
            checkpoints: vec![10],
            steps: 10,
            gradient_evaluations: 1200,
            seconds: 1.5,
        };
        let other = RegressionResult { shots: 20, inner_steps: 0, ..result.clone() };
        assert_eq!(other.name(&config, CheckpointSelector::Best), "test-best-inner-steps-0-20-shot");

        let folder = tempfile::tempdir().unwrap();
        let run = RunDir::at(folder.path());
        assert!(!run.is_tested().unwrap());
        run.write_regression(&config, CheckpointSelector::Latest, &result).unwrap();
        assert!(run.is_tested().unwrap());
        let text = std::fs::read_to_string(folder.path().join("results/test.json")).unwrap();
        assert_eq!(serde_json::from_str::<RegressionResult>(&text).unwrap(), result);
    }
}
