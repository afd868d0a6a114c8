//! A training run's curves, from what it left on disk: `config.toml`, `metrics.jsonl`, `clock.jsonl`.

use crate::interval::mean;
use crate::whole;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};
use toml::Table;

/// What runs may differ in and still be repetitions of each other: chance, where they ran, and what was
/// written of them.
const INCIDENTAL: [&str; 3] = ["seed", "backend", "records"];

/// Under what names estimators say how probable they make it to differentiate: a number, or one for each step.
const CHANCES: [&str; 3] = ["q", "p", "survival"];

/// The most bytes of a configuration and of a journal that are read.
const MOST_CONFIG: u64 = 1 << 20;
const MOST_JOURNAL: u64 = 1 << 30;

/// Why a run cannot be drawn.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum RunError {
    #[error(
        "there is no run in {path}: it has no config.toml; runs are the folders that `metaburn train` makes, by \
         default under checkpoints/"
    )]
    NoRun { path: PathBuf },
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path} is not the configuration of a run: {}", source.message())]
    Config { path: PathBuf, source: Box<toml::de::Error> },
    #[error("{path} has no outer step yet; there is nothing to draw: train it first with `metaburn resume`")]
    Empty { path: PathBuf },
}

/// A run's curves.
#[derive(Clone, Debug, PartialEq)]
pub struct RunCurves {
    /// The directory's name.
    pub name: String,
    /// Its configuration, without what is incidental.
    pub(super) settings: Table,
    /// Mean query loss of each outer step.
    pub(super) losses: Vec<Moment>,
    /// Validation accuracies, percent.
    pub(super) accuracies: Vec<Moment>,
    /// Norm of each outer step's meta-gradient, before clipping.
    pub(super) norms: Vec<Moment>,
    /// Hessian-vector products of each outer step.
    pub(super) products: Vec<Moment>,
    /// The probabilities that an adapting estimator chose, each under its name; of several, the least, the mean and
    /// the largest.
    pub(super) chances: Vec<(String, Vec<Moment>)>,
}

/// A value, and when it was so.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Moment {
    pub steps: f64,
    pub evaluations: f64,
    /// Of training; `None` where the clock does not say.
    pub seconds: Option<f64>,
    pub value: f64,
    /// Half of its 95 % interval; 0 where it has none.
    pub ci95: f64,
}

impl RunCurves {
    /// Of the run in `path`. A last line that is being written is passed over.
    ///
    /// # Errors
    /// If there is no run, it cannot be read, or it has not taken a step.
    pub fn read(path: &Path) -> Result<Self, RunError> {
        let config = path.join("config.toml");
        let text = text(&config, MOST_CONFIG)?.ok_or_else(|| RunError::NoRun { path: path.into() })?;
        let settings =
            text.parse().map_err(|source| RunError::Config { path: config, source: Box::new(source) })?;
        let clock = clock(path)?;
        let (mut losses, mut accuracies) = (Vec::new(), Vec::new());
        let (mut norms, mut products, mut chances) = (Vec::new(), Vec::new(), Vec::new());
        each_line(&path.join("metrics.jsonl"), |line| {
            let when = line["step"].as_u64().zip(line["gradient_evaluations"].as_f64());
            let Some((step, evaluations)) = when else { return };
            let moment = |value: f64, ci95: f64| Moment {
                steps: step as f64,
                evaluations,
                seconds: clock.get(&step).copied(),
                value,
                ci95,
            };
            let named = |name: &str| line[name].as_f64();
            let ci95 = named("ci95").unwrap_or_default();
            losses.extend(named("loss").map(|loss| moment(loss, 0.0)));
            accuracies.extend(named("validation_accuracy").map(|accuracy| moment(accuracy, ci95)));
            norms.extend(named("gradient_norm").map(|norm| moment(norm, 0.0)));
            products.extend(named("products").map(|products| moment(products, 0.0)));
            for (name, value) in CHANCES.iter().flat_map(|name| spread(name, &line[*name])) {
                match chances.iter_mut().find(|(known, _): &&mut (String, Vec<Moment>)| *known == name) {
                    Some((_, moments)) => moments.push(moment(value, 0.0)),
                    None => chances.push((name, vec![moment(value, 0.0)])),
                }
            }
        })?;
        if losses.is_empty() {
            return Err(RunError::Empty { path: path.into() });
        }
        let whole = path.canonicalize().unwrap_or_else(|_| path.into());
        let name = whole.file_name().unwrap_or(whole.as_os_str()).to_string_lossy().into_owned();
        Ok(Self { name, settings: lasting(settings), losses, accuracies, norms, products, chances })
    }
}

/// A number under its name; of a list, the least, the mean and the largest.
fn spread(name: &str, value: &Value) -> Vec<(String, f64)> {
    let all: Vec<f64> = value.as_array().into_iter().flatten().filter_map(Value::as_f64).collect();
    if all.is_empty() {
        return value.as_f64().map(|value| (name.to_string(), value)).into_iter().collect();
    }
    let (least, most) =
        all.iter().fold((f64::INFINITY, 0.0), |(least, most): (f64, f64), x| (least.min(*x), most.max(*x)));
    vec![
        (format!("least {name}"), least),
        (format!("mean {name}"), mean(&all)),
        (format!("largest {name}"), most),
    ]
}

/// What of a configuration makes a run what it is.
fn lasting(mut settings: Table) -> Table {
    INCIDENTAL.iter().for_each(|key| drop(settings.remove(*key)));
    if let Some(data) = settings.get_mut("data").and_then(|data| data.as_table_mut()) {
        data.remove("path");
    }
    settings
}

/// When each outer step of the run in `path` was over, in seconds of training.
///
/// # Errors
/// If the clock is there and cannot be read.
pub(crate) fn clock(path: &Path) -> Result<BTreeMap<u64, f64>, RunError> {
    let mut clock = BTreeMap::new();
    each_line(&path.join("clock.jsonl"), |line| {
        clock.extend(line["step"].as_u64().zip(line["seconds"].as_f64()));
    })?;
    Ok(clock)
}

/// Shows the JSON lines of a file as far as they are whole; none if there is no file.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn each_line(path: &Path, show: impl FnMut(Value)) -> Result<(), RunError> {
    let text = text(path, MOST_JOURNAL)?.unwrap_or_default();
    text.lines().map_while(|line| serde_json::from_str(line).ok()).for_each(show);
    Ok(())
}

/// `None` if there is no such file.
fn text(path: &Path, most: u64) -> Result<Option<String>, RunError> {
    let text = |bytes| String::from_utf8(bytes).map_err(|error| Error::new(ErrorKind::InvalidData, error));
    match whole::read(path, most).and_then(text) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(RunError::Read { path: path.into(), source }),
    }
}
