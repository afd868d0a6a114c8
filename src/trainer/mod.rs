//! The outer loop: θ ← θ − rate·estimate, with evaluation, checkpoints and a record of it all.

mod checkpoint;
mod descent;
mod error;
mod flight;
mod gallery;
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
pub use gallery::{Feed, Gallery, Images};
pub use learner::{Accuracy, Learner};
pub use memory::Plan;
pub use optimizer::{OuterOptimizer, from_config as optimizer};
pub use run_dir::{Lock, RunDir, quoted};
pub use supply::{check_data, evaluation_shape, sampler, training_shape};
pub use watcher::{StepRecord, ValidationRecord, Watcher};

use crate::backend;
use crate::config::Config;
use crate::data::{Part, Sampler};
use crate::estimator::{self, Estimator, State};
use crate::random;
use crate::stack::Stack;
use flight::{Flight, Lesson};
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
    gallery: Gallery,
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
        let opened = backend::open(config.backend)?.with_threads(config.threads);
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
        let opened = backend::open(config.backend)?.with_threads(config.threads);
        let sampler = sampler(&config, watcher)?;
        let learner = Learner::new(&config, opened);
        let Some((saved, faults)) = latest else {
            return Self::begin(learner, config, sampler, run, lock);
        };
        faults.iter().for_each(|fault| watcher.warning(&format!("{fault}; going on from the one before")));
        check_data(&sampler, &saved.standing)?;
        let device = learner.opened.device.clone();
        let theta = saved.theta(&learner.leaves(), &device)?;
        let mut trainer = Self::assemble(config, learner, sampler, theta, saved.standing.clone(), run, lock)?;
        saved.restore(&mut *trainer.optimizer, &device)?;
        let values = std::mem::take(&mut trainer.standing.estimator);
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
            gallery: Gallery::new(sampler, &learner.opened),
            learner,
            plan,
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
        let (shape, tasks) = (training_shape(&self.config), self.config.outer.meta_batch);
        let mut feed = self.gallery.feed(shape, tasks, self.standing.step);
        let mut flights = Vec::new();
        while self.progress() < 1.0 {
            if watcher.stops() {
                self.land(flights, watcher)?;
                self.save()?;
                return Ok(Ended::Stopped);
            }
            flights.push(self.launch(&mut feed));
            let step = self.standing.step;
            let validates = due(step, eval.every);
            let saves = due(step, checkpoint.every) || self.progress() >= 1.0;
            if validates || saves || !self.may_wait(&flights) {
                self.land(std::mem::take(&mut flights), watcher)?;
            }
            let improved = validates && self.validate(watcher)?;
            if improved || saves {
                self.save()?;
            }
        }
        Ok(Ended::Finished)
    }

    /// Queues one outer step, on the next meta-batch of `feed`.
    fn launch(&mut self, feed: &mut Feed) -> Flight {
        let began = Instant::now();
        let (outer, step) = (&self.config.outer, self.standing.step);
        let rate = outer.rate * schedule::share(outer.schedule, self.progress());
        let problem = self.learner.classify(feed.take(), &training_shape(&self.config));
        let mut coins = random::generator(self.config.seed, "coin", step);
        let (tasks, steps) = (outer.meta_batch, self.config.inner.steps);
        let draw = self.estimator.draw(&mut coins, tasks, steps);
        let report = self.estimator.report(tasks, steps);
        let drawn = Instant::now();
        let estimate = self.learner.opened.workers.estimate(&problem, &self.theta, &draw);
        let mean = estimate.gradient.clone().mean();
        let gradient = mean.clone().squared_norm();
        // Only the finished meta-gradient is clipped: inside the walk it would bias the estimate.
        let mean = match outer.clip {
            Some(most) => flight::clipped(mean, gradient.clone(), most),
            None => mean,
        };
        self.theta = self.optimizer.step(self.theta.clone(), mean, rate);

        self.standing.step += 1;
        self.standing.evaluations += estimate.evaluations;
        let record = StepRecord {
            step: self.standing.step,
            rate,
            products: estimate.evaluations.products,
            recomputed: estimate.evaluations.recomputed,
            iterate_bytes: estimate.iterate_bytes,
            gradient_evaluations: self.standing.evaluations.total(),
            estimator: report,
            ..StepRecord::default()
        };
        let (losses, weights) = (estimate.outer_loss.clone(), self.theta.clone().squared_norm());
        let lesson = draw.observes().then(|| {
            let shown = self.estimator.look(&draw, &estimate);
            Lesson { draw, estimate, shown, began: drawn }
        });
        self.standing.seconds += began.elapsed().as_secs_f64();
        Flight { record, progress: self.progress(), clip: outer.clip, losses, gradient, weights, lesson }
    }

    /// Whether more steps may be queued before `flights` are read.
    fn may_wait(&self, flights: &[Flight]) -> bool {
        let learns = flights.iter().any(|flight| flight.lesson.is_some());
        self.learner.opened.is_gpu && !learns && flights.len() < flight::MOST
    }

    /// Reads what `flights` show, in one go, learns from it and records it.
    fn land(&mut self, flights: Vec<Flight>, watcher: &mut dyn Watcher) -> Result<(), Error> {
        let began = Instant::now();
        let landed = flight::land(flights);
        self.standing.seconds += began.elapsed().as_secs_f64();
        for step in landed {
            step.check()?;
            if let Some((lesson, seen)) = &step.lesson {
                // What it looks at was read, so a GPU has done the step's work by now too.
                let seconds = lesson.began.elapsed().as_secs_f64();
                self.estimator.learn(&lesson.draw, &lesson.estimate, seen, seconds);
            }
            self.metrics.write(&step.record)?;
            let clock = serde_json::json!({ "step": step.record.step, "seconds": self.standing.seconds });
            self.clock.write(&clock)?;
            watcher.step(&step.record, step.progress);
        }
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
        self.learner.evaluate(&self.theta, &self.gallery, part, &shape, (episodes, steps), progress)
    }

    /// Writes a checkpoint, after the journals, so that it never knows more than they do.
    fn save(&mut self) -> Result<(), Error> {
        self.metrics.flush()?;
        self.clock.flush()?;
        self.write_checkpoint(&self.run.checkpoint_file(self.standing.step))?;
        self.run.prune(self.config.checkpoint.keep)
    }

    fn write_checkpoint(&self, path: &Path) -> Result<(), Error> {
        let (leaves, State { values, vector }) = (self.learner.leaves(), self.estimator.state());
        let standing = Standing { estimator: values, ..self.standing.clone() };
        checkpoint::save(path, &leaves, &self.theta, &*self.optimizer, vector.as_ref(), &standing)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::Archive;
    use crate::backend::Opened;
    use crate::data::{Glyphs, Split, SplitRule};
    use std::fs;
    use std::sync::Arc;

    /// Takes note of what it hears, and stops after some steps.
    #[derive(Default)]
    struct Notes {
        steps: Vec<(u64, f64)>,
        stop_after: Option<usize>,
    }

    impl Watcher for Notes {
        fn step(&mut self, record: &StepRecord, progress: f64) {
            self.steps.push((record.step, progress));
        }

        fn stops(&self) -> bool {
            self.stop_after.is_some_and(|most| self.steps.len() >= most)
        }
    }

    /// A tiny run in `path`, as on a GPU if `late`: with steps in flight.
    fn trainer(path: &Path, late: bool, more: &[&str]) -> Trainer {
        let tiny = "data.image_size=9 model.filters=2 model.blocks=2 outer.meta_batch=2 task.ways=2 \
                    task.queries=2 backend=flex threads=1 eval.every=10 eval.episodes=2 eval.test_episodes=2 \
                    checkpoint.every=7 checkpoint.keep=100";
        let overrides: Vec<String> =
            tiny.split_whitespace().chain(more.iter().copied()).map(String::from).collect();
        let config = Config::load(None, &overrides).unwrap();
        let set = Glyphs { alphabets: 1, ..Glyphs::default() }.draw(9).unwrap();
        let split = Split::new(&set, SplitRule::Fraction { train: 0.7 }, 3, false, 0).unwrap();
        let opened = backend::open(config.backend).unwrap();
        let learner = Learner::new(&config, Opened { is_gpu: late, ..opened });
        let (run, lock) = RunDir::create(path, &config).unwrap();
        Trainer::begin(learner, config, Sampler::new(Arc::new(set), split, 0), run, lock).unwrap()
    }

    /// Everything that a run left, but for times.
    fn left(run: &Path) -> (String, Vec<(String, String)>) {
        let mut kept: Vec<_> = fs::read_dir(run.join("checkpoints"))
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let name = entry.file_name().into_string().unwrap();
                (name, Archive::read(&entry.path()).unwrap().digest())
            })
            .collect();
        kept.sort();
        (fs::read_to_string(run.join("metrics.jsonl")).unwrap(), kept)
    }

    #[test]
    fn steps_that_are_read_late_leave_what_steps_read_at_once_leave() {
        for more in [
            &["outer.steps=24", "inner.steps=2", "outer.clip=0.5"][..],
            &["outer.evaluations=200", "estimator.name=ufom", "estimator.q=0.5"],
            &["outer.steps=12", "estimator.name=adaptive", "estimator.costs=counted"],
            &["outer.steps=12", "estimator.name=ufom", "estimator.tracking=fitted", "estimator.q=0.5"],
        ] {
            let folder = tempfile::tempdir().unwrap();
            let [at_once, late] = ["at_once", "late"].map(|name| folder.path().join(name));
            let mut heard = [Notes::default(), Notes::default()];
            for (path, notes) in [&at_once, &late].into_iter().zip(&mut heard) {
                let ended = trainer(path, *path == late, more).run(notes).unwrap();
                assert_eq!(ended, Ended::Finished);
            }
            assert_eq!(left(&at_once), left(&late), "{more:?}");
            assert_eq!(heard[0].steps, heard[1].steps, "{more:?}");
        }
    }

    #[test]
    fn a_run_stopped_with_steps_in_flight_has_them_in_its_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let mut notes = Notes { stop_after: Some(1), ..Notes::default() };
        let mut trainer = trainer(folder.path(), true, &["outer.steps=30", "checkpoint.every=30"]);
        assert_eq!(trainer.run(&mut notes).unwrap(), Ended::Stopped);
        // The first that was heard of came with all that were in flight.
        assert!(notes.steps.iter().map(|step| step.0).eq(1..=flight::MOST as u64));
        let (saved, faults) = trainer.run.latest().unwrap().unwrap();
        assert_eq!((saved.standing.step, faults.len()), (flight::MOST as u64, 0));
    }

    #[test]
    fn divergence_in_flight_is_named_with_its_step_and_never_saved() {
        let folder = tempfile::tempdir().unwrap();
        let said = [false, true].map(|late| {
            let path = folder.path().join(late.to_string());
            // θ grows fourfold at every step, until something is beyond single precision.
            let more = [
                "outer.steps=30",
                "checkpoint.every=1000",
                "eval.every=0",
                "outer.optimizer=sgd",
                "outer.rate=1",
                "outer.schedule=constant",
                "outer.weight_decay=5",
            ];
            let mut notes = Notes::default();
            let error = trainer(&path, late, &more).run(&mut notes).unwrap_err();
            let Error::Diverged { step, .. } = error else { panic!("{error}") };
            assert!(step > flight::MOST as u64 && notes.steps.len() as u64 == step - 1, "{error}");
            assert_eq!(left(&path).1.len(), 1, "only what was before the first step");
            (error.to_string(), left(&path), notes.steps)
        });
        assert_eq!(said[0], said[1]);
    }
}
