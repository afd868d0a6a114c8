//! A training run's curves, from what it left on disk: `config.toml`, `metrics.jsonl`, `clock.jsonl`.

use crate::whole;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};
use toml::Table;

/// What runs may differ in and still be repetitions of each other: chance, and where they ran.
const INCIDENTAL: [&str; 2] = ["seed", "backend"];

/// The most bytes of a configuration and of a journal that are read.
const MOST_CONFIG: u64 = 1 << 20;
const MOST_JOURNAL: u64 = 1 << 30;

/// Why a run cannot be drawn.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
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
        let mut clock = BTreeMap::new();
        each_line(&path.join("clock.jsonl"), |line| {
            clock.extend(line["step"].as_u64().zip(line["seconds"].as_f64()));
        })?;
        let (mut losses, mut accuracies) = (Vec::new(), Vec::new());
        each_line(&path.join("metrics.jsonl"), |line| {
            let moment = |value: &str, ci95: &str| {
                let step = line["step"].as_u64()?;
                Some(Moment {
                    steps: step as f64,
                    evaluations: line["gradient_evaluations"].as_f64()?,
                    seconds: clock.get(&step).copied(),
                    value: line[value].as_f64()?,
                    ci95: line[ci95].as_f64().unwrap_or_default(),
                })
            };
            losses.extend(moment("loss", ""));
            accuracies.extend(moment("validation_accuracy", "ci95"));
        })?;
        if losses.is_empty() {
            return Err(RunError::Empty { path: path.into() });
        }
        let whole = path.canonicalize().unwrap_or_else(|_| path.into());
        let name = whole.file_name().unwrap_or(whole.as_os_str()).to_string_lossy().into_owned();
        Ok(Self { name, settings: lasting(settings), losses, accuracies })
    }
}

/// What of a configuration makes a run what it is.
fn lasting(mut settings: Table) -> Table {
    INCIDENTAL.iter().for_each(|key| drop(settings.remove(*key)));
    if let Some(data) = settings.get_mut("data").and_then(|data| data.as_table_mut()) {
        data.remove("path");
    }
    settings
}

/// Shows the JSON lines of a file as far as they are whole; none if there is no file.
fn each_line(path: &Path, show: impl FnMut(Value)) -> Result<(), RunError> {
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
