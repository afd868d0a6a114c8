//! A trained run, read back to be looked at: what `eval` and `report` begin with.

use super::progress::Terminal;
use super::setup::Place;
use metaburn::backend;
use metaburn::config::Config;
use metaburn::data::{EpisodeShape, Part};
use metaburn::stack::Stack;
use metaburn::trainer::{self, Gallery, Learner, RunDir, Standing, Which};
use std::path::Path;

/// A run at a checkpoint, ready for episodes of one part.
pub struct Trained {
    pub run: RunDir,
    pub config: Config,
    pub standing: Standing,
    pub shape: EpisodeShape,
    pub learner: Learner,
    pub gallery: Gallery,
    pub theta: Stack,
}

impl Trained {
    /// The run in `path`, with what `place` says over its configuration.
    ///
    /// # Errors
    /// If there is no such run or checkpoint, or its data or backend is not fit for it.
    pub fn read(
        path: &Path,
        place: &Place,
        which: Which,
        part: Part,
        terminal: &mut Terminal,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let (run, config) = RunDir::open(path)?;
        let config = place.over(&config)?;
        let saved = run.saved(which, terminal)?;
        let sampler = trainer::sampler(&config, terminal)?;
        trainer::check_data(&sampler, &saved.standing)?;
        let shape = trainer::evaluation_shape(&config);
        sampler.check(part, &shape)?;
        let learner = Learner::new(&config, backend::open(config.backend)?.with_threads(config.threads));
        let gallery = Gallery::new(sampler, &learner.opened);
        let theta = saved.theta(&learner.leaves(), &learner.opened.device)?;
        Ok(Self { run, config, standing: saved.standing, shape, learner, gallery, theta })
    }
}
