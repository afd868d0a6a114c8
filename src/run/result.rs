//! Results of a run, one JSON file each in `results/`.
//!
//! `test.json` is the test after training. Only training writes it. An evaluation writes a file whose name says all that the
//! number depends on, so that results of different kinds stand side by side and none replaces another:
//! `test-5-way-1-shot-15-query-3-inner-steps-600-episodes-batch-norm-support-step-400.json`.

use super::error::failed;
use super::record::is_none;
use super::{Error, RunDir, RunResult, Tested};
use crate::data::{Part, Rotations};
use crate::support::atomic_file;
use crate::support::json::number_or_nan;
use crate::task::BatchNorm;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

/// Name of the result that records a run's divergence.
const DIVERGED: &str = "diverged";
/// Letters of a digest in the name of a file.
const DIGEST: usize = 8;
/// The most letters of a folder's name in the name of a file.
const FOLDER: usize = 40;

/// A run's accuracy on one part of its data, or on other data, with the settings and the cost behind it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluationResult {
    /// Half-width of the accuracy's 95 % confidence interval, percent; `null` in JSON, read as NaN, if there is no accuracy.
    #[serde(deserialize_with = "number_or_nan")]
    pub ci95: f64,
    /// Mean query loss; `None` if it is not finite.
    pub loss: Option<f64>,
    /// Number of episodes.
    pub episodes: usize,
    /// How many of them diverged: their loss after adaptation is not finite. They count as wrong; if all did, there is no
    /// accuracy.
    #[serde(default, skip_serializing_if = "is_none")]
    pub diverged_episodes: usize,
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
    /// The checkpoints. The predictions of an ensemble are mean logits.
    #[serde(flatten)]
    pub tested: Tested,
    /// The data, if it is not what the run was trained on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<OtherData>,
    /// The part and the mean accuracy over episodes.
    #[serde(flatten)]
    pub accuracy: PartAccuracy,
}

/// Data that a run was not trained on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherData {
    /// Name of the source.
    pub source: String,
    /// Its folder; `None` for generated images.
    pub path: Option<PathBuf>,
    /// Digest of the images.
    pub digest: String,
    /// Whether episodes are drawn from all classes, not from those of the part alone.
    pub all_classes: bool,
    /// Number of classes that episodes are drawn from.
    pub classes: usize,
    /// How its classes were divided; `None` if episodes are drawn from all of them, and in files of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<OtherSplit>,
}

/// How the classes of data that a run was not trained on were divided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherSplit {
    /// Name of the rule.
    pub rule: String,
    /// Number of validation classes.
    pub validation: usize,
    /// How training classes were rotated.
    pub rotations: Rotations,
}

/// A mean accuracy in percent, under the name of the part it was measured on. It is NaN, `null` in JSON, if there is none.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the variants are the parts")]
pub enum PartAccuracy {
    #[serde(rename = "train_accuracy", deserialize_with = "number_or_nan")]
    Train(f64),
    #[serde(rename = "validation_accuracy", deserialize_with = "number_or_nan")]
    Validation(f64),
    #[serde(rename = "test_accuracy", deserialize_with = "number_or_nan")]
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

    /// The accuracy, percent; `None` if there is none.
    pub fn percent(self) -> Option<f64> {
        let (Self::Train(percent) | Self::Validation(percent) | Self::Test(percent)) = self;
        Some(percent).filter(|percent| percent.is_finite())
    }
}

/// The result of a run that diverged.
#[derive(Serialize, Deserialize)]
struct Divergence {
    step: u64,
}

impl EvaluationResult {
    /// The name of an evaluation's file: all that the number depends on.
    pub(super) fn name(&self) -> String {
        let mut name = format!("{}-{}-way-{}-shot", self.accuracy.part().name(), self.ways, self.shots);
        for (count, what) in [(self.queries, "query"), (self.inner_steps, "inner-steps")] {
            name += &count.map_or_else(String::new, |count| format!("-{count}-{what}"));
        }
        name += &format!("-{}-episodes-batch-norm-{}", self.episodes, self.batch_norm);
        name += &self.tested.name();
        if let Some(data) = &self.data {
            let all = if data.all_classes { "all-classes" } else { "part" };
            name += &format!("-{all}-of-{}-{:.DIGEST$}", data.name(), data.digest);
            name += &data.split.as_ref().map_or_else(String::new, OtherSplit::name);
        }
        name
    }
}

impl OtherData {
    /// The folder's name, or that of the source, for messages.
    pub fn title(&self) -> String {
        self.path.as_ref().map_or_else(|| self.source.clone(), |path| path.display().to_string())
    }

    /// The folder's name, or that of the source, for the name of a file.
    fn name(&self) -> String {
        let folder = self.path.as_ref().and_then(|path| path.file_name());
        let name = folder.map_or_else(|| self.source.clone(), |name| name.to_string_lossy().into_owned());
        let plain = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '-' };
        name.chars().map(plain).take(FOLDER).collect()
    }
}

impl OtherSplit {
    /// The end of the name of a result's file. Only rotations that count as classes change what a part consists of.
    fn name(&self) -> String {
        let rotated = if self.rotations == Rotations::Classes { "-rotated" } else { "" };
        format!("-split-{}-{}-validation{rotated}", self.rule, self.validation)
    }
}

impl RunDir {
    /// Writes the test after training to `results/test.json`. A test there that measured something else, such as the run after
    /// fewer outer steps, is kept under its full name; one that measured the same stays.
    ///
    /// # Errors
    /// Returns an error if a file cannot be written.
    pub fn write_test(&self, result: &RunResult) -> Result<(), Error> {
        match self.test_result()? {
            Some(before) if before.measures_the_same(result) => return Ok(()),
            Some(before) => self.write_json(&before.name(), &before)?,
            None => {}
        }
        self.write_json(Part::Test.name(), result)
    }

    /// Writes the result of an evaluation to a file of its own in `results/`, and returns the file's path.
    ///
    /// # Errors
    /// Returns an error if the file cannot be written.
    pub fn write_evaluation(&self, result: &RunResult) -> Result<PathBuf, Error> {
        let name = result.name();
        self.write_json(&name, result)?;
        Ok(self.result_file(&name))
    }

    /// The test after training; `None` if it is missing or incomplete.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read.
    pub fn test_result(&self) -> Result<Option<RunResult>, Error> {
        self.read_json(Part::Test.name())
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

    fn write_json(&self, name: &str, result: &impl Serialize) -> Result<(), Error> {
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

    /// A result of a test.
    fn result() -> EvaluationResult {
        EvaluationResult {
            ci95: 0.5,
            loss: Some(0.25),
            episodes: 600,
            diverged_episodes: 0,
            ways: 5,
            shots: 1,
            queries: Some(5),
            inner_steps: Some(3),
            batch_norm: BatchNorm::Transductive,
            seed: Some(3),
            tested: Tested::example(),
            data: None,
            accuracy: PartAccuracy::Test(97.5),
        }
    }

    #[test]
    fn results_are_read_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let (run, result) = (RunDir::at(folder.path()), RunResult::Accuracy(result()));
        assert_eq!(run.test_result().unwrap(), None);
        run.write_test(&result).unwrap();
        assert_eq!(run.test_result().unwrap(), Some(result));
        let text = fs::read_to_string(folder.path().join("results/test.json")).unwrap();
        assert!(
            text.starts_with("{\n  \"ci95\": 0.5,\n") && text.ends_with("  \"test_accuracy\": 97.5\n}\n")
        );
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
            tested: Tested { checkpoints: Vec::new(), ..result().tested },
            ..result()
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn a_result_without_an_accuracy_is_read_as_such() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDir::at(folder.path());
        let none = PartAccuracy::Test(f64::NAN);
        let diverged = EvaluationResult {
            ci95: f64::NAN,
            loss: None,
            diverged_episodes: 600,
            accuracy: none,
            ..result()
        };
        run.write_test(&RunResult::Accuracy(diverged)).unwrap();
        let Some(RunResult::Accuracy(read)) = run.test_result().unwrap() else { panic!("an accuracy") };
        assert_eq!((read.accuracy.percent(), read.diverged_episodes), (None, 600));
        assert!(read.ci95.is_nan() && read.accuracy.part() == Part::Test);
    }

    #[test]
    fn every_evaluation_has_a_file_that_says_what_it_measured() {
        let name = "test-5-way-1-shot-5-query-3-inner-steps-600-episodes-batch-norm-transductive-step-10";
        assert_eq!(result().name(), name);
        let ensemble = EvaluationResult {
            tested: Tested { ensemble: 3, ..result().tested },
            batch_norm: BatchNorm::Support,
            ..result()
        };
        assert!(ensemble.name().ends_with("-batch-norm-support-ensemble-3-to-step-10"));
        let other = OtherData {
            source: "folder".into(),
            path: Some("my data/it's".into()),
            digest: "0123456789abcdef".into(),
            all_classes: true,
            classes: 8,
            split: None,
        };
        assert_eq!(other.title(), "my data/it's");
        let on = |data: OtherData| EvaluationResult { data: Some(data), ..result() };
        assert_eq!(on(other.clone()).name(), format!("{name}-all-classes-of-it-s-01234567"));
        let part = |validation, rotations| {
            let split = Some(OtherSplit { rule: "fraction".into(), validation, rotations });
            on(OtherData { all_classes: false, split, ..other.clone() })
        };
        let name_of_part = format!("{name}-part-of-it-s-01234567-split-fraction");
        assert_eq!(part(2, Rotations::Episode).name(), format!("{name_of_part}-2-validation"));
        let rotated = part(0, Rotations::Classes);
        assert_eq!(rotated.name(), format!("{name_of_part}-0-validation-rotated"));
        let written = serde_json::to_string(&rotated).unwrap();
        assert_eq!(serde_json::from_str::<EvaluationResult>(&written).unwrap(), rotated);
        let fewer = EvaluationResult { episodes: 2, ..result() };
        assert_ne!(fewer.name(), name);
    }

    #[test]
    fn a_test_of_fewer_steps_is_kept_beside_the_new_one_and_an_equal_one_stays() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDir::at(folder.path());
        let short = EvaluationResult {
            tested: Tested { steps: 4, checkpoints: vec![4], ..result().tested },
            ..result()
        };
        let again = EvaluationResult { accuracy: PartAccuracy::Test(97.4), ..short.clone() };
        let [short, again, long] = [short, again, result()].map(RunResult::Accuracy);
        run.write_test(&short).unwrap();
        run.write_test(&again).unwrap();
        assert_eq!(run.test_result().unwrap().as_ref(), Some(&short), "measured again, on another backend");
        run.write_test(&long).unwrap();
        assert_eq!(run.test_result().unwrap(), Some(long));
        assert_eq!(run.read_json::<RunResult>(&short.name()).unwrap(), Some(short));
    }
}
