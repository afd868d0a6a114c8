//! How a run starts, and how it resumes from its latest checkpoint.

use super::ranks::{check_alike, latest, split_of_first};
use super::{Decided, Earlier, Episodes, Error, Learner, Plan, Progress, Trainer, Watcher};
use crate::config::{Config, Purpose};
use crate::data::Location;
use crate::run::{self, Journal, Lock, RunDir, Saved};
use crate::support::paths::is_inside;
use bilevel::ranks::{Alone, Ranks};
use bilevel::{Params, device};
use std::path::{Path, PathBuf};
use std::sync::Arc;

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
        let (episodes, decided) =
            Episodes::new(&config, &opened, earlier, watcher).map_err(Error::of_resumed_run)?;
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
    pub(super) fn restore(&mut self, saved: &Saved) -> Result<(), Error> {
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
    pub(super) fn begin(
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

    pub(super) fn assemble(
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
}

/// Checks that a run in `path` would not be among the images that it reads.
///
/// # Errors
/// Returns an error if it would be.
pub(super) fn check_place(path: &Path, config: &Config) -> Result<(), Error> {
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
