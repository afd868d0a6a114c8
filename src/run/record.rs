//! The lines of `metrics.jsonl` and `clock.jsonl`, as they are written and read.

use crate::support::json::number_or_nan;
use crate::task::BatchNorm;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use std::marker::PhantomData;

/// One outer step in `metrics.jsonl`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Outer steps taken, this one included.
    pub step: u64,
    /// Mean query loss of the meta-batch after adaptation. JSON has `null` for a value that is not finite,
    /// which is read as NaN.
    #[serde(deserialize_with = "number_or_nan")]
    pub loss: f64,
    /// Norm of the meta-gradient estimate before clipping; `null` in JSON is read as NaN.
    #[serde(deserialize_with = "number_or_nan", default)]
    pub gradient_norm: f64,
    /// Whether the meta-gradient was clipped.
    #[serde(default)]
    pub clipped: bool,
    /// The outer learning rate.
    #[serde(default)]
    pub rate: f64,
    /// Hessian-vector products of this step.
    #[serde(default)]
    pub products: u64,
    /// Inner gradients of this step computed again to recover iterates that were not kept, counted once per
    /// task; they are part of `gradient_evaluations`.
    #[serde(default)]
    pub recomputed: u64,
    /// Peak bytes of iterates kept by one worker in this step: of one task on a CPU, of the whole meta-batch on
    /// a GPU. It does not depend on the number of threads.
    #[serde(default)]
    pub iterate_bytes: u64,
    /// Gradient evaluations so far.
    pub gradient_evaluations: u64,
    /// Numbers of the training episodes left out of the mean because their loss or gradient is not finite.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub dropped_episodes: Vec<u64>,
    /// Outer steps so far that left θ unchanged because they diverged; the loss of such a step may be NaN.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub skipped_steps: u64,
    /// How often the run has gone back to a checkpoint because it diverged.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub rewinds: u64,
    /// The estimator's own metrics.
    #[serde(flatten)]
    pub estimator: Map<String, Value>,
}

/// One validation in `metrics.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValidationRecord {
    /// Outer steps taken.
    pub step: u64,
    /// Mean accuracy over episodes, percent; `None` for regression, where the loss is all there is. Episodes that diverged count
    /// as 0; if all did there is no accuracy, which is `null` in JSON and read as NaN.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "some_number_or_nan", default)]
    pub validation_accuracy: Option<f64>,
    /// Half-width of the 95 % confidence interval of the accuracy, percent, or of the loss if there is no accuracy. `null` in
    /// JSON is read as NaN.
    #[serde(deserialize_with = "number_or_nan")]
    pub ci95: f64,
    /// Mean query loss; `null` in JSON is read as NaN.
    #[serde(deserialize_with = "number_or_nan")]
    pub validation_loss: f64,
    /// Number of episodes.
    pub episodes: usize,
    /// How many of them diverged: their loss after adaptation is not finite.
    #[serde(skip_serializing_if = "is_none", default)]
    pub diverged_episodes: usize,
    /// Source of batch norm's statistics.
    pub batch_norm: BatchNorm,
    /// Gradient evaluations so far.
    pub gradient_evaluations: u64,
}

/// A line of `metrics.jsonl`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Record {
    /// A validation.
    Validation(ValidationRecord),
    /// An outer step.
    Step(StepRecord),
}

impl Record {
    /// Outer steps taken.
    pub fn step(&self) -> u64 {
        match self {
            Self::Validation(record) => record.step,
            Self::Step(record) => record.step,
        }
    }
}

/// A line of `clock.jsonl`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClockRecord {
    /// Outer steps taken.
    pub step: u64,
    /// Seconds of training so far, over all sessions.
    pub seconds: f64,
}

/// The records of type `R` in a file of JSON lines. Other JSON values are skipped; the first line that is not
/// JSON, such as a line still being written, ends the iteration.
pub struct Records<R> {
    text: String,
    /// Bytes read so far.
    read: usize,
    kind: PhantomData<R>,
}

impl<R> Records<R> {
    pub(super) fn new(text: String) -> Self {
        Self { text, read: 0, kind: PhantomData }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Line<R> {
    Record(R),
    Other(IgnoredAny),
}

impl<R: DeserializeOwned> Iterator for Records<R> {
    type Item = R;

    fn next(&mut self) -> Option<R> {
        loop {
            let rest = &self.text[self.read..];
            let line = rest.lines().next()?;
            let parsed = serde_json::from_str(line).ok()?;
            self.read += rest.find('\n').map_or(rest.len(), |end| end + 1);
            if let Line::Record(record) = parsed {
                return Some(record);
            }
        }
    }
}

pub(super) fn is_none(count: &usize) -> bool {
    *count == 0
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// For a number that may be missing, for which the field has a default.
fn some_number_or_nan<'de, D: Deserializer<'de>>(json: D) -> Result<Option<f64>, D::Error> {
    number_or_nan(json).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn records_are_read_as_they_were_written() {
        let mut estimator = Map::new();
        estimator.insert("q".into(), json!(0.25));
        estimator.insert("levels".into(), json!([0.5, null]));
        let adapting =
            StepRecord { step: 2, loss: 1.25, products: 3, rewinds: 1, estimator, ..StepRecord::default() };
        let plain =
            StepRecord { step: 1, loss: 0.1 + 0.2, gradient_evaluations: 60, ..StepRecord::default() };
        let validation = ValidationRecord {
            step: 2,
            validation_accuracy: Some(97.5),
            ci95: 0.5,
            validation_loss: 0.1,
            episodes: 5,
            diverged_episodes: 0,
            batch_norm: BatchNorm::Support,
            gradient_evaluations: 120,
        };
        let regression = ValidationRecord { validation_accuracy: None, ..validation.clone() };
        assert!(json!(regression).get("validation_accuracy").is_none());
        let values = [json!(plain), json!(adapting), json!(validation), json!(regression)];
        let lines = values.map(|value| value.to_string()).join("\n");
        let validations = [validation, regression];
        let expected: Vec<Record> = [Record::Step(plain), Record::Step(adapting)]
            .into_iter()
            .chain(validations.iter().cloned().map(Record::Validation))
            .collect();
        assert_eq!(Records::<Record>::new(lines.clone()).collect::<Vec<_>>(), expected);
        assert_eq!(Records::<ValidationRecord>::new(lines).collect::<Vec<_>>(), validations);
    }

    #[test]
    fn a_validation_whose_episodes_all_diverged_has_an_accuracy_that_is_nan() {
        let line = json!({"step": 3, "validation_accuracy": null, "ci95": null, "validation_loss": null, "episodes": 5,
                          "diverged_episodes": 5, "batch_norm": "support", "gradient_evaluations": 60});
        let Some(Record::Validation(read)) = Records::new(line.to_string()).next() else {
            panic!("a validation")
        };
        assert!(read.validation_accuracy.is_some_and(f64::is_nan));
        assert_eq!(json!(read), line);
    }

    #[test]
    fn a_loss_that_is_not_finite_is_read_as_nan() {
        let record = StepRecord { step: 1, loss: f64::INFINITY, ..StepRecord::default() };
        let line = serde_json::to_string(&record).unwrap();
        assert!(line.contains("\"loss\":null"));
        let Some(Record::Step(read)) = Records::new(line).next() else { panic!("a step") };
        assert!(read.loss.is_nan() && read.gradient_norm == 0.0);
    }

    #[test]
    fn other_json_is_skipped_and_a_torn_line_ends_the_file() {
        let text = "{\"step\":1,\"seconds\":0.5}\n1\nnull\n[]\n{}\n{\"step\":\"x\"}\n\
                    {\"step\":2,\"seconds\":1}\n{\"st\n{\"step\":3,\"seconds\":2}";
        let steps: Vec<u64> = Records::<ClockRecord>::new(text.into()).map(|record| record.step).collect();
        assert_eq!(steps, [1, 2]);
    }
}
