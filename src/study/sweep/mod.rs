//! Sweeps: training runs over settings and seeds in one folder, with a table and a figure of their results.
//!
//! ```text
//! NAME-seed-N/     a run; finished if it has results/test.json, diverged if it has results/diverged.json
//! table.md         one row per setting
//! table.csv        the same table
//! figure.svg       loss and validation accuracy or error, one curve per setting; also figure.png
//! by-KEY.svg       test accuracy or error against a key of the grid with three or more numbers; also by-KEY.png
//! ```

mod by_key;
mod measure;
mod summary;

pub use measure::Measure;
pub use summary::{Summary, SweepResult, write};

use super::folder::differences;
use super::{Error, RunImages};
use crate::config::{Config, Sweep};
use crate::run::{self, RunDir, RunResult};
use crate::train::evaluation_shape;
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};

/// A run of a sweep.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Index of the sweep's variant.
    pub variant: usize,
    /// Its run directory.
    pub path: PathBuf,
    /// Its configuration.
    pub config: Config,
}

/// State of a run. As JSON, it has a `state`: `open`, `finished` or `diverged`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum RunState {
    /// Not started, or not finished.
    Open,
    /// Trained and tested.
    Finished(Score),
    /// Diverged.
    Diverged {
        /// The outer step that was not finite.
        step: u64,
    },
}

/// Result of a finished run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Score {
    /// Test accuracy, in percent, or mean squared error. `None` if the episodes of the test diverged: all for an accuracy, any
    /// for an error.
    pub value: Option<f64>,
    /// Number of episodes of the test.
    pub episodes: usize,
    /// How many of them diverged.
    pub diverged_episodes: usize,
    /// Gradient evaluations of training.
    pub gradient_evaluations: u64,
    /// Seconds of training.
    pub seconds: f64,
}

impl Score {
    /// The result of a run whose test is `test`.
    fn of(test: &RunResult) -> Self {
        match test {
            RunResult::Accuracy(test) => Self {
                value: test.accuracy.percent(),
                episodes: test.episodes,
                diverged_episodes: test.diverged_episodes,
                gradient_evaluations: test.tested.gradient_evaluations,
                seconds: test.tested.seconds,
            },
            RunResult::Error(test) => Self {
                value: test.error,
                episodes: test.episodes,
                diverged_episodes: test.diverged_episodes(),
                gradient_evaluations: test.tested.gradient_evaluations,
                seconds: test.tested.seconds,
            },
        }
    }
}

/// The runs of `sweep` below `folder`: all variants with one seed before the next seed, so that a slow drift of the machine
/// affects all equally. A run that had another name before the sweep file changed is found by its configuration.
pub fn runs(sweep: &Sweep, folder: &Path) -> Vec<Run> {
    let mut runs = Vec::new();
    for seed in &sweep.seeds {
        for (variant, setting) in sweep.variants.iter().enumerate() {
            let path = folder.join(format!("{}-seed-{seed}", setting.name));
            runs.push(Run { variant, path, config: Config { seed: *seed, ..setting.config.clone() } });
        }
    }
    find_renamed(&mut runs, folder);
    runs
}

/// Gives each of `runs` the directory in `folder` that holds its configuration, if its own does not. Names depend on all values of
/// the grid, so a value that is added or removed renames runs.
fn find_renamed(runs: &mut [Run], folder: &Path) {
    let Ok(files) = fs::read_dir(folder) else { return };
    let opened = |path: PathBuf| RunDir::open(&path).ok().map(|(_, config)| (path, config));
    let mut held: Vec<(PathBuf, Config)> = files.filter_map(|file| opened(file.ok()?.path())).collect();
    held.sort_by(|a, b| a.0.cmp(&b.0));
    let holds = |stored: &Config, run: &Run| run.config.decided_as(stored).described() == stored.described();
    let mut renamed: Vec<&mut Run> = Vec::new();
    for run in runs {
        match held.iter().position(|(path, stored)| *path == run.path && holds(stored, run)) {
            Some(own) => drop(held.remove(own)),
            None => renamed.push(run),
        }
    }
    for run in renamed {
        if let Some(other) = held.iter().position(|(_, stored)| holds(stored, run)) {
            run.path = held.remove(other).0;
        }
    }
}

/// Checks that all runs are measured alike, and that those that exist already have the configurations of `runs` and the same images;
/// backend, threads and paths may differ. Returns the images, to which those of new runs can be [added](RunImages::add).
///
/// # Errors
/// Returns an error if some learn something else or from other images, or if one has other settings, which are named, or cannot be
/// read.
pub fn check(runs: &[Run]) -> Result<RunImages, Error> {
    if let [first, others @ ..] = runs
        && let Some(other) = others.iter().find(|other| other.measure() != first.measure())
    {
        return Err(Error::Invalid(format!(
            "a sweep compares accuracies or errors, and {} has an {} while {} has an {}; sweep each task.kind in a file of its \
             own",
            first.name(),
            first.measure().name(),
            other.name(),
            other.measure().name(),
        )));
    }
    let mut images = RunImages::of(runs.iter().map(|run| &run.config));
    for run in runs {
        let (directory, stored) = match RunDir::open(&run.path) {
            Ok(opened) => opened,
            Err(run::Error::NoRun { .. }) => continue,
            Err(error) => return Err(error.into()),
        };
        let asked = run.config.decided_as(&stored).described();
        let differences = differences(&stored.described(), &asked);
        if !differences.is_empty() {
            return Err(Error::OtherSettings { path: run.path.clone(), differences });
        }
        // Without an intact checkpoint, it is not known.
        if let Ok(Some((saved, _))) = directory.latest() {
            images.add(&run.name(), &run.config, &saved.training_state.data)?;
        }
    }
    Ok(images)
}

/// Whether `test` measured what `config` asks for. Any other number is not one of this sweep: the run is then tested again.
fn is_own(test: &RunResult, config: &Config) -> bool {
    let shape = evaluation_shape(config);
    let test = match test {
        RunResult::Accuracy(test) => test,
        RunResult::Error(test) => {
            let asked = (shape.shots, shape.queries, config.eval.test_episodes, config.inner.eval_steps, 1);
            return (test.shots, test.queries, test.episodes, test.inner_steps, test.tested.ensemble)
                == asked
                && config.outer.budget.progress(test.tested.steps, test.tested.gradient_evaluations) >= 1.0;
        }
    };
    let asked = (shape.ways, shape.shots, config.eval.test_episodes, config.model.batch_norm, 1);
    let exactly = |measured: Option<usize>, asked: usize| measured.is_none_or(|measured| measured == asked);
    (test.ways, test.shots, test.episodes, test.batch_norm, test.tested.ensemble) == asked
        && exactly(test.queries, shape.queries)
        && exactly(test.inner_steps, config.inner.eval_steps)
        && test.data.is_none()
        && config.outer.budget.progress(test.tested.steps, test.tested.gradient_evaluations) >= 1.0
}

impl Run {
    /// Name of its directory, as in tables.
    pub fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// What its test measures.
    pub fn measure(&self) -> Measure {
        Measure::of(self.config.task.kind)
    }

    /// Its state.
    ///
    /// # Errors
    /// Returns an error if its directory cannot be read.
    pub fn state(&self) -> Result<RunState, Error> {
        let (directory, config) = match RunDir::open(&self.path) {
            Ok(opened) => opened,
            Err(run::Error::NoRun { .. }) => return Ok(RunState::Open),
            Err(error) => return Err(error.into()),
        };
        if let Some(test) = directory.test_result()?.filter(|test| is_own(test, &config)) {
            return Ok(RunState::Finished(Score::of(&test)));
        }
        Ok(directory.diverged_at()?.map_or(RunState::Open, |step| RunState::Diverged { step }))
    }

    /// Records that it diverged at outer step `step`, so that it is not started again.
    ///
    /// # Errors
    /// Returns an error if this cannot be written.
    pub fn mark_diverged(&self, step: u64) -> Result<(), Error> {
        let (directory, _) = RunDir::open(&self.path)?;
        Ok(directory.write_divergence(step)?)
    }
}
