//! A training run that is validated whenever another even share of its gradient evaluations is spent.

use super::accuracy_curve::Validation;
use super::behaviour;
use super::{Record, budget};
use crate::bench::Busy;
use crate::config::{self, Config};
use crate::data::Part;
use crate::run;
use crate::study::folder::{read, write_json};
use crate::study::training::{TrainingProgress, start_or_resume_on};
use crate::study::{Error, Workspace};
use crate::train::{self, Trainer};
use bilevel::Budget;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Trains according to `config` in the folder called `name`. Validates once before the first step, and `count` times on
/// the way. An interrupted run continues at its last checkpoint.
///
/// # Errors
/// Returns an error if the run fails; divergence is no error, and is recorded.
pub fn train(config: &Config, name: &str, count: u64, workspace: &mut Workspace) -> Result<Record, Error> {
    let (folder, images) = (workspace.folder()?.join(name), workspace.images_file());
    let budget = budget(config);
    let mut watcher = TrainingProgress::new(workspace, 1.0);
    let mut trainer = start_or_resume_on(&images, &folder, config, &mut watcher)?;
    let mut log = ValidationLog::open(&folder, &trainer)?;
    let mut cores = None;
    loop {
        let spent = trainer.training_state().evaluations.total();
        if spent >= log.next_due(budget, count) {
            let validation = validate(&trainer, cores.take())?;
            if !validation.accuracy.is_finite() {
                // All validation episodes diverged: there is no accuracy to record.
                return Ok(log.diverged(validation.steps));
            }
            log.add(validation)?;
        }
        if spent >= budget {
            return log.record(&trainer);
        }
        let target = Budget::Evaluations(log.next_due(budget, count));
        let (started, busy) = (Instant::now(), Busy::now());
        match trainer.run_until(target, &mut watcher) {
            Err(train::Error::Diverged { step, .. }) => return Ok(log.diverged(step)),
            ended => ended?,
        };
        trainer.check_saved()?;
        let seconds = started.elapsed().as_secs_f64();
        cores = busy.zip(Busy::now()).map(|(before, after)| before.cores(after, seconds).into());
    }
}

/// Validates the learner at the current step of `trainer`.
fn validate(trainer: &Trainer, cores: Option<[f64; 2]>) -> Result<Validation, Error> {
    let config = trainer.config();
    let measured = trainer.evaluate(Part::Validation, config.eval.episodes, |_| {});
    let accuracy = measured.accuracy().ok_or(config::Error::NoImages { task: config.task.kind })?;
    let training_state = trainer.training_state();
    Ok(Validation {
        steps: training_state.step,
        evaluations: training_state.evaluations.total(),
        seconds: training_state.seconds,
        accuracy: accuracy.mean,
        ci95: accuracy.ci95,
        cores,
    })
}

/// The validations so far, stored in the run's folder. Each belongs to a checkpoint, and is written after it.
struct ValidationLog {
    path: PathBuf,
    validations: Vec<Validation>,
}

impl ValidationLog {
    /// Reads the validations up to the current step of `trainer`.
    fn open(folder: &Path, trainer: &Trainer) -> Result<Self, Error> {
        let path = folder.join("validations.json");
        let mut validations: Vec<Validation> = read(&path)?.unwrap_or_default();
        validations.retain(|validation| validation.steps <= trainer.training_state().step);
        Ok(Self { path, validations })
    }

    /// Gradient evaluations after which the next of `count` validations is due, out of `budget`.
    fn next_due(&self, budget: u64, count: u64) -> u64 {
        self.validations.last().map_or(0, |last| {
            let passed = u128::from(last.evaluations) * u128::from(count) / u128::from(budget);
            // Rounded up, so that no validation is due twice at the same number of evaluations.
            ((passed + 1) * u128::from(budget)).div_ceil(u128::from(count)) as u64
        })
    }

    fn add(&mut self, validation: Validation) -> Result<(), Error> {
        self.validations.push(validation);
        write_json(&self.path, &self.validations)
    }

    /// The record of the finished run of `trainer`.
    fn record(self, trainer: &Trainer) -> Result<Record, Error> {
        let records = trainer.run_dir().metrics()?.filter_map(|record| match record {
            run::Record::Step(record) => Some(record),
            run::Record::Validation(_) => None,
        });
        let Config { outer, inner, .. } = trainer.config();
        let exact = (outer.meta_batch * inner.steps) as u64;
        let intervals = behaviour::intervals(&records.collect::<Vec<_>>(), &self.validations, exact);
        Ok(Record { diverged: None, validations: self.validations, intervals })
    }

    /// The record of a run that diverged at outer step `step`.
    fn diverged(self, step: u64) -> Record {
        Record { diverged: Some(step), validations: self.validations, intervals: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::accuracy_curve::tests::validations;
    use super::*;

    #[test]
    fn validations_are_due_at_even_shares_and_never_twice() {
        let mut log = ValidationLog { path: PathBuf::new(), validations: Vec::new() };
        assert_eq!(log.next_due(1000, 3), 0);
        for (spent, due) in [(0, 334), (334, 667), (333, 334), (900, 1000), (1010, 1334)] {
            log.validations = validations(1.0, [(spent, 0.0)]);
            assert_eq!(log.next_due(1000, 3), due, "after {spent}");
        }
    }
}
