//! One training run and its tests: the best checkpoint and the ensemble of the best, in both modes of batch norm.

use super::{Run, Setting};
use crate::data::{EpisodeShape, Part};
use crate::run::{RunDir, ValidationRecord};
use crate::study::folder::{read, write_json};
use crate::study::training::{TrainingProgress, start_or_resume_on};
use crate::study::{Error, Measured, Workspace};
use crate::task::BatchNorm;
use crate::train::{self, Evaluation, Trainer};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The most checkpoints in the ensemble. It is tested on as many times fewer episodes, and so takes as long as one checkpoint.
pub const ENSEMBLE: usize = 5;

/// Result of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Outer step at which it diverged, if it did. Then there is no test.
    pub diverged: Option<u64>,
    /// Its validations.
    pub validations: Vec<Validation>,
    /// Outer steps.
    pub steps: u64,
    /// Tasks of an outer step.
    pub meta_batch: usize,
    /// Gradient evaluations.
    pub evaluations: u64,
    /// Seconds of training.
    pub seconds: f64,
    /// Its tests; none if it has no checkpoint with a validation.
    pub tests: Vec<Test>,
}

/// A validation of a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Validation {
    /// Outer steps.
    pub step: u64,
    /// Seconds of training.
    pub seconds: f64,
    /// Accuracy in percent.
    pub accuracy: f64,
}

/// Test accuracies of one checkpoint or of an ensemble, percent, with their 95 % intervals over episodes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Test {
    /// What it was tested on.
    pub setting: Setting,
    /// The outer steps of the checkpoints, best first.
    pub checkpoints: Vec<u64>,
    /// Number of episodes.
    pub episodes: usize,
    /// Batch norm with the statistics of the query set.
    pub transductive: Measured,
    /// Batch norm with the statistics of the support set.
    pub support: Measured,
}

/// Trains `run` in a folder of its name, and tests on episodes of its settings. An interrupted run continues at its last checkpoint,
/// and with the tests that it lacks; a finished one is only tested.
///
/// # Errors
/// Returns an error if the run fails; divergence is no error, and is recorded.
pub fn train_and_test(run: &Run, workspace: &mut Workspace) -> Result<Record, Error> {
    let (folder, images) = (workspace.folder()?.join(run.key()), workspace.images_file());
    let share = run.work_of_training() / (run.work_of_training() + run.work_of_tests());
    let mut watcher = TrainingProgress::new(workspace, share);
    let mut trainer = start_or_resume_on(&images, &folder, &run.config, &mut watcher)?;
    for setting in run.training.settings {
        trainer.episodes().check(Part::Test, &test_shape(run, *setting))?;
    }
    let diverged = match trainer.run(&mut watcher) {
        Err(train::Error::Diverged { step, .. }) => Some(step),
        ended => ended.map(|_| None)?,
    };
    let tests = match diverged {
        Some(_) => Vec::new(),
        None => {
            trainer.check_saved()?;
            tests(&trainer, run, share, workspace)?
        }
    };
    let state = trainer.training_state();
    Ok(Record {
        diverged,
        validations: validations(trainer.run_dir())?,
        steps: state.step,
        meta_batch: run.config.outer.meta_batch,
        evaluations: state.evaluations.total(),
        seconds: state.seconds,
        tests,
    })
}

/// The validations in the run's journal.
fn validations(run: &RunDir) -> Result<Vec<Validation>, Error> {
    let clock: BTreeMap<u64, f64> = run.clock()?.map(|record| (record.step, record.seconds)).collect();
    let validation = |record: ValidationRecord| {
        let (step, accuracy) = (record.step, record.validation_accuracy.filter(|value| value.is_finite())?);
        Some(Validation { step, seconds: *clock.get(&step)?, accuracy })
    };
    let records = run.metrics()?.filter_map(|record| match record {
        crate::run::Record::Validation(record) => validation(record),
        crate::run::Record::Step(_) => None,
    });
    Ok(records.collect())
}

/// The episodes that `run` is tested on in `setting`.
fn test_shape(run: &Run, setting: Setting) -> EpisodeShape {
    let (ways, shots) = setting.ways_and_shots();
    EpisodeShape { ways, shots, queries: run.config.eval.queries }
}

/// Tests the best checkpoint by validation and, if several are kept, the ensemble of the best, on episodes of each setting. Each
/// test is stored in the run's folder as soon as it is done. What came before is the share `before` of the piece.
fn tests(trainer: &Trainer, run: &Run, before: f64, workspace: &mut Workspace) -> Result<Vec<Test>, Error> {
    let (config, learner, folder) = (&run.config, trainer.learner(), trainer.run_dir());
    let kept = folder.best_steps()?.len().min(ENSEMBLE);
    if kept == 0 {
        return Ok(Vec::new());
    }
    let best = folder.best_checkpoints(kept, config.checkpoint.keep_best)?;
    let members = best.iter().map(|saved| saved.theta(&learner.leaves(), &learner.opened.device));
    let members = members.collect::<Result<Vec<_>, _>>()?;
    let steps: Vec<u64> = best.iter().map(|saved| saved.training_state.step).collect();

    let file = folder.path().join("tests.json");
    let mut tests: Vec<Test> = read(&file)?.unwrap_or_default();
    let loader = trainer.episodes().images()?;
    let all = config.eval.test_episodes;
    let sizes = [(1, all), (kept, all.div_ceil(ENSEMBLE).max(2))];
    let sizes = if kept == 1 { &sizes[..1] } else { &sizes };
    // One checkpoint in all settings, then the ensemble.
    let wanted: Vec<(Setting, usize, usize)> = (sizes.iter())
        .flat_map(|(size, episodes)| {
            run.training.settings.iter().map(move |setting| (*setting, *size, *episodes))
        })
        .collect();
    let is = |test: &Test, (setting, size, episodes): (Setting, usize, usize)| {
        (test.setting, &test.checkpoints[..], test.episodes) == (setting, &steps[..size], episodes)
    };
    tests.retain(|test| wanted.iter().any(|it| is(test, *it)));
    let share = |done: f64| before + (1.0 - before) * done / wanted.len() as f64;
    for (at, &(setting, size, episodes)) in wanted.iter().enumerate() {
        if tests.iter().any(|test| is(test, wanted[at])) {
            continue;
        }
        // An earlier session may have trained the run and done the tests before this one.
        workspace.starts_at(share(at as f64));
        let evaluation =
            Evaluation { shape: test_shape(run, setting), ..Evaluation::new(config, Part::Test, episodes) };
        let modes = [BatchNorm::Transductive, BatchNorm::Support];
        let [transductive, support] =
            learner.evaluate(&members[..size], loader, &evaluation, modes, |done| {
                workspace.progress(share(at as f64 + done as f64 / episodes as f64));
            });
        let measured = |accuracy: train::Accuracy| Measured { value: accuracy.mean, ci95: accuracy.ci95 };
        tests.push(Test {
            setting,
            checkpoints: steps[..size].to_vec(),
            episodes,
            transductive: measured(transductive),
            support: measured(support),
        });
        write_json(&file, &tests)?;
    }
    Ok(tests)
}
