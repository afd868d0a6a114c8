//! The outer loop: θ ← θ − rate·estimate, with evaluation, checkpoints and a record of it all.

mod checkpoint;
mod descent;
mod divergence;
mod error;
mod flight;
mod gallery;
mod journal;
mod learner;
mod memory;
mod optimizer;
mod prediction;
mod run_dir;
mod saving;
mod schedule;
mod sessions;
mod supply;
#[cfg(test)]
mod tests;
mod watcher;
mod which;

pub use checkpoint::{Best, Saved, Standing};
pub use descent::{Descended, Descent};
pub use error::Error;
pub use gallery::{Feed, Gallery, Images};
pub use learner::{Accuracy, Learner, together};
pub use memory::Plan;
pub use optimizer::{OuterOptimizer, from_config as optimizer};
pub use run_dir::{Lock, RunDir, quoted};
pub use sessions::Session;
pub use supply::{check_data, evaluation_shape, sampler, training_shape};
pub use watcher::{StepRecord, ValidationRecord, Watcher};
pub use which::Which;

use crate::backend;
use crate::caught::caught;
use crate::config::Config;
use crate::data::{Part, Sampler};
use crate::estimator::{self, Estimator, State};
use crate::random;
use crate::stack::Stack;
use burn::tensor::Tensor;
use divergence::{Before, Turn};
use flight::{Flight, Landed, Lesson};
use journal::Journal;
use saving::Unsaved;
use std::path::Path;
use std::time::Instant;

/// Steps of a run whose draws are numbered apart after each way back: 2 to this power.
const DRAWS_BITS: u32 = 32;

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
    gallery: Gallery,
    estimator: Box<dyn Estimator>,
    optimizer: Box<dyn OuterOptimizer>,
    theta: Stack,
    standing: Standing,
    run: RunDir,
    _lock: Lock,
    metrics: Journal,
    clock: Journal,
    unsaved: Option<Unsaved>,
    told_of_dropped: bool,
}

impl Trainer {
    /// Starts a new run in `path`.
    ///
    /// # Errors
    /// If the data, the backend or the directory is not fit for it.
    pub fn start(config: Config, path: &Path, watcher: &mut dyn Watcher) -> Result<Self, Error> {
        let opened = backend::open(config.backend)?.with_threads(config.threads);
        let learner = Learner::new(&config, opened);
        let theta = learner.initialise(config.seed);
        Self::start_at(theta, learner, config, path, watcher)
    }

    /// Starts a new run in `path` at `theta`, a stack of the leaves of `learner`, which is `config`'s.
    ///
    /// # Errors
    /// If the data or the directory is not fit for it.
    pub fn start_at(
        theta: Stack,
        learner: Learner,
        config: Config,
        path: &Path,
        watcher: &mut dyn Watcher,
    ) -> Result<Self, Error> {
        let sampler = sampler(&config, watcher)?;
        let (run, lock) = RunDir::create(path, &config)?;
        Self::begin(theta, learner, config, sampler, run, lock)
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
        let opened = backend::open(config.backend)?.with_threads(config.threads);
        let sampler = sampler(&config, watcher)?;
        let learner = Learner::new(&config, opened);
        let Some((saved, faults)) = latest else {
            return Self::begin(learner.initialise(config.seed), learner, config, sampler, run, lock);
        };
        faults.iter().for_each(|fault| watcher.warning(&format!("{fault}; going on from the one before")));
        check_data(&sampler, &saved.standing)?;
        let theta = saved.theta(&learner.leaves(), &learner.opened.device)?;
        let mut trainer = Self::assemble(config, learner, sampler, theta, saved.standing.clone(), run, lock)?;
        trainer.take_up(&saved)?;
        Ok(trainer)
    }

    /// Everything as a checkpoint has it.
    fn take_up(&mut self, saved: &Saved) -> Result<(), Error> {
        let (leaves, device) = (self.learner.leaves(), self.learner.opened.device.clone());
        self.theta = saved.theta(&leaves, &device)?;
        self.optimizer = optimizer::from_config(&self.config.outer, leaves.len());
        saved.restore(&mut *self.optimizer, &self.theta, &device)?;
        self.estimator = estimator::from_config(&self.config.estimator);
        self.standing = saved.standing.clone();
        let state = State {
            values: std::mem::take(&mut self.standing.estimator),
            vector: saved.vector(&leaves, &device)?,
        };
        let path = self.run.checkpoint_file(self.standing.step);
        self.estimator.restore(&state).map_err(|reason| Error::Checkpoint { path, reason })
    }

    /// A run before its first step.
    fn begin(
        theta: Stack,
        learner: Learner,
        config: Config,
        sampler: Sampler,
        run: RunDir,
        lock: Lock,
    ) -> Result<Self, Error> {
        let standing = Standing {
            step: 0,
            evaluations: Default::default(),
            seconds: 0.0,
            best: None,
            skipped_steps: 0,
            rewinds: 0,
            estimator: serde_json::Value::Null,
            data: sampler.set().digest(),
        };
        let mut trainer = Self::assemble(config, learner, sampler, theta, standing, run, lock)?;
        trainer.try_save()?;
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
            gallery: Gallery::new(sampler, &learner.opened),
            learner,
            plan,
            theta,
            standing,
            run,
            unsaved: None,
            told_of_dropped: false,
        })
    }

    /// Trains until the budget is used up or the watcher stops it. Either way the last step is in a
    /// checkpoint then, unless [`Self::kept`] says that it could not be saved.
    ///
    /// # Errors
    /// If training diverges or the device fails. The latest checkpoint is kept; what this trainer holds is
    /// no good after that.
    pub fn run(&mut self, watcher: &mut dyn Watcher) -> Result<Ended, Error> {
        let ended = caught(|| self.train(watcher)).unwrap_or_else(|reason| {
            let (step, path) = (self.standing.step, self.run.path().to_path_buf());
            Err(Error::Computing { step, path, reason })
        });
        if ended.is_err() {
            // Whoever asks why wants the last lines too. A resumption cuts them off.
            let _ = self.metrics.flush().and_then(|()| self.clock.flush());
        }
        ended
    }

    fn train(&mut self, watcher: &mut dyn Watcher) -> Result<Ended, Error> {
        let mut feed = self.feed();
        let mut flights = Vec::new();
        while self.progress() < 1.0 {
            if watcher.stops() {
                // A step that is taken back now is taken again when the run is resumed.
                self.land(flights, watcher)?;
                self.save(watcher);
                return Ok(Ended::Stopped);
            }
            flights.push(self.launch(&mut feed));
            if self.may_wait(&flights) {
                continue;
            }
            match self.land(std::mem::take(&mut flights), watcher)? {
                None => {}
                Some(Turn::Onward) => feed = self.feed(),
                Some(Turn::Back) => {
                    feed = self.feed();
                    continue;
                }
            }
            let improved = self.validates() && self.validate(watcher)?;
            if improved || self.saves() || self.tries_again() {
                self.save(watcher);
            }
        }
        if self.unsaved.is_some() {
            self.save(watcher);
        }
        Ok(Ended::Finished)
    }

    /// The meta-batches from the next step on.
    fn feed(&self) -> Feed {
        self.gallery.feed(training_shape(&self.config), self.config.outer.meta_batch, self.next_draw())
    }

    /// The number of the next step's draw: after a way back, none that was used before.
    fn next_draw(&self) -> u64 {
        self.standing.step + (self.standing.rewinds << DRAWS_BITS)
    }

    /// Whether it is time to validate.
    fn validates(&self) -> bool {
        let every = self.config.eval.every;
        every > 0 && self.standing.step.is_multiple_of(every)
    }

    /// Whether it is time for a checkpoint.
    fn saves(&self) -> bool {
        self.standing.step.is_multiple_of(self.config.checkpoint.every) || self.progress() >= 1.0
    }

    /// Queues one outer step, on the next meta-batch of `feed`.
    fn launch(&mut self, feed: &mut Feed) -> Flight {
        let began = Instant::now();
        let (outer, number) = (&self.config.outer, self.next_draw());
        let (rate, clip) = (outer.rate * schedule::share(outer.schedule, self.progress()), outer.clip);
        let problem = self.learner.classify(feed.take(), &training_shape(&self.config));
        let mut coins = random::generator(self.config.seed, "coin", number);
        let (tasks, steps) = (outer.meta_batch, self.config.inner.steps);
        let draw = self.estimator.draw(&mut coins, tasks, steps);
        let report = self.estimator.report(tasks, steps);
        let drawn = Instant::now();
        let estimate = self.learner.opened.workers.estimate(&problem, &self.theta, &draw);
        let (estimates, losses) = (estimate.gradient.clone(), estimate.outer_loss.clone());
        let (theta, optimizer) = (self.theta.clone(), self.optimizer.duplicate());
        let before = Before { theta, optimizer, evaluations: self.standing.evaluations };
        let gradient = self.descend(estimates.clone(), rate);
        let weights = self.theta.clone().squared_norm();

        let spent = estimate.evaluations;
        self.standing.step += 1;
        self.standing.evaluations += spent;
        let record = StepRecord {
            step: self.standing.step,
            rate,
            products: spent.products,
            recomputed: spent.recomputed,
            iterate_bytes: estimate.iterate_bytes,
            gradient_evaluations: self.standing.evaluations.total(),
            skipped_steps: self.standing.skipped_steps,
            rewinds: self.standing.rewinds,
            estimator: report,
            ..StepRecord::default()
        };
        let lesson = draw.observes().then(|| {
            let shown = self.estimator.look(&draw, &estimate);
            Lesson { draw, estimate, shown, began: drawn }
        });
        self.standing.seconds += began.elapsed().as_secs_f64();
        let progress = self.progress();
        Flight {
            record,
            draw: number,
            spent,
            progress,
            clip,
            before,
            estimates,
            losses,
            gradient,
            weights,
            lesson,
        }
    }

    /// θ and the optimiser a step on along the mean of `estimates`, clipped; ‖mean‖² before that, `[1]`.
    fn descend(&mut self, estimates: Stack, rate: f64) -> Tensor<1> {
        let mean = estimates.mean();
        let square = mean.clone().squared_norm();
        // Only the finished meta-gradient is clipped: inside the walk it would bias the estimate.
        let mean = match self.config.outer.clip {
            Some(most) => flight::clipped(mean, square.clone(), most),
            None => mean,
        };
        self.theta = self.optimizer.step(self.theta.clone(), mean, rate);
        square
    }

    /// Whether more steps may be queued before `flights` are read.
    fn may_wait(&self, flights: &[Flight]) -> bool {
        let learns = flights.iter().any(|flight| flight.lesson.is_some());
        let due = self.validates() || self.saves() || self.tries_again();
        self.learner.opened.is_gpu && !learns && !due && flights.len() < flight::MOST
    }

    /// Reads what `flights` show, in one go, learns from it and records it. A step that is not finite is taken
    /// back, with all after it; how the run goes on then is returned.
    fn land(&mut self, flights: Vec<Flight>, watcher: &mut dyn Watcher) -> Result<Option<Turn>, Error> {
        let began = Instant::now();
        let landed = flight::land(flights);
        self.standing.seconds += began.elapsed().as_secs_f64();
        for step in landed {
            if let Some(what) = step.fault() {
                return self.recover(step, what, watcher).map(Some);
            }
            if let Some(lesson) = &step.flight.lesson {
                // What it looks at was read, so a GPU has done the step's work by now too.
                let seconds = lesson.began.elapsed().as_secs_f64();
                self.estimator.learn(&lesson.draw, &lesson.estimate, &step.seen, seconds);
            }
            self.record(&step, watcher)?;
        }
        Ok(None)
    }

    /// Writes down an outer step.
    fn record(&mut self, step: &Landed, watcher: &mut dyn Watcher) -> Result<(), Error> {
        let record = &step.flight.record;
        self.metrics.write(record)?;
        self.clock.write(&serde_json::json!({ "step": record.step, "seconds": self.standing.seconds }))?;
        watcher.step(record, step.flight.progress);
        Ok(())
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
        let before = self.standing.best;
        if before.is_some_and(|before| before.accuracy >= best.accuracy) {
            return Ok(false);
        }
        self.standing.best = Some(best);
        let kept = self.save_best(watcher);
        if !kept {
            // What the file holds is still the one before.
            self.standing.best = before;
        }
        Ok(kept)
    }

    /// Accuracy at θ as it stands, on `episodes` episodes of `part`.
    pub fn evaluate(&self, part: Part, episodes: usize, progress: impl FnMut(usize)) -> Accuracy {
        let (shape, steps) = (evaluation_shape(&self.config), self.config.inner.eval_steps);
        self.learner.evaluate(&self.theta, &self.gallery, part, &shape, (episodes, steps), progress)
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
