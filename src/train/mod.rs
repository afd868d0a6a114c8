//! Training: the outer loop with evaluation, checkpoints and records.

mod device_images;
mod divergence;
mod episode_loader;
mod episodes;
mod error;
mod evaluation;
mod imported;
mod learner;
mod measured;
mod memory;
mod prediction;
mod ranks;
mod regression;
mod remedy;
mod sampler;
mod saving;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_of_ranks;
mod watcher;

pub use episode_loader::{BatchStream, EpisodeLoader, Images};
pub use episodes::{Batches, Decided, Episodes};
pub use error::Error;
pub use evaluation::{Accuracy, Evaluation};
pub use imported::{Origin, write_imported};
pub use learner::Learner;
pub use measured::Measured;
pub use memory::Plan;
pub use sampler::{
    Earlier, RunData, check_data, evaluation_shape, images, sampler, sampler_of_all, sampler_of_split,
    training_shape,
};
pub use watcher::Watcher;

use crate::config::{Config, Purpose};
use crate::data::{Location, Part};
use crate::run::{
    self, Best, ClockRecord, Journal, Lock, Ranking, RunDir, Saved, StepRecord, TrainingState,
    ValidationRecord,
};
use crate::support::paths::is_inside;
use bilevel::hypergradient::Workers;
use bilevel::panics::catch;
use bilevel::ranks::{Alone, Ranks};
use bilevel::{Budget, CompletedStep, OuterLoop, Params, PendingStep, device, resolve_all};
use divergence::Recovery;
use ranks::{check_alike, latest, split_of_first};
use saving::Unsaved;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// The most outer steps that are pending at the same time: enough to keep a GPU busy, few enough to stop soon.
const MOST_PENDING: usize = 8;
/// Each rewind adds 2 to this power to the numbers of draws, so that no draw is used twice.
const DRAWS_BITS: u32 = 32;

/// Why [`Trainer::run`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The budget is used up.
    Finished,
    /// The watcher requested it, or the target of [`Trainer::run_until`] was reached.
    Stopped,
}

/// A run in progress.
pub struct Trainer {
    config: Config,
    learner: Learner,
    plan: Plan,
    episodes: Episodes,
    outer: OuterLoop,
    progress: Progress,
    run: RunDir,
    /// Only rank 0 keeps files.
    _lock: Option<Lock>,
    metrics: Journal,
    clock: Journal,
    unsaved: Option<Unsaved>,
    /// Whether rank 0 wants to try a failed save again.
    retries: bool,
    warned_of_dropped: bool,
    noted_graphs: bool,
}

/// State of a run, apart from its outer loop.
#[derive(Clone, Debug, Default)]
struct Progress {
    /// Seconds of training, summed over all sessions.
    seconds: f64,
    ranking: Ranking,
    skipped_steps: u64,
    rewinds: u64,
    /// Digest of the images or curves trained on.
    data: String,
}

/// The outer loop of `config` for any problem, before its first step, at `theta` (a stack of one task): its estimator, outer settings,
/// memory plan, number of inner steps, and the seed of its coins.
pub fn outer_loop(config: &Config, theta: Params, workers: Workers) -> OuterLoop {
    OuterLoop::new(theta, config.estimator.clone(), config.outer.clone())
        .inner_steps(config.inner.steps)
        .seed(config.seed)
        .workers(workers)
        .memory(config.memory)
}

/// Checks that a run in `path` would not be among the images that it reads.
///
/// # Errors
/// Returns an error if it would be.
fn check_place(path: &Path, config: &Config) -> Result<(), Error> {
    let Some(data) = config.data.as_ref().filter(|data| data.source.location == Location::Required) else {
        return Ok(());
    };
    let Some(images) = data.path.as_ref().and_then(|images| images.canonicalize().ok()) else {
        return Ok(());
    };
    match is_inside(path, &images) {
        true => Err(Error::AmongImages { run: path.into(), images, is_listed: data.list.is_some() }),
        false => Ok(()),
    }
}

/// Writes down what was decided only now, since `run` left it to its images: the split, if it has none, and settings. Weights that
/// were imported without their images leave both open.
///
/// # Errors
/// Returns an error if the run cannot be read or written.
fn keep_decisions(run: &RunDir, decided: &Decided, has_split: bool) -> Result<(), Error> {
    if let Some(split) = decided.split.as_ref().filter(|_| !has_split) {
        run.write_split(split)?;
    }
    let (_, stored) = RunDir::open(run.path())?;
    let kept = stored.decided_as(&decided.config);
    if kept != stored {
        run.write_config(&kept)?;
    }
    Ok(())
}

impl Trainer {
    /// Starts a new run in `path`.
    ///
    /// # Errors
    /// Returns an error if the data, the backend or the directory does not suit the run.
    pub fn start(config: Config, path: &Path, watcher: &mut dyn Watcher) -> Result<Self, Error> {
        Self::start_with(Arc::new(Alone), config, path, watcher)
    }

    /// The same with other ranks, which all call this with the same configuration. Each computes a share of the tasks; rank 0
    /// alone reads and writes `path`.
    ///
    /// # Errors
    /// Returns an error in the cases of [`Self::start`], or if the ranks differ in what must be the same.
    pub fn start_with(
        ranks: Arc<dyn Ranks>,
        config: Config,
        path: &Path,
        watcher: &mut dyn Watcher,
    ) -> Result<Self, Error> {
        let opened = device::open(config.backend)?.with_threads(config.threads);
        check_place(path, &config)?;
        let (episodes, decided) = Episodes::new(&config, &opened, None, watcher)?;
        let learner = Learner::new(&decided.config, opened).with(ranks);
        let theta = learner.initialise(config.seed);
        check_alike(&decided.config, decided.split.as_ref(), &learner, &episodes)?;
        let (run, lock) = match learner.ranks.rank() {
            0 => {
                let (run, lock) = RunDir::create(path)?;
                if let Some(split) = &decided.split {
                    run.write_split(split)?;
                }
                run.write_config(&decided.config)?;
                (run, Some(lock))
            }
            _ => (RunDir::at(path), None),
        };
        decided.description.iter().for_each(|text| watcher.note(text));
        Self::begin(theta, learner, decided.config, episodes, run, lock)
    }

    /// Resumes `run` at its latest intact checkpoint, or at its beginning if it was ended before the first. `config` is the
    /// run's own, except for what may [change](Config::changes) when training goes on. What the run left to its images, as one of
    /// weights that were imported without them does, is decided and written down now; see [`Self::config`].
    ///
    /// # Errors
    /// Returns an error if the run is in use, its data is different, or no checkpoint is intact.
    pub fn resume(run: RunDir, config: Config, watcher: &mut dyn Watcher) -> Result<Self, Error> {
        Self::resume_with(Arc::new(Alone), run, config, watcher)
    }

    /// The same with other ranks, of any number, as in [`Self::start_with`]. Rank 0 reads the checkpoint for all.
    ///
    /// # Errors
    /// Returns an error in the cases of [`Self::resume`], or if the ranks differ in what must be the same.
    pub fn resume_with(
        ranks: Arc<dyn Ranks>,
        run: RunDir,
        config: Config,
        watcher: &mut dyn Watcher,
    ) -> Result<Self, Error> {
        let lock = (ranks.rank() == 0).then(|| run.lock()).transpose()?;
        let latest = latest(&run, &*ranks)?;
        if let Some((saved, _)) = &latest {
            saved.check_settings(&config, Purpose::Training, run.path())?;
        }
        let opened = device::open(config.backend)?.with_threads(config.threads);
        let split = split_of_first(&run, &*ranks)?;
        let earlier = split.as_ref().map(Earlier::Run);
        let (episodes, decided) = Episodes::new(&config, &opened, earlier, watcher)?;
        let learner = Learner::new(&decided.config, opened).with(ranks);
        check_alike(&decided.config, decided.split.as_ref(), &learner, &episodes)?;
        if let Some((saved, _)) = &latest {
            episodes.check_data(&saved.training_state)?;
        }
        let open = config;
        let config = open.decided_as(&decided.config);
        if lock.is_some() && (config != open || split.is_none() && decided.split.is_some()) {
            keep_decisions(&run, &decided, split.is_some())?;
            decided.description.iter().for_each(|text| watcher.note(text));
        }
        let Some((saved, faults)) = latest else {
            return Self::begin(learner.initialise(config.seed), learner, config, episodes, run, lock);
        };
        faults
            .iter()
            .for_each(|fault| watcher.warning(&format!("{fault}; continuing from the previous one")));
        let theta = saved.theta(&learner.leaves(), &learner.opened.device)?;
        let mut trainer =
            Self::assemble(config, learner, episodes, theta, saved.training_state.step, run, lock)?;
        trainer.restore(&saved)?;
        Ok(trainer)
    }

    /// Restores the state in a checkpoint.
    fn restore(&mut self, saved: &Saved) -> Result<(), Error> {
        let (leaves, device) = (self.learner.leaves(), self.learner.opened.device.clone());
        let training_state = &saved.training_state;
        let path = self.run.checkpoint_file(training_state.step);
        let theta = saved.theta(&leaves, &device)?;
        let state = saved.estimator(&leaves, &device)?;
        let resumed = self.outer.resume(
            theta,
            saved.optimizer()?,
            &state,
            training_state.step,
            training_state.evaluations,
            &device,
        );
        resumed.map_err(|reason| run::Error::Checkpoint { path, reason })?;
        self.progress = Progress {
            seconds: training_state.seconds,
            ranking: self.return_to(&training_state.ranking())?,
            skipped_steps: training_state.skipped_steps,
            rewinds: training_state.rewinds,
            // Weights of another program do not say what they were trained on. From now on it is this data.
            ..std::mem::take(&mut self.progress)
        };
        Ok(())
    }

    /// A new run before its first step.
    fn begin(
        theta: Params,
        learner: Learner,
        config: Config,
        episodes: Episodes,
        run: RunDir,
        lock: Option<Lock>,
    ) -> Result<Self, Error> {
        let mut trainer = Self::assemble(config, learner, episodes, theta, 0, run, lock)?;
        if trainer.is_first() {
            trainer.try_save()?;
        }
        Ok(trainer)
    }

    fn assemble(
        config: Config,
        learner: Learner,
        episodes: Episodes,
        theta: Params,
        step: u64,
        run: RunDir,
        lock: Option<Lock>,
    ) -> Result<Self, Error> {
        let journal = |file: PathBuf| match &lock {
            Some(_) => Journal::resume(&file, step),
            None => Ok(Journal::nowhere()),
        };
        Ok(Self {
            outer: learner.outer_loop(&config, theta),
            progress: Progress { data: episodes.digest(), ..Progress::default() },
            metrics: journal(run.metrics_file())?,
            clock: journal(run.clock_file())?,
            _lock: lock,
            plan: Plan::new(&config, &learner),
            config,
            episodes,
            learner,
            run,
            unsaved: None,
            retries: false,
            warned_of_dropped: false,
            noted_graphs: false,
        })
    }

    /// Trains until the budget is used up or the watcher stops it. In both cases the last step is saved in a checkpoint,
    /// unless saving fails; see [`Self::check_saved`].
    ///
    /// # Errors
    /// Returns an error if training diverges or the device fails. The latest checkpoint is kept; do not use this trainer
    /// afterwards.
    pub fn run(&mut self, watcher: &mut dyn Watcher) -> Result<Ended, Error> {
        self.run_until(self.config.outer.budget, watcher)
    }

    /// Like [`Self::run`], but stops when `target` is reached.
    ///
    /// # Errors
    /// As for [`Self::run`].
    pub fn run_until(&mut self, target: Budget, watcher: &mut dyn Watcher) -> Result<Ended, Error> {
        let ended = catch(|| self.train(target, watcher)).unwrap_or_else(|reason| {
            let (step, path) = (self.outer.steps(), self.run.path().to_path_buf());
            Err(Error::Computing { step, path, reason })
        });
        if ended.is_err() {
            // The last lines help to find the cause. They are cut off when the run is resumed.
            let _ = self.metrics.flush().and_then(|()| self.clock.flush());
        }
        ended
    }

    fn train(&mut self, target: Budget, watcher: &mut dyn Watcher) -> Result<Ended, Error> {
        let mut batches = self.batches();
        let mut pending = Vec::new();
        while self.progress() < 1.0 {
            if self.any_stops(watcher) || self.reached(target) {
                // If this undoes a step, the step is repeated when the run is resumed.
                self.resolve(pending, watcher)?;
                self.save(watcher)?;
                return Ok(Ended::Stopped);
            }
            pending.push(self.launch(&mut batches));
            self.note_graphs(watcher);
            if self.may_wait(&pending, target) {
                continue;
            }
            match self.resolve(std::mem::take(&mut pending), watcher)? {
                None => {}
                Some(Recovery::NextStep) => batches = self.batches(),
                Some(Recovery::Rewound) => {
                    batches = self.batches();
                    continue;
                }
            }
            let improved = self.validates() && self.validate(watcher)?;
            if improved || self.saves() || self.retries {
                self.save(watcher)?;
            }
        }
        if self.unsaved.is_some() {
            self.save(watcher)?;
        }
        Ok(Ended::Finished)
    }

    /// Says once if launches are not recorded as graphs although they should be.
    fn note_graphs(&mut self, watcher: &mut dyn Watcher) {
        if self.outer.graphs_refused() && !self.noted_graphs {
            watcher.note("recording graphs failed on this device: kernels are launched one by one");
            self.noted_graphs = true;
        }
    }

    /// The meta-batches, starting with the next step's.
    fn batches(&self) -> Batches {
        let share = self.outer.share(self.config.outer.meta_batch);
        self.episodes.batches(training_shape(&self.config), share, self.next_draw())
    }

    /// The number of the next step's draw. After a rewind, it is one that has not been used.
    fn next_draw(&self) -> u64 {
        self.outer.steps() + (self.progress.rewinds << DRAWS_BITS)
    }

    /// Whether the run has reached `target`.
    fn reached(&self, target: Budget) -> bool {
        target.progress(self.outer.steps(), self.outer.evaluations().total()) >= 1.0
    }

    /// Whether it is time to validate.
    fn validates(&self) -> bool {
        let every = self.config.eval.every;
        every > 0 && self.outer.steps().is_multiple_of(every)
    }

    /// Whether it is time for a checkpoint.
    fn saves(&self) -> bool {
        self.outer.steps().is_multiple_of(self.config.checkpoint.every) || self.progress() >= 1.0
    }

    /// Launches an outer step on the next meta-batch of `batches`.
    fn launch(&mut self, batches: &mut Batches) -> PendingStep {
        let began = Instant::now();
        let draw = self.next_draw();
        let problem = self.learner.at_step(batches.take(&self.learner), self.outer.steps());
        let share = self.outer.share(self.config.outer.meta_batch);
        let pending = self.outer.launch_share(&problem, share, draw);
        self.progress.seconds += began.elapsed().as_secs_f64();
        pending
    }

    /// Whether another step may be launched before `pending` are resolved.
    fn may_wait(&self, pending: &[PendingStep], target: Budget) -> bool {
        let learns = pending.iter().any(|step| step.observation.is_some());
        let due = self.validates() || self.saves() || self.retries || self.reached(target);
        self.learner.opened.is_gpu && !learns && !due && pending.len() < MOST_PENDING
    }

    /// Reads the results of `pending` from the device in one transfer, updates the estimator with them, and records them. A
    /// step that is not finite is undone, with all later ones; the return value then says how the run continues.
    fn resolve(
        &mut self,
        pending: Vec<PendingStep>,
        watcher: &mut dyn Watcher,
    ) -> Result<Option<Recovery>, Error> {
        let began = Instant::now();
        let completed = resolve_all(pending);
        self.progress.seconds += began.elapsed().as_secs_f64();
        for mut step in completed {
            if let Some(what) = step.fault() {
                return self.recover(step, what, watcher).map(Some);
            }
            self.outer.learn(&mut step);
            self.record(&step, Vec::new(), watcher)?;
        }
        Ok(None)
    }

    /// Writes an outer step to the journals; the episodes `dropped` were left out of it.
    fn record(
        &mut self,
        step: &CompletedStep,
        dropped: Vec<u64>,
        watcher: &mut dyn Watcher,
    ) -> Result<(), Error> {
        let pending = &step.pending;
        let mut evaluations = pending.before.evaluations;
        evaluations += pending.spent;
        let record = StepRecord {
            step: pending.step,
            loss: step.loss,
            gradient_norm: step.gradient_norm,
            clipped: step.was_clipped(),
            rate: pending.rate,
            products: pending.spent.products,
            recomputed: pending.spent.recomputed,
            iterate_bytes: pending.iterate_bytes,
            gradient_evaluations: evaluations.total(),
            dropped_episodes: dropped,
            skipped_steps: self.progress.skipped_steps,
            rewinds: self.progress.rewinds,
            estimator: pending.metrics.clone(),
        };
        self.metrics.write(&record)?;
        self.clock.write(&ClockRecord { step: record.step, seconds: self.progress.seconds })?;
        watcher.step(&record, pending.progress);
        Ok(())
    }

    /// Validates, and saves a checkpoint if the accuracy or error is among the best so far. Returns whether it did.
    fn validate(&mut self, watcher: &mut dyn Watcher) -> Result<bool, Error> {
        let episodes = self.config.eval.episodes;
        let measured = self.evaluate(Part::Validation, episodes, |_| {});
        let record = ValidationRecord {
            step: self.outer.steps(),
            validation_accuracy: measured.accuracy().map(|accuracy| accuracy.mean),
            ci95: measured.ci95(),
            validation_loss: measured.loss(),
            episodes,
            diverged_episodes: measured.diverged(),
            batch_norm: self.config.model.batch_norm,
            gradient_evaluations: self.outer.evaluations().total(),
        };
        self.metrics.write(&record)?;
        watcher.validation(&record);
        if let Err(reason) = measured.known() {
            let diverged = match record.diverged_episodes {
                all if all == episodes => format!("all {episodes}"),
                some => format!("{some} of {episodes}"),
            };
            watcher.warning(&format!(
                "{diverged} validation episodes diverged after outer step {}: their outputs after {} inner steps are not finite, \
                 so {reason}",
                record.step, self.config.inner.eval_steps
            ));
            return Ok(false);
        }
        let best = Best { step: record.step, score: measured.score() };
        let Some(ranking) = self.progress.ranking.with(best, self.config.checkpoint.keep_best) else {
            return Ok(false);
        };
        let before = std::mem::replace(&mut self.progress.ranking, ranking);
        let kept = self.save_best(best, watcher);
        if !kept {
            // The files still hold the previous best checkpoints.
            self.progress.ranking = before;
        }
        Ok(kept)
    }

    /// Whether this is rank 0, which reports and keeps files.
    pub fn is_first(&self) -> bool {
        self.learner.ranks.rank() == 0
    }

    /// Accuracy or error at the current θ on `episodes` episodes of `part`. Those of training classes are augmented as in training.
    pub fn evaluate(&self, part: Part, episodes: usize, progress: impl FnMut(usize)) -> Measured {
        let (evaluation, mode) =
            (Evaluation::new(&self.config, part, episodes), self.config.model.batch_norm);
        let theta = std::slice::from_ref(self.outer.theta());
        match &self.episodes {
            Episodes::Images(loader) => {
                let [accuracy] = self.learner.evaluate(theta, loader, &evaluation, [mode], progress);
                Measured::Accuracy(accuracy)
            }
            Episodes::Sinusoids(source) => {
                Measured::Errors(self.learner.squared_errors(theta, source, &evaluation, progress))
            }
        }
    }

    /// Share of the budget that is used; the last step may exceed 1 slightly.
    pub fn progress(&self) -> f64 {
        self.outer.progress()
    }

    /// The run's configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The run's state, as stored in checkpoints.
    pub fn training_state(&self) -> TrainingState {
        TrainingState {
            step: self.outer.steps(),
            evaluations: self.outer.evaluations(),
            seconds: self.progress.seconds,
            best: self.progress.ranking.first(),
            runners_up: self.progress.ranking.validations().iter().skip(1).copied().collect(),
            skipped_steps: self.progress.skipped_steps,
            rewinds: self.progress.rewinds,
            estimator: self.outer.estimator().state().values,
            data: self.progress.data.clone(),
            settings: self.config.described(),
        }
    }

    /// The outer learning rate of the next step.
    pub fn rate(&self) -> f64 {
        self.outer.rate()
    }

    /// The network and its device.
    pub fn learner(&self) -> &Learner {
        &self.learner
    }

    /// Where its episodes come from.
    pub fn episodes(&self) -> &Episodes {
        &self.episodes
    }

    /// How many iterates the run stores, and the cost of that.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The run's directory.
    pub fn run_dir(&self) -> &RunDir {
        &self.run
    }
}
