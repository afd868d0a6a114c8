//! The curves of a training run, read from its directory.

mod comparison;
mod overview;

pub use comparison::{Against, apart, compare, incomparable, pooled};
pub use overview::overview;

use crate::config::PLACE_OF_DATA;
use crate::run::{Error, Record, RunDir};
use crate::support::paths::absolute;
use bilevel::stats::mean;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use toml::Table;

/// Settings in which repetitions of a run may differ: randomness, hardware and what is recorded.
const INCIDENTAL: [&str; 5] = ["seed", "backend", "threads", "graphs", "records"];

/// What validations measure, as labels of axes.
const ACCURACY: &str = "validation accuracy (%)";
const ERROR: &str = "validation error";

/// Estimators' metrics that are probabilities: a number, or one for each inner step.
const PROBABILITIES: [&str; 3] = ["q", "p", "survival"];

/// Letters of the images' digest that are shown.
const DIGEST: usize = 8;

/// A run's curves.
#[derive(Clone, Debug, PartialEq)]
pub struct RunCurves {
    /// The directory's name.
    pub name: String,
    /// The first letters of the digest of the images that it was trained on; empty if no checkpoint says, and for generated
    /// images, which depend on the seed.
    data: String,
    /// The configuration without incidental settings.
    settings: Table,
    /// Mean query loss of each outer step.
    losses: Vec<Sample>,
    /// Validation accuracies, percent, or errors of a regression.
    validations: Vec<Sample>,
    /// What the validations measured, as the label of an axis.
    measure: &'static str,
    /// Norm of each outer step's meta-gradient before clipping.
    norms: Vec<Sample>,
    /// Hessian-vector products of each outer step.
    products: Vec<Sample>,
    /// The probabilities that an adaptive estimator chose, each under its name; for a list, its minimum, mean
    /// and maximum.
    probabilities: Vec<(String, Vec<Sample>)>,
}

/// A recorded value, and the training spent when it was recorded.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Sample {
    /// Outer steps.
    steps: f64,
    /// Gradient evaluations.
    evaluations: f64,
    /// Seconds of training; `None` if the clock has no record of the step.
    seconds: Option<f64>,
    value: f64,
    /// Half-width of the 95 % confidence interval; 0 if it has none.
    ci95: f64,
}

impl RunCurves {
    /// Reads the curves of the run in `path`. A torn last line is ignored.
    ///
    /// # Errors
    /// Returns an error if there is no run, it cannot be read, or it has no outer step yet.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let run = RunDir::at(path);
        let settings = run.settings()?;
        let has_files = settings.get("data").is_some_and(|data| data.get("path").is_some());
        let settings = without_incidental(settings);
        let clock: BTreeMap<u64, f64> = run.clock()?.map(|record| (record.step, record.seconds)).collect();
        let resolved = absolute(path);
        let name = resolved.file_name().unwrap_or(resolved.as_os_str()).to_string_lossy().into_owned();
        let latest = if has_files { run.latest().ok().flatten() } else { None };
        let digest = latest.map_or_else(String::new, |(saved, _)| saved.training_state.data);
        let mut curves = Self {
            name,
            data: digest.chars().take(DIGEST).collect(),
            settings,
            losses: Vec::new(),
            validations: Vec::new(),
            measure: ACCURACY,
            norms: Vec::new(),
            products: Vec::new(),
            probabilities: Vec::new(),
        };
        run.metrics()?.for_each(|record| curves.add(&record, clock.get(&record.step()).copied()));
        if curves.losses.is_empty() {
            return Err(Error::NoSteps { path: path.into() });
        }
        Ok(curves)
    }

    /// Adds the values of a record that was made after `seconds` of training.
    fn add(&mut self, record: &Record, seconds: Option<f64>) {
        let (step, evaluations) = match record {
            Record::Step(record) => (record.step, record.gradient_evaluations),
            Record::Validation(record) => (record.step, record.gradient_evaluations),
        };
        let sample = |value: f64, ci95: f64| Sample {
            steps: step as f64,
            evaluations: evaluations as f64,
            seconds,
            value,
            ci95,
        };
        let finite = |value: f64| value.is_finite().then(|| sample(value, 0.0));
        match record {
            Record::Validation(record) => {
                if record.validation_accuracy.is_none() {
                    self.measure = ERROR;
                }
                // Not finite if its episodes diverged.
                let value = record.validation_accuracy.unwrap_or(record.validation_loss);
                self.validations.extend(value.is_finite().then(|| sample(value, record.ci95)));
            }
            Record::Step(record) => {
                self.losses.extend(finite(record.loss));
                self.norms.extend(finite(record.gradient_norm));
                self.products.push(sample(record.products as f64, 0.0));
                let known =
                    PROBABILITIES.iter().filter_map(|name| Some((name, record.estimator.get(*name)?)));
                for (name, value) in known.flat_map(|(name, value)| summarised(name, value)) {
                    match self.probabilities.iter_mut().find(|(known, _)| *known == name) {
                        Some((_, samples)) => samples.push(sample(value, 0.0)),
                        None => self.probabilities.push((name, vec![sample(value, 0.0)])),
                    }
                }
            }
        }
    }
}

/// A number under its name; for a list, its minimum, mean and maximum.
fn summarised(name: &str, value: &Value) -> Vec<(String, f64)> {
    let all: Vec<f64> = value.as_array().into_iter().flatten().filter_map(Value::as_f64).collect();
    if all.is_empty() {
        return value.as_f64().map(|value| (name.to_string(), value)).into_iter().collect();
    }
    let (min, max) =
        all.iter().fold((f64::INFINITY, 0.0), |(min, max): (f64, f64), x| (min.min(*x), max.max(*x)));
    vec![
        (format!("minimum {name}"), min),
        (format!("mean {name}"), mean(&all)),
        (format!("maximum {name}"), max),
    ]
}

/// The configuration without incidental settings.
fn without_incidental(mut settings: Table) -> Table {
    INCIDENTAL.iter().for_each(|key| drop(settings.remove(*key)));
    if let Some(data) = settings.get_mut("data").and_then(|data| data.as_table_mut()) {
        let places = PLACE_OF_DATA.iter().filter_map(|key| key.strip_prefix("data."));
        places.for_each(|key| drop(data.remove(key)));
    }
    settings
}
