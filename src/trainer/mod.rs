//! The outer loop: θ ← θ − rate·estimate, with evaluation, checkpoints and a record of it all.

mod checkpoint;
mod descent;
mod error;
mod journal;
mod learner;
mod memory;
mod optimizer;
mod run_dir;
mod schedule;
mod supply;
mod watcher;

pub use checkpoint::{Best, Saved, Standing};
pub use descent::{Descended, Descent};
pub use error::Error;
pub use learner::{Accuracy, Learner};
pub use memory::Plan;
pub use optimizer::{OuterOptimizer, from_config as optimizer};
pub use run_dir::{Lock, RunDir, quoted};
pub use supply::{check_data, evaluation_shape, sampler, training_shape};
pub use watcher::{StepRecord, ValidationRecord, Watcher};

use crate::backend;
use crate::config::Config;
use crate::data::{Episode, Part, Sampler};
use crate::estimator::{self, Estimator, State};
use crate::host::host;
use crate::interval::mean;
use crate::random;
use crate::stack::Stack;
use journal::Journal;
use std::path::Path;
use std::time::Instant;

/// Why [`Trainer::run`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The budget is used up.
    Finished,
    /// The watcher asked.
    Stopped,
}

/// A run in progress.
pub struct Trainer {
    config: Config,
    learner: Learner,
    plan: Plan,
    sampler: Sampler,
    estimator: Box<dyn Estimator>,
    optimizer: Box<dyn OuterOptimizer>,
    theta: Stack,
    standing: Standing,
    run: RunDir,
    _lock: Lock,
    metrics: Journal,
    clock: Journal,
}

impl Trainer {
    /// Starts a new run in `path`.
    ///
    /// # Errors
    /// If the data, the backend or the directory is not fit for it.
    pub fn start(config: Config, path: &Path, watcher: &mut dyn Watcher) -> Result<Self, Error> {
        let opened = backend::open(config.backend)?;
        let sampler = sampler(&config, watcher)?;
        let (run, lock) = RunDir::create(path, &config)?;
        Self::begin(Learner::new(&config, opened), config, sampler, run, lock)
    }

    /// Takes up the run in `path` at its latest sound checkpoint, or at its beginning if it was ended
    /// before the first; `config` is the run's own, but may name another backend or another place
    /// for the same data.
    ///
    /// # Errors
    /// If there is no such run, it is in use, or its data or checkpoints are not sound.
    pub fn resume(path: &Path, config: Config, watcher: &mut dyn Watcher) -> Result<Self, Error> {
        let (run, _) = RunDir::open(path)?;
        let lock = run.lock()?;
        let latest = run.latest()?;
        let sampler = sampler(&config, watcher)?;
        let learner = Learner::new(&config, backend::open(config.backend)?);
        let Some((saved, faults)) = latest else {
            return Self::begin(learner, config, sampler, run, lock);
        };
        faults.iter().for_each(|fault| watcher.warning(&format!("{fault}; going on from the one before")));
        check_data(&sampler, &saved.standing)?;
        let device = learner.opened.device.clone();
        let theta = saved.theta(&learner.leaves(), &device)?;
        let mut trainer = Self::assemble(config, learner, sampler, theta, saved.standing.clone(), run, lock)?;
        saved.restore(&mut *trainer.optimizer, &device)?;
        let values = trainer.standing.estimator.clone();
        let vector = saved.vector(&trainer.learner.leaves(), &device)?;
        trainer.estimator.restore(&State { values, vector }).map_err(|reason| Error::Checkpoint {
            path: trainer.run.checkpoint_file(trainer.standing.step),
            reason,
        })?;
        Ok(trainer)
    }

    /// A run before its first step.
    fn begin(
        learner: Learner,
        config: Config,
        sampler: Sampler,
        run: RunDir,
        lock: Lock,
    ) -> Result<Self, Error> {
        let theta = learner.initialise(config.seed);
        let standing = Standing {
            step: 0,
            evaluations: Default::default(),
            seconds: 0.0,
            best: None,
            estimator: serde_json::Value::Null,
            data: sampler.set().digest(),
        };
        let mut trainer = Self::assemble(config, learner, sampler, theta, standing, run, lock)?;
        trainer.save()?;
        Ok(trainer)
    }

    fn assemble(
        config: Config,
        mut learner: Learner,
        sampler: Sampler,
        theta: Stack,
        standing: Standing,
        run: RunDir,
        lock: Lock,
    ) -> Result<Self, Error> {
        let plan = Plan::new(&config, &learner);
        learner.opened.workers.memory = plan.memory;
        Ok(Self {
            estimator: estimator::from_config(&config.estimator),
            optimizer: optimizer::from_config(&config.outer, theta.leaves().len()),
            metrics: Journal::resume(&run.metrics_file(), standing.step)?,
            clock: Journal::resume(&run.clock_file(), standing.step)?,
            _lock: lock,
            config,
            learner,
            plan,
            sampler,
            theta,
            standing,
            run,
        })
    }

    /// Trains until the budget is used up or the watcher stops it; either way the last step is in a
    /// checkpoint.
    ///
    /// # Errors
    /// If training diverges or something cannot be written.
    pub fn run(&mut self, watcher: &mut dyn Watcher) -> Result<Ended, Error> {
        let (eval, checkpoint) = (self.config.eval.clone(), self.config.checkpoint.clone());
        let due = |step: u64, every: u64| every > 0 && step.is_multiple_of(every);
        while self.progress() < 1.0 {
            if watcher.stops() {
                self.save()?;
                return Ok(Ended::Stopped);
            }
            let record = self.step()?;
            watcher.step(&record, self.progress());
            let step = record.step;
            let improved = due(step, eval.every) && self.validate(watcher)?;
            if improved || due(step, checkpoint.every) || self.progress() >= 1.0 {
                self.save()?;
            }
        }
        Ok(Ended::Finished)
    }

    /// One outer step.
    fn step(&mut self) -> Result<StepRecord, Error> {
        let began = Instant::now();
        let (outer, step) = (self.config.outer.clone(), self.standing.step);
        let rate = outer.rate * schedule::share(outer.schedule, self.progress());
        let problem = self.learner.problem(&self.meta_batch(step));
        let mut coins = random::generator(self.config.seed, "coin", step);
        let (tasks, steps) = (outer.meta_batch, self.config.inner.steps);
        let draw = self.estimator.draw(&mut coins, tasks, steps);
        let report = self.estimator.report(tasks, steps);
        let drawn = Instant::now();
        let estimate = self.learner.opened.workers.estimate(&problem, &self.theta, &draw);
        let losses = host(estimate.outer_loss.clone());
        let gradient = estimate.gradient.clone().mean();
        let gradient_norm = host(gradient.clone().squared_norm())[0].sqrt();
        let loss = mean(&losses);
        let finite = |what, value: f64| {
            if value.is_finite() { Ok(()) } else { Err(Error::Diverged { step: step + 1, what }) }
        };
        finite("the loss", loss)?;
        finite("the meta-gradient", gradient_norm)?;
        // The norm was read, so a GPU has done the step's work by now too.
        self.estimator.observe(&draw, &estimate, drawn.elapsed().as_secs_f64());
        // Only the finished meta-gradient is clipped: inside the walk it would bias the estimate.
        let excess = outer.clip.map_or(1.0, |most| gradient_norm / most).max(1.0);
        self.theta = self.optimizer.step(self.theta.clone(), gradient.scale(&[1.0 / excess]), rate);

        finite("the new weights' norm", host(self.theta.clone().squared_norm())[0])?;

        self.standing.estimator = self.estimator.state().values;
        self.standing.step += 1;
        self.standing.evaluations += estimate.evaluations;
        self.standing.seconds += began.elapsed().as_secs_f64();
        let record = StepRecord {
            step: self.standing.step,
            loss,
            gradient_norm,
            clipped: excess > 1.0,
            rate,
            products: estimate.evaluations.products,
            recomputed: estimate.evaluations.recomputed,
            iterate_bytes: estimate.iterate_bytes,
            gradient_evaluations: self.standing.evaluations.total(),
            estimator: report,
        };
        self.metrics.write(&record)?;
        self.clock.write(&serde_json::json!({ "step": record.step, "seconds": self.standing.seconds }))?;
        Ok(record)
    }

    /// The training episodes of outer step `step` (from 0).
    fn meta_batch(&self, step: u64) -> Vec<Episode> {
        let (shape, count) = (training_shape(&self.config), self.config.outer.meta_batch as u64);
        (step * count..(step + 1) * count)
            .map(|index| self.sampler.episode(Part::Train, index, &shape))
            .collect()
    }

    /// Validates, and keeps a checkpoint if it is the best so far; whether it is.
    fn validate(&mut self, watcher: &mut dyn Watcher) -> Result<bool, Error> {
        let accuracy = self.evaluate(Part::Validation, self.config.eval.episodes, |_| {});
        let record = ValidationRecord {
            step: self.standing.step,
            validation_accuracy: accuracy.mean,
            ci95: accuracy.ci95,
            validation_loss: accuracy.loss,
            episodes: accuracy.episodes,
            batch_norm: self.config.model.batch_norm,
            gradient_evaluations: self.standing.evaluations.total(),
        };
        self.metrics.write(&record)?;
        watcher.validation(&record);
        let best = Best { step: record.step, accuracy: accuracy.mean };
        if self.standing.best.is_some_and(|before| before.accuracy >= best.accuracy) {
            return Ok(false);
        }
        self.standing.best = Some(best);
        self.write_checkpoint(&self.run.best_file())?;
        Ok(true)
    }

    /// Accuracy at θ as it stands, on `episodes` episodes of `part`.
    pub fn evaluate(&self, part: Part, episodes: usize, progress: impl FnMut(usize)) -> Accuracy {
        let (shape, steps) = (evaluation_shape(&self.config), self.config.inner.eval_steps);
        self.learner.evaluate(&self.theta, &self.sampler, part, &shape, (episodes, steps), progress)
    }

    /// Writes a checkpoint, after the journals, so that it never knows more than they do.
    fn save(&mut self) -> Result<(), Error> {
        self.metrics.flush()?;
        self.clock.flush()?;
        self.write_checkpoint(&self.run.checkpoint_file(self.standing.step))?;
        self.run.prune(self.config.checkpoint.keep)
    }

    fn write_checkpoint(&self, path: &Path) -> Result<(), Error> {
        let (leaves, vector) = (self.learner.leaves(), self.estimator.state().vector);
        checkpoint::save(path, &leaves, &self.theta, &*self.optimizer, vector.as_ref(), &self.standing)
    }

    /// How much of the budget is used, 0 to 1 or a little more.
    pub fn progress(&self) -> f64 {
        let evaluations = self.standing.evaluations.total();
        schedule::progress(self.config.outer.budget, self.standing.step, evaluations)
    }

    /// What the run does.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Where it stands.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// The network and its device.
    pub fn learner(&self) -> &Learner {
        &self.learner
    }

    /// How many iterates it keeps, and what that costs.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Where it is kept.
    pub fn run_dir(&self) -> &RunDir {
        &self.run
    }
}
