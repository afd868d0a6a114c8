//! A trained run, read back to be looked at: what `eval` and `report` begin with.

use super::progress::Terminal;
use super::setup::{PartName, Place};
use clap::Args;
use metaburn::backend;
use metaburn::config::Config;
use metaburn::data::{EpisodeShape, Part};
use metaburn::stack::Stack;
use metaburn::trainer::{self, Gallery, Learner, RunDir, Standing, Which};
use std::path::PathBuf;

/// Which run, at which checkpoint, on which episodes.
#[derive(Args)]
pub struct Asked {
    /// Directory of the run
    run_dir: PathBuf,
    /// Whose classes the episodes are made of
    #[arg(long, value_enum, default_value = "test")]
    split: PartName,
    /// Episodes; without it, as many as the run's configuration says
    #[arg(long, value_parser = clap::value_parser!(u32).range(2..))]
    episodes: Option<u32>,
    /// Which checkpoint: latest, best (by validation), or the one after so many outer steps
    #[arg(long, value_name = "latest|best|STEP", default_value = "latest")]
    pub checkpoint: Which,
    #[command(flatten)]
    place: Place,
}

/// A run at a checkpoint, ready for episodes of one part.
pub struct Trained {
    pub part: Part,
    /// How many episodes.
    pub episodes: usize,
    pub run: RunDir,
    pub config: Config,
    pub standing: Standing,
    pub shape: EpisodeShape,
    pub learner: Learner,
    pub gallery: Gallery,
    pub theta: Stack,
}

impl Asked {
    /// The run, with what was said of its place over its configuration.
    ///
    /// # Errors
    /// If there is no such run or checkpoint, or its data or backend is not fit for it.
    pub fn read(&self, terminal: &mut Terminal) -> Result<Trained, Box<dyn std::error::Error>> {
        let (run, config) = RunDir::open(&self.run_dir)?;
        let config = self.place.over(&config)?;
        let saved = run.saved(self.checkpoint, terminal)?;
        let sampler = trainer::sampler(&config, terminal)?;
        trainer::check_data(&sampler, &saved.standing)?;
        let part = Part::from(self.split);
        let episodes = self.episodes.map_or(config.eval.test_episodes, |episodes| episodes as usize);
        let shape = trainer::evaluation_shape(&config);
        sampler.check(part, &shape)?;
        let learner = Learner::new(&config, backend::open(config.backend)?.with_threads(config.threads));
        let gallery = Gallery::new(sampler, &learner.opened);
        let theta = saved.theta(&learner.leaves(), &learner.opened.device)?;
        Ok(Trained { part, episodes, run, config, standing: saved.standing, shape, learner, gallery, theta })
    }
}
