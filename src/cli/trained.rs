//! Loads a trained run for `eval` and `report`.

use super::progress::Terminal;
use super::setup::{PartName, Resources};
use bilevel::{Params, device};
use clap::Args;
use metaburn::config::Config;
use metaburn::data::Part;
use metaburn::run::{CheckpointSelector, RunDir, TrainingState};
use metaburn::train::{self, Episodes, Evaluation, Learner, Watcher};
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

/// Arguments that replace what the run's configuration says about evaluated episodes.
#[derive(Args, Clone, Copy, Default)]
pub struct Overrides {
    /// Number of inner steps [default: the run's inner.eval_steps]
    #[arg(long, value_name = "N")]
    steps: Option<u32>,
    /// Number of classes in an episode [default: the run's task.ways]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..))]
    ways: Option<u32>,
    /// Support images per class [default: the run's task.shots]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    shots: Option<u32>,
}

/// A run, ready to be evaluated.
pub struct Trained {
    pub run: RunDir,
    pub config: Config,
    pub evaluation: Evaluation,
    pub learner: Learner,
    pub episodes: Episodes,
    /// At least one; the members of an ensemble, best first.
    pub checkpoints: Vec<Checkpoint>,
}

/// A checkpoint of a run.
pub struct Checkpoint {
    pub theta: Params,
    pub training_state: TrainingState,
}

impl Selection {
    /// Loads the run, with the device and data path of the command line: at its `ensemble` best checkpoints, or at the
    /// selected one.
    ///
    /// # Errors
    /// Returns an error if there is no such run or checkpoint, its data or backend is unavailable, or it cannot be evaluated
    /// as the `overrides` ask.
    pub fn read(
        &self,
        ensemble: Option<u32>,
        overrides: Overrides,
        terminal: &mut Terminal,
    ) -> Result<Trained, super::CommandError> {
        let (run, config) = RunDir::open(&self.run_dir)?;
        let config = self.resources.over(&config)?;
        let saved = match ensemble {
            Some(count) => run.best_checkpoints(count as usize, config.checkpoint.keep_best)?,
            None => vec![run.saved(self.checkpoint, |warning| terminal.warning(warning))?],
        };
        let learner = Learner::new(&config, device::open(config.backend)?.with_threads(config.threads));
        if overrides.ways.is_some() {
            config.images()?;
        }
        let evaluation = overrides.over(self.evaluation(&config), &learner)?;
        let episodes = Episodes::new(&config, &learner.opened, terminal)?;
        episodes.check(evaluation.part, &evaluation.shape)?;
        let checkpoints = saved.into_iter().map(|saved| {
            episodes.check_data(&saved.training_state)?;
            let theta = saved.theta(&learner.leaves(), &learner.opened.device)?;
            Ok(Checkpoint { theta, training_state: saved.training_state })
        });
        let checkpoints = checkpoints.collect::<Result<Vec<_>, train::Error>>()?;
        Ok(Trained { run, config, evaluation, learner, episodes, checkpoints })
    }

    fn evaluation(&self, config: &Config) -> Evaluation {
        let episodes = self.episodes.map_or(config.eval.test_episodes, |episodes| episodes as usize);
        Evaluation::new(config, Part::from(self.split), episodes)
    }
}

impl Overrides {
    /// The evaluation of `learner` with these overrides.
    ///
    /// # Errors
    /// Returns an error if the network cannot classify this number of classes.
    fn over(self, mut evaluation: Evaluation, learner: &Learner) -> Result<Evaluation, String> {
        let own = evaluation.shape.ways;
        let replace = |value: &mut usize, by: Option<u32>| *value = by.map_or(*value, |by| by as usize);
        replace(&mut evaluation.shape.ways, self.ways);
        replace(&mut evaluation.shape.shots, self.shots);
        replace(&mut evaluation.steps, self.steps);
        let ways = evaluation.shape.ways;
        if ways != own && !learner.any_ways() {
            return Err(format!(
                "--ways {ways}: the last layer of this run's network has an output for each of task.ways = {own} classes, so \
                 its episodes cannot have {ways}; leave --ways out, or train a run with --set task.ways={ways}, or one for any \
                 number of classes with --set inner.head=prototype"
            ));
        }
        Ok(evaluation)
    }
}
