//! Checkpoints of the run, trained where missing, and the measurement at each.

use super::Source;
use crate::config::Config;
use crate::data::Part;
use crate::run::{self, RunDir, Saved, quoted};
use crate::study::training::{TrainingProgress, start_or_resume};
use crate::study::{Error, Workspace};
use crate::train::{Earlier, Learner, RunData, check_data, training_shape};
use bilevel::hypergradient::IterateSize;
use bilevel::variance::ErrorAnalysis;
use bilevel::{Budget, Params, device};
use std::path::Path;

/// Index of the first episode measured on, far beyond the episodes of training.
const FIRST_EPISODE: u64 = 1 << 32;

/// Outer steps of the checkpoints of `run`, ascending.
///
/// # Errors
/// Returns an error if they cannot be listed, or there are none.
pub fn steps(run: &Path) -> Result<Vec<u64>, Error> {
    let mut steps = RunDir::open(run)?.0.checkpoint_steps()?;
    steps.reverse();
    match steps.is_empty() {
        true => Err(run::Error::NoCheckpoint { path: run.into() }.into()),
        false => Ok(steps),
    }
}

/// Error and variance of the gradients at the checkpoint after `step` outer steps, over `tasks` tasks.
pub fn measure(
    config: &Config,
    source: &Source,
    step: u64,
    tasks: usize,
    workspace: &mut Workspace,
) -> Result<ErrorAnalysis, Error> {
    let saved = match source {
        Source::Trained(all) => trained(config, all, step, workspace)?,
        Source::Existing(path, _) => Saved::read(&RunDir::open(path)?.0.checkpoint_file(step))?,
    };
    // The run's own split: an imported one may differ from that of its seed.
    let split = match source {
        Source::Trained(_) => None,
        Source::Existing(path, _) => RunDir::open(path)?.0.split()?,
    };
    let mut watcher = TrainingProgress::until(workspace, step);
    let RunData { sampler, ref config, .. } =
        RunData::load(config, split.as_ref().map(Earlier::Run), &mut watcher)?;
    check_data(&sampler, &saved.training_state)?;
    let learner = Learner::new(config, device::open(config.backend)?.with_threads(config.threads));
    let theta: Params = saved.theta(&learner.leaves(), &learner.opened.device)?;
    let shape = training_shape(config);
    let episodes: Vec<_> = (FIRST_EPISODE..FIRST_EPISODE + tasks as u64)
        .map(|index| sampler.episode(Part::Train, index, &shape))
        .collect();
    let problem = learner.at_step(learner.problem(&episodes), step);
    let steps = config.inner.steps;
    let bytes = (learner.fast_weights() * size_of::<f32>()) as u64;
    let memory = config.memory.resolve(IterateSize { tasks, depth: steps, bytes });
    let found = ErrorAnalysis::of(&problem, &theta, steps, learner.opened.workers, memory);
    match found.exact.value.is_finite() {
        true => Ok(found),
        false => Err(Error::Invalid(format!(
            "after outer step {step}, the inner loop diverges on one of {tasks} tasks, so there is no exact gradient to compare with; \
             measure at other steps, or train with a smaller inner.rate"
        ))),
    }
}

/// The checkpoint after `step` outer steps of the study's own run, which is trained that far if necessary. Those of `all` on the
/// way are kept for the pieces that measure there, which may come later.
fn trained(config: &Config, all: &[u64], step: u64, workspace: &mut Workspace) -> Result<Saved, Error> {
    let path = workspace.folder()?.join("training");
    match RunDir::open(&path) {
        Ok((run, _)) if run.checkpoint_file(step).is_file() => {
            return Ok(Saved::read(&run.checkpoint_file(step))?);
        }
        Ok(_) | Err(run::Error::NoRun { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let mut watcher = TrainingProgress::until(workspace, step);
    let mut trainer = start_or_resume(&path, config, &mut watcher)?;
    let from = trainer.training_state().step;
    if from > step {
        return Err(Error::Invalid(format!(
            "the run in {0} is past outer step {step}, but that checkpoint is missing; delete the run: rm -r {1}",
            path.display(),
            quoted(&path)
        )));
    }
    for target in all.iter().filter(|target| (from + 1..=step).contains(target)) {
        trainer.run_until(Budget::Steps(*target), &mut watcher)?;
        trainer.check_saved()?;
    }
    Ok(Saved::read(&trainer.run_dir().checkpoint_file(step))?)
}
