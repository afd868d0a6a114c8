//! Results of a run, one JSON file each in `results/`.

use super::error::failed;
use super::{CheckpointSelector, Error, RunDir};
use crate::config::Config;
use crate::data::Part;
use crate::support::atomic_file;
use crate::task::BatchNorm;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::ErrorKind;

/// Name of the result that records a run's divergence.
const DIVERGED: &str = "diverged";

/// A run's accuracy on one part of its data, with the settings and the cost behind it. `results/test.json` holds the
/// accuracy of the test after training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluationResult {
    /// Half-width of the accuracy's 95 % confidence interval, percent.
    pub ci95: f64,
    /// Mean query loss; `None` if it is not finite.
    pub loss: Option<f64>,
    /// Number of episodes.
    pub episodes: usize,
    /// Classes of an episode.
    pub ways: usize,
    /// Support images of a class.
    pub shots: usize,
    /// Query images of a class; `None` in files of earlier versions.
    pub queries: Option<usize>,
    /// Inner steps of the evaluated adaptation; `None` in files of earlier versions.
    pub inner_steps: Option<usize>,
    /// Source of batch norm's statistics.
    pub batch_norm: BatchNorm,
    /// The run's seed, from which the episodes are drawn too; `None` in files of earlier versions.
    pub seed: Option<u64>,
    /// Number of checkpoints whose mean logits are the predictions; 1 if it is not an ensemble.
    #[serde(default = "one")]
    pub ensemble: usize,
    /// The outer step of each of these checkpoints, best first; empty in files of earlier versions.
    #[serde(default)]
    pub checkpoints: Vec<u64>,
    /// Outer steps taken, until the last of the checkpoints.
    pub steps: u64,
    /// Gradient evaluations of training.
    pub gradient_evaluations: u64,
    /// Seconds of training.
    pub seconds: f64,
    /// The part and the mean accuracy over episodes.
    #[serde(flatten)]
    pub accuracy: PartAccuracy,
}

/// A mean accuracy in percent, under the name of the part it was measured on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the variants are the parts")]
pub enum PartAccuracy {
    #[serde(rename = "train_accuracy")]
    Train(f64),
    #[serde(rename = "validation_accuracy")]
    Validation(f64),
    #[serde(rename = "test_accuracy")]
    Test(f64),
}

impl PartAccuracy {
    /// An accuracy of `percent` on `part`.
    pub fn new(part: Part, percent: f64) -> Self {
        match part {
            Part::Train => Self::Train(percent),
            Part::Validation => Self::Validation(percent),
            Part::Test => Self::Test(percent),
        }
    }

    /// The part it was measured on.
    pub fn part(self) -> Part {
        match self {
            Self::Train(_) => Part::Train,
            Self::Validation(_) => Part::Validation,
            Self::Test(_) => Part::Test,
        }
    }

    /// The accuracy, percent.
    pub fn percent(self) -> f64 {
        match self {
            Self::Train(percent) | Self::Validation(percent) | Self::Test(percent) => percent,
        }
    }
}

/// The result of a run that diverged.
#[derive(Serialize, Deserialize)]
struct Divergence {
    step: u64,
}

impl EvaluationResult {
    /// The name of its file: the part, and whatever differs from an evaluation of the latest checkpoint as `config` says.
    fn name(&self, config: &Config, checkpoint: CheckpointSelector) -> String {
        let which = which_checkpoint(self.ensemble, checkpoint);
        let own_steps = self.inner_steps.is_none_or(|steps| steps == config.inner.eval_steps);
        let differences = [
            (self.batch_norm == config.model.batch_norm, format!("batch-norm-{}", self.batch_norm)),
            (own_steps, format!("inner-steps-{}", self.inner_steps.unwrap_or_default())),
            (self.ways == config.task.ways, format!("{}-way", self.ways)),
            (self.shots == config.task.shots, format!("{}-shot", self.shots)),
        ];
        let different = differences.into_iter().filter(|(is_own, _)| !is_own).map(|(_, text)| text);
        let part = self.accuracy.part().name().to_string();
        std::iter::once(part).chain(which).chain(different).collect::<Vec<_>>().join("-")
    }
}

/// What a result's name says of its checkpoints; `None` for the latest.
pub(super) fn which_checkpoint(ensemble: usize, checkpoint: CheckpointSelector) -> Option<String> {
    match (ensemble, checkpoint) {
        (1, CheckpointSelector::Latest) => None,
        (1, other) => Some(other.to_string()),
        (members, _) => Some(format!("ensemble-{members}")),
    }
}

/// The size of an ensemble in files of earlier versions.
fn one() -> usize {
    1
}

impl RunDir {
    /// Writes the accuracy of `checkpoint`, or of an ensemble, to `results/PART.json`. The name also says whatever differs
    /// from an evaluation of the latest checkpoint as `config` says: `results/test-best-5-shot.json`.
    ///
    /// # Errors
    /// Returns an error if the file cannot be written.
    pub fn write_result(
        &self,
        config: &Config,
        checkpoint: CheckpointSelector,
        result: &EvaluationResult,
    ) -> Result<(), Error> {
        self.write_json(&result.name(config, checkpoint), result)
    }

    /// The test result of the latest checkpoint; `None` if it is missing or incomplete.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read.
    pub fn test_result(&self) -> Result<Option<EvaluationResult>, Error> {
        self.read_json(Part::Test.name())
    }

    /// Whether there is a complete result of a test of the latest checkpoint.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read.
    pub fn is_tested(&self) -> Result<bool, Error> {
        Ok(self.read_json::<serde_json::Value>(Part::Test.name())?.is_some())
    }

    /// Records that the run diverged at outer step `step`.
    ///
    /// # Errors
    /// Returns an error if the file cannot be written.
    pub fn write_divergence(&self, step: u64) -> Result<(), Error> {
        self.write_json(DIVERGED, &Divergence { step })
    }

    /// The outer step at which the run diverged, if [`Self::write_divergence`] recorded one.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read.
    pub fn diverged_at(&self) -> Result<Option<u64>, Error> {
        Ok(self.read_json(DIVERGED)?.map(|Divergence { step }| step))
    }

    pub(super) fn write_json(&self, name: &str, result: &impl Serialize) -> Result<(), Error> {
        let (folder, file) = (self.results(), self.result_file(name));
        fs::create_dir_all(&folder).map_err(failed("create", &folder))?;
        let text =
            serde_json::to_string_pretty(result).map_err(|error| failed("write", &file)(error.into()))?;
        atomic_file::write(&file, &[text.as_bytes(), b"\n"]).map_err(failed("write", &file))
    }

    /// `None` if the file does not exist or is incomplete.
    fn read_json<R: DeserializeOwned>(&self, name: &str) -> Result<Option<R>, Error> {
        let file = self.result_file(name);
        match fs::read(&file) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("read", &file)(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The result of a test as the default configuration says.
    fn result() -> EvaluationResult {
        EvaluationResult {
            ci95: 0.5,
            loss: Some(0.25),
            episodes: 600,
            ways: 5,
            shots: 1,
            queries: Some(5),
            inner_steps: Some(config().inner.eval_steps),
            batch_norm: BatchNorm::Transductive,
            seed: Some(3),
            ensemble: 1,
            checkpoints: vec![10],
            steps: 10,
            gradient_evaluations: 1200,
            seconds: 1.5,
            accuracy: PartAccuracy::Test(97.5),
        }
    }

    fn config() -> Config {
        Config::load(None, &["outer.steps=10".into()]).unwrap()
    }

    #[test]
    fn results_are_read_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let (run, result) = (RunDir::at(folder.path()), result());
        assert_eq!(run.test_result().unwrap(), None);
        run.write_result(&config(), CheckpointSelector::Latest, &result).unwrap();
        run.write_result(&config(), CheckpointSelector::After(4), &result).unwrap();
        assert_eq!(run.test_result().unwrap(), Some(result));
        let text = fs::read_to_string(folder.path().join("results/test.json")).unwrap();
        assert!(
            text.starts_with("{\n  \"ci95\": 0.5,\n") && text.ends_with("  \"test_accuracy\": 97.5\n}\n")
        );
        assert!(folder.path().join("results/test-4.json").is_file());
        run.write_divergence(7).unwrap();
        assert_eq!(run.diverged_at().unwrap(), Some(7));
        fs::write(folder.path().join("results/test.json"), &text[..20]).unwrap();
        assert_eq!(run.test_result().unwrap(), None);
    }

    #[test]
    fn results_of_earlier_versions_are_read() {
        let text = r#"{"ci95": 0.5, "loss": null, "episodes": 600, "ways": 5, "shots": 1, "batch_norm": "support",
                       "steps": 10, "gradient_evaluations": 1200, "seconds": 1.5, "test_accuracy": 97.5}"#;
        let read: EvaluationResult = serde_json::from_str(text).unwrap();
        let expected = EvaluationResult {
            loss: None,
            queries: None,
            inner_steps: None,
            batch_norm: BatchNorm::Support,
            seed: None,
            checkpoints: Vec::new(),
            ..result()
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn only_what_the_configuration_says_is_named_by_its_part_alone() {
        let name = |checkpoint, result: EvaluationResult| result.name(&config(), checkpoint);
        let (latest, best) = (CheckpointSelector::Latest, CheckpointSelector::Best);
        assert_eq!(name(latest, EvaluationResult { episodes: 9, ..result() }), "test");
        assert_eq!(name(best, result()), "test-best");
        let ensemble = EvaluationResult { ensemble: 3, batch_norm: BatchNorm::Support, ..result() };
        assert_eq!(name(best, ensemble), "test-ensemble-3-batch-norm-support");
        let other = EvaluationResult { ways: 7, shots: 2, inner_steps: Some(0), ..result() };
        assert_eq!(name(CheckpointSelector::After(4), other), "test-4-inner-steps-0-7-way-2-shot");
    }
}
