//! The outer loop: θ ← θ − rate·estimate, with evaluation, checkpoints and a record of it all.

mod checkpoint;
mod error;
mod journal;
mod learner;
mod optimizer;
mod run_dir;
mod schedule;

pub use checkpoint::{Best, Saved, Standing};
pub use error::Error;
pub use learner::{Accuracy, Learner, host};
pub use run_dir::{Lock, RunDir};

use crate::backend;
use crate::config::{self, Config};
use crate::data::{Episode, EpisodeShape, Glyphs, ImageSet, Loaded, Part, Sampler, Source, Split, SplitRule};
use crate::estimator::{self, Estimator};
use crate::model;
use crate::random;
use crate::stack::Stack;
use journal::Journal;
use optimizer::OuterOptimizer;
use serde::Serialize;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Share of the classes that a split by fraction trains on.
const TRAINING_FRACTION: f64 = 0.75;
/// Share of a folder's training classes that become its validation part by default.
const VALIDATION_FRACTION: f64 = 0.1;

/// One outer step, as `metrics.jsonl` has it.
#[derive(Clone, Debug, Serialize)]
pub struct StepRecord {
    /// Outer steps taken, this one included.
    pub step: u64,
    /// Mean query loss of the meta-batch after adaptation.
    pub loss: f64,
    /// Norm of the estimate, before clipping.
    pub gradient_norm: f64,
    /// Whether it was clipped.
    pub clipped: bool,
    /// The outer learning rate.
    pub rate: f64,
    /// Hessian-vector products of this step.
    pub products: u64,
    /// Gradient evaluations so far.
    pub gradient_evaluations: u64,
}

/// One validation, as `metrics.jsonl` has it.
#[derive(Clone, Debug, Serialize)]
pub struct ValidationRecord {
    /// After how many outer steps.
    pub step: u64,
    /// Percent.
    pub validation_accuracy: f64,
    /// Half of its 95 % interval, percent.
    pub ci95: f64,
    /// Mean query loss.
    pub validation_loss: f64,
    /// How many episodes.
    pub episodes: usize,
    /// Gradient evaluations so far.
    pub gradient_evaluations: u64,
}

/// What a run tells whoever watches it.
pub trait Watcher {
    /// An outer step was taken; `progress` is the share of the budget used, 0 to 1.
    fn step(&mut self, _record: &StepRecord, _progress: f64) {}
    /// A validation was made.
    fn validation(&mut self, _record: &ValidationRecord) {}
    /// Something to know that stops nothing.
    fn warning(&mut self, _text: &str) {}
    /// Whether to stop after the step at hand.
    fn stops(&self) -> bool {
        false
    }
}

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
        let learner = Learner::new(&config, opened);
        let theta = model::initialise(&*learner.architecture, config.seed, &learner.opened.device);
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

    /// Takes up the run in `path` at its latest sound checkpoint; `config` is the run's own, but may
    /// name another backend or another place for the same data.
    ///
    /// # Errors
    /// If there is no such run, it is in use, or its data or checkpoints are not sound.
    pub fn resume(path: &Path, config: Config, watcher: &mut dyn Watcher) -> Result<Self, Error> {
        let (run, _) = RunDir::open(path)?;
        let lock = run.lock()?;
        let (saved, faults) = run.latest()?.ok_or_else(|| Error::NoCheckpoint { path: path.into() })?;
        faults.iter().for_each(|fault| watcher.warning(&format!("{fault}; going on from the one before")));
        let sampler = sampler(&config, watcher)?;
        check_data(&sampler, &saved.standing)?;
        let learner = Learner::new(&config, backend::open(config.backend)?);
        let device = learner.opened.device.clone();
        let theta = saved.theta(&*learner.architecture, &device)?;
        let mut trainer = Self::assemble(config, learner, sampler, theta, saved.standing.clone(), run, lock)?;
        saved.restore(&mut *trainer.optimizer, &device)?;
        let state = &trainer.standing.estimator;
        trainer.estimator.restore(state).map_err(|reason| Error::Checkpoint {
            path: trainer.run.checkpoint_file(trainer.standing.step),
            reason,
        })?;
        Ok(trainer)
    }

    fn assemble(
        config: Config,
        learner: Learner,
        sampler: Sampler,
        theta: Stack,
        standing: Standing,
        run: RunDir,
        lock: Lock,
    ) -> Result<Self, Error> {
        Ok(Self {
            estimator: estimator::from_config(&config.estimator),
            optimizer: optimizer::from_config(&config.outer, theta.leaves().len()),
            metrics: Journal::resume(&run.metrics_file(), standing.step)?,
            clock: Journal::resume(&run.clock_file(), standing.step)?,
            _lock: lock,
            config,
            learner,
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
        let draw = self.estimator.draw(&mut coins, outer.meta_batch, self.config.inner.steps);
        let estimate = self.learner.opened.workers.estimate(&problem, &self.theta, &draw);
        self.estimator.observe(&draw, &estimate);

        let losses = host(estimate.outer_loss);
        let gradient = estimate.gradient.mean();
        let gradient_norm = host(gradient.clone().squared_norm())[0].sqrt();
        let loss = losses.iter().sum::<f64>() / losses.len() as f64;
        for (what, value) in [("the loss", loss), ("the meta-gradient", gradient_norm)] {
            if !value.is_finite() {
                return Err(Error::Diverged { step: step + 1, what });
            }
        }
        // Only the finished meta-gradient is clipped: inside the walk it would bias the estimate.
        let excess = outer.clip.map_or(1.0, |most| gradient_norm / most).max(1.0);
        self.theta = self.optimizer.step(self.theta.clone(), gradient.scale(&[1.0 / excess]), rate);

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
            gradient_evaluations: self.standing.evaluations.total(),
        };
        self.metrics.write(&record)?;
        self.clock.write(&serde_json::json!({ "step": record.step, "seconds": self.standing.seconds }))?;
        Ok(record)
    }

    /// The training episodes of outer step `step` (from 0).
    fn meta_batch(&self, step: u64) -> Vec<Episode> {
        let (shape, count) = (training_shape(&self.config), self.config.outer.meta_batch as u64);
        (step * count..(step + 1) * count).map(|index| self.sampler.episode(Part::Train, index, &shape)).collect()
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
        self.standing.estimator = self.estimator.state();
        self.write_checkpoint(&self.run.checkpoint_file(self.standing.step))?;
        self.run.prune(self.config.checkpoint.keep)
    }

    fn write_checkpoint(&self, path: &Path) -> Result<(), Error> {
        checkpoint::save(path, &*self.learner.architecture, &self.theta, &*self.optimizer, &self.standing)
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

    /// Where it is kept.
    pub fn run_dir(&self) -> &RunDir {
        &self.run
    }
}

/// The size of a training episode.
pub fn training_shape(config: &Config) -> EpisodeShape {
    let task = &config.task;
    EpisodeShape { ways: task.ways, shots: task.shots, queries: task.queries }
}

/// The size of a validation or test episode.
pub fn evaluation_shape(config: &Config) -> EpisodeShape {
    EpisodeShape { queries: config.eval.queries, ..training_shape(config) }
}

/// The images that `config` asks for.
///
/// # Errors
/// If they are missing or damaged.
pub fn images(config: &Config, watcher: &mut dyn Watcher) -> Result<ImageSet, Error> {
    let dir = || config.data.path.clone().unwrap_or_default();
    let source = match config.data.source {
        config::Source::Glyphs => Source::Glyphs(Glyphs { seed: config.seed, ..Glyphs::default() }),
        config::Source::Omniglot => Source::Omniglot { dir: dir() },
        config::Source::Folder => Source::Folder { dir: dir(), invert: config.data.invert },
    };
    let Loaded { set, warning } = source.load(config.data.image_size, Some(Path::new("datasets/.cache")))?;
    if let Some(warning) = warning {
        watcher.warning(&warning);
    }
    Ok(set)
}

/// The episodes that `config` asks for, with every part that it uses checked.
///
/// # Errors
/// If the images or their classes do not suffice.
pub fn sampler(config: &Config, watcher: &mut dyn Watcher) -> Result<Sampler, Error> {
    let set = images(config, watcher)?;
    let split = split(config, &set)?;
    let sampler = Sampler::new(Arc::new(set), split, config.seed);
    sampler.check(Part::Train, &training_shape(config))?;
    if config.eval.every > 0 {
        sampler.check(Part::Validation, &evaluation_shape(config))?;
    }
    sampler.check(Part::Test, &evaluation_shape(config))?;
    Ok(sampler)
}

fn split(config: &Config, set: &ImageSet) -> Result<Split, Error> {
    let data = &config.data;
    let listed = set.classes().iter().any(|class| class.part.is_some());
    let rule = match data.split {
        Some(config::Split::Random1200) => SplitRule::Random { train: 1200 },
        Some(config::Split::Alphabets) => SplitRule::Alphabets,
        Some(config::Split::Listed) => SplitRule::Listed,
        None if listed => SplitRule::Listed,
        Some(config::Split::Fraction) | None => SplitRule::Fraction { train: TRAINING_FRACTION },
    };
    let share = TRAINING_FRACTION * VALIDATION_FRACTION * set.classes().len() as f64;
    let few = (share.round() as usize).max(config.task.ways);
    let validation = data.validation.unwrap_or(if config.eval.every > 0 { few } else { 0 });
    Ok(Split::new(set, rule, validation, data.rotations, config.seed)?)
}

/// That a run goes on with the images it began with.
///
/// # Errors
/// If they are others.
pub fn check_data(sampler: &Sampler, standing: &Standing) -> Result<(), Error> {
    let found = sampler.set().digest();
    if found == standing.data {
        return Ok(());
    }
    Err(Error::OtherData { found, expected: standing.data.clone() })
}
