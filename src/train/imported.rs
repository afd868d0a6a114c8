//! Runs of weights that were trained elsewhere.

use super::{Error, Learner};
use crate::config::Config;
use crate::data::KeptSplit;
use crate::run::{self, RunDir, TrainingState};
use bilevel::Params;
use bilevel::hypergradient::Evaluations;
use std::path::Path;

/// The training behind imported weights, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Origin {
    /// Outer steps taken.
    pub step: u64,
    /// Their gradient evaluations.
    pub evaluations: Evaluations,
    /// Seconds of training.
    pub seconds: f64,
    /// Digest of the images trained on; empty if unknown.
    pub data: String,
}

/// Writes a run of `config` to `path` whose only checkpoint is `theta`, a stack of one task with the leaves of `learner`, after
/// the outer steps of `origin`, with the `split` of its data if it is known. The optimiser and the estimator begin anew. No images
/// are needed.
///
/// # Errors
/// Returns an error if the directory is among the images, holds a run already or cannot be written.
pub fn write_imported(
    theta: Params,
    learner: &Learner,
    config: &Config,
    path: &Path,
    split: Option<&KeptSplit>,
    origin: Origin,
) -> Result<RunDir, Error> {
    super::start::check_place(path, config)?;
    let outer = learner.outer_loop(config, theta);
    let phase = config.estimator.phase(origin.step);
    let estimator = config.estimator.estimator(phase).build().state();
    let (run, _lock) = RunDir::create(path)?;
    if let Some(split) = split {
        run.write_split(split)?;
    }
    let Origin { step, evaluations, seconds, data } = origin;
    let training_state = TrainingState {
        step,
        evaluations,
        seconds,
        best: None,
        runners_up: Vec::new(),
        skipped_steps: 0,
        rewinds: 0,
        estimator: estimator.values,
        data,
        settings: config.described(),
    };
    let (file, optimizer) = (run.checkpoint_file(step), outer.optimizer().state());
    run::save(
        &file,
        &learner.leaves(),
        outer.theta(),
        optimizer,
        estimator.vector.as_ref(),
        &training_state,
    )?;
    run.write_config(config)?;
    Ok(run)
}
