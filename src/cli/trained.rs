//! Loads a trained run for `eval` and `report`.

use super::progress::Terminal;
use super::setup::{PartName, Resources};
use bilevel::{Params, device};
use clap::Args;
use metaburn::config::Config;
use metaburn::data::{EpisodeShape, Part};
use metaburn::run::{CheckpointSelector, RunDir, TrainingState};
use metaburn::train::{self, EpisodeLoader, Learner, Watcher};
use std::path::PathBuf;

/// Arguments that choose a run, a checkpoint and episodes.
#[derive(Args)]
pub struct Selection {
    /// Run directory
    run_dir: PathBuf,
    /// Split whose classes the episodes are drawn from
    #[arg(long, value_enum, default_value = "test")]
    split: PartName,
    /// Number of episodes [default: the run's eval.test_episodes]
    #[arg(long, value_parser = clap::value_parser!(u32).range(2..))]
    episodes: Option<u32>,
    /// Checkpoint: latest, best (highest validation accuracy) or the number of an outer step
    #[arg(long, value_name = "latest|best|STEP", default_value = "latest")]
    pub checkpoint: CheckpointSelector,
    #[command(flatten)]
    resources: Resources,
}

/// A run at a checkpoint, ready to be evaluated on one part of its data.
pub struct Trained {
    pub part: Part,
    /// Number of episodes.
    pub episodes: usize,
    pub run: RunDir,
    pub config: Config,
    pub training_state: TrainingState,
    pub shape: EpisodeShape,
    pub learner: Learner,
    pub loader: EpisodeLoader,
    pub theta: Params,
}

impl Selection {
    /// Loads the run, with the device and data path of the command line.
    ///
    /// # Errors
    /// Returns an error if there is no such run or checkpoint, or its data or backend is unavailable.
    pub fn read(&self, terminal: &mut Terminal) -> Result<Trained, super::CommandError> {
        let (run, config) = RunDir::open(&self.run_dir)?;
        let config = self.resources.over(&config)?;
        let saved = run.saved(self.checkpoint, |warning| terminal.warning(warning))?;
        let sampler = train::sampler(&config, terminal)?;
        train::check_data(&sampler, &saved.training_state)?;
        let part = Part::from(self.split);
        let episodes = self.episodes.map_or(config.eval.test_episodes, |episodes| episodes as usize);
        let shape = train::evaluation_shape(&config);
        sampler.check(part, &shape)?;
        let learner = Learner::new(&config, device::open(config.backend)?.with_threads(config.threads));
        let loader = EpisodeLoader::new(sampler, &learner.opened);
        let theta = saved.theta(&learner.leaves(), &learner.opened.device)?;
        Ok(Trained {
            part,
            episodes,
            run,
            config,
            training_state: saved.training_state,
            shape,
            learner,
            loader,
            theta,
        })
    }
}
