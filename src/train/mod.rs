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
mod start;
mod steps;
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

use crate::config::Config;
use crate::data::Part;
use crate::run::{Journal, Lock, Ranking, RunDir, TrainingState};
use bilevel::hypergradient::Workers;
use bilevel::{OuterLoop, Params};
use saving::Unsaved;

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

impl Trainer {
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
