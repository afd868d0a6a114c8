//! Where a run's episodes come from: images, or sinusoids.
//!
//! Either way an episode is a function of (seed, part, number), and a meta-batch of them becomes a problem for the learner.

use super::episode_loader::own_numbers;
use super::sampler::check_digest;
use super::{BatchStream, Earlier, EpisodeLoader, Error, Learner, RunData, Watcher};
use crate::config::{self, Config, TaskKind};
use crate::data::{EpisodeShape, KeptSplit, Part, Sinusoids};
use crate::run::TrainingState;
use crate::task::FewShot;
use bilevel::Proximal;
use bilevel::device::Opened;
use bilevel::ranks::Share;

/// Where a run's episodes come from.
#[derive(Clone)]
pub enum Episodes {
    /// Images, to be classified.
    Images(Box<EpisodeLoader>),
    /// Sinusoids, for regression.
    Sinusoids(Sinusoids),
}

/// What was decided from the data of a run when it was read.
pub struct Decided {
    /// The configuration with every decision that it left open.
    pub config: Config,
    /// The split of the classes, if there are classes.
    pub split: Option<KeptSplit>,
    /// The decisions in a line, if there are any.
    pub description: Option<String>,
}

/// A sequence of meta-batches of training episodes.
pub enum Batches {
    /// Of images.
    Images(Box<BatchStream>, EpisodeShape),
    /// Of curves.
    Sinusoids {
        /// Where they come from.
        source: Sinusoids,
        /// The shape of each.
        shape: EpisodeShape,
        /// Which episodes of a meta-batch are this rank's.
        share: Share,
        /// The number of the next meta-batch.
        next: u64,
    },
}

impl Episodes {
    /// The episodes of `config`, on the device of `opened`, and what was decided for them. Classes of images are split as it was
    /// done `earlier`.
    ///
    /// # Errors
    /// Returns an error if there are images and [`RunData::load`] does.
    pub fn new(
        config: &Config,
        opened: &Opened,
        earlier: Option<Earlier>,
        watcher: &mut dyn Watcher,
    ) -> Result<(Self, Decided), Error> {
        match config.task.kind {
            TaskKind::Classification => {
                let data = RunData::load(config, earlier, watcher)?;
                let description = Some(data.describe());
                let decided = Decided { config: data.config, split: Some(data.split), description };
                Ok((Self::Images(Box::new(EpisodeLoader::new(data.sampler, opened))), decided))
            }
            TaskKind::Sinusoid => {
                let decided = Decided { config: config.clone(), split: None, description: None };
                Ok((Self::Sinusoids(Sinusoids::new(config.seed)), decided))
            }
        }
    }

    /// The loader of images.
    ///
    /// # Errors
    /// Returns an error if the episodes are not of images.
    pub fn images(&self) -> Result<&EpisodeLoader, config::Error> {
        match self {
            Self::Images(loader) => Ok(loader),
            Self::Sinusoids(_) => Err(config::Error::NoImages { task: TaskKind::Sinusoid }),
        }
    }

    /// Digest of what the episodes are drawn from.
    pub fn digest(&self) -> String {
        match self {
            Self::Images(loader) => loader.sampler().set().digest(),
            Self::Sinusoids(source) => source.digest(),
        }
    }

    /// Checks that a resumed run draws from what it started with.
    ///
    /// # Errors
    /// Returns an error if it does not.
    pub fn check_data(&self, training_state: &TrainingState) -> Result<(), Error> {
        check_digest(&self.digest(), training_state)
    }

    /// Checks that `part` has enough classes and images for episodes of this `shape`.
    ///
    /// # Errors
    /// Returns an error that says what is missing and which setting to lower.
    pub fn check(&self, part: Part, shape: &EpisodeShape) -> Result<(), Error> {
        match self {
            Self::Images(loader) => Ok(loader.sampler().check(part, shape)?),
            Self::Sinusoids(_) => Ok(()),
        }
    }

    /// This rank's `share` of training meta-batches, starting with meta-batch number `first`.
    pub fn batches(&self, shape: EpisodeShape, share: Share, first: u64) -> Batches {
        match self {
            Self::Images(loader) => Batches::Images(Box::new(loader.batches_of(shape, share, first)), shape),
            Self::Sinusoids(source) => Batches::Sinusoids { source: *source, shape, share, next: first },
        }
    }
}

impl Batches {
    /// The next meta-batch, as a problem for `learner`.
    pub fn take(&mut self, learner: &Learner) -> Proximal<FewShot> {
        match self {
            Self::Images(stream, shape) => learner.classify(stream.take(), shape),
            Self::Sinusoids { source, shape, share, next } => {
                let numbers = own_numbers(*next, share);
                *next += 1;
                let episode = |number| source.episode(Part::Train, number, shape.shots, shape.queries);
                learner.regress(&numbers.map(episode).collect::<Vec<_>>())
            }
        }
    }
}
