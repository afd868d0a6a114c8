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

use super::Error;
use super::folder::differences;
use crate::config::{Config, Sweep};
use crate::run::{self, RunDir, RunResult};
use crate::train::evaluation_shape;
use serde::Serialize;
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
/// affects all equally.
pub fn runs(sweep: &Sweep, folder: &Path) -> Vec<Run> {
    let mut runs = Vec::new();
    for seed in &sweep.seeds {
        for (variant, setting) in sweep.variants.iter().enumerate() {
            let path = folder.join(format!("{}-seed-{seed}", setting.name));
            runs.push(Run { variant, path, config: Config { seed: *seed, ..setting.config.clone() } });
        }
    }
    runs
}

/// Checks that all runs are measured alike, and that those that exist already have the configurations of `runs` and the same images;
/// backend, threads and paths may differ.
///
/// # Errors
/// Returns an error if some learn something else or from other images, or if one has other settings, which are named, or cannot be
/// read.
pub fn check(runs: &[Run]) -> Result<(), Error> {
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
    let mut trained_on: Option<(String, String)> = None;
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
        let Some(images) = images_of(&directory, &stored) else { continue };
        match &trained_on {
            None => trained_on = Some((run.name(), images)),
            Some((_, others)) if *others == images => {}
            Some((other, _)) => {
                return Err(Error::Invalid(format!(
                    "{other} and {} are trained on different images; give all runs the same --data, and other images a folder of \
                     their own with --out",
                    run.name()
                )));
            }
        }
    }
    Ok(())
}

/// The digest of the images that a run is trained on; `None` if they are generated, or it has no checkpoint that says.
fn images_of(directory: &RunDir, config: &Config) -> Option<String> {
    config.data.as_ref()?.path.as_ref()?;
    let (saved, _) = directory.latest().ok()??;
    Some(saved.training_state.data).filter(|digest| !digest.is_empty())
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
