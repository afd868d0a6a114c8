//! θ at a checkpoint, and the walks from there.

use super::Run;
use crate::backend;
use crate::config::Config;
use crate::data::Part;
use crate::diagnosis::Diagnosis;
use crate::stack::Stack;
use crate::study::training::take_up;
use crate::study::{Desk, Error};
use crate::trainer::{
    self, Learner, RunDir, Saved, StepRecord, Watcher, check_data, quoted, sampler, training_shape,
};
use std::path::Path;

/// The first task measured on: far beyond the episodes trained on.
const MEASURED: u64 = 1 << 32;

/// The steps of a run's checkpoints, ascending.
pub fn checkpoints(run: &Path) -> Result<Vec<u64>, Error> {
    let mut steps = RunDir::open(run)?.0.checkpoint_steps()?;
    steps.reverse();
    match steps.is_empty() {
        true => Err(trainer::Error::NoCheckpoint { path: run.into() }.into()),
        false => Ok(steps),
    }
}

/// What walks from `tasks` tasks at θ after `step` outer steps meet.
pub fn diagnose(
    config: &Config,
    run: &Run,
    step: u64,
    tasks: usize,
    desk: &mut Desk,
) -> Result<Diagnosis, Error> {
    let saved = match run {
        Run::Trained(_) => trained(config, step, desk)?,
        Run::Kept(path, _) => Saved::read(&RunDir::open(path)?.0.checkpoint_file(step))?,
    };
    let sampler = sampler(config, &mut Messages { desk, from: step, now: step, until: step })?;
    check_data(&sampler, &saved.standing)?;
    let learner = Learner::new(config, backend::open(config.backend)?);
    let theta: Stack = saved.theta(&learner.leaves(), &learner.opened.device)?;
    let shape = training_shape(config);
    let episodes: Vec<_> = (MEASURED..MEASURED + tasks as u64)
        .map(|index| sampler.episode(Part::Train, index, &shape))
        .collect();
    let problem = learner.problem(&episodes);
    Ok(Diagnosis::of(&problem, &theta, config.inner.steps, &learner.opened.workers))
}

/// The checkpoint after `step` outer steps of the study's own run, which is trained that far if it is not
/// yet.
fn trained(config: &Config, step: u64, desk: &mut Desk) -> Result<Saved, Error> {
    let path = desk.folder()?.join("training");
    match RunDir::open(&path) {
        Ok((run, _)) if run.checkpoint_file(step).is_file() => {
            return Ok(Saved::read(&run.checkpoint_file(step))?);
        }
        Ok(_) | Err(trainer::Error::NoRun { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let mut messages = Messages { desk, from: 0, now: 0, until: step };
    let mut trainer = take_up(&path, config, &mut messages)?;
    let from = trainer.standing().step;
    if from > step {
        return Err(Error::Unfit(format!(
            "the run in {0} is beyond outer step {step}, whose checkpoint is gone; delete it: rm -r {1}",
            path.display(),
            quoted(&path)
        )));
    }
    (messages.from, messages.now) = (from, from);
    trainer.run(&mut messages)?;
    trainer.kept()?;
    Ok(Saved::read(&trainer.run_dir().checkpoint_file(step))?)
}

/// A desk, as a watcher of a run that stops it after outer step `until`.
struct Messages<'a, 'b> {
    desk: &'a mut Desk<'b>,
    from: u64,
    now: u64,
    until: u64,
}

impl Watcher for Messages<'_, '_> {
    fn step(&mut self, record: &StepRecord, _progress: f64) {
        let all = self.until.saturating_sub(self.from).max(1);
        self.desk.progress(record.step.saturating_sub(self.from) as f64 / all as f64);
        self.now = record.step;
    }

    fn warning(&mut self, text: &str) {
        self.desk.note(&format!("warning: {text}"));
    }

    fn stops(&self) -> bool {
        self.now >= self.until
    }
}
