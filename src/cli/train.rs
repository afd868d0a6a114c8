//! `metaburn train`: a new run, from data to test accuracy.

use super::progress::Terminal;
use super::setup::Setup;
use super::{Outcome, resume};
use clap::Args;
use metaburn::config::{Config, Estimator, Source};
use metaburn::trainer::Trainer;
use std::path::PathBuf;

/// Train a learner and test it
///
/// Example: metaburn train configs/omniglot-5way-1shot.toml --data PATH --set outer.steps=2000
#[derive(Args)]
pub struct Train {
    #[command(flatten)]
    setup: Setup,
    /// Outer steps (short for `--set outer.steps=N`)
    #[arg(long)]
    steps: Option<u64>,
    /// Directory of the run; without one, a new one under `checkpoints/`
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
    /// Print the result as one JSON object on standard output
    #[arg(long)]
    json: bool,
}

impl Train {
    /// Runs the command.
    pub fn run(self) -> Outcome {
        let steps = self.steps.map(|steps| format!("outer.steps={steps}"));
        let config = self.setup.config(steps.as_slice())?;
        let path = self.run_dir.unwrap_or_else(|| unused_directory(&config));
        let mut terminal = Terminal::new();
        let trainer = Trainer::start(config, &path, &mut terminal)?;
        resume::to_the_end(trainer, terminal, self.json)
    }
}

/// `checkpoints/NAME-001` or the first free number after it.
fn unused_directory(config: &Config) -> PathBuf {
    let source = match config.data.source {
        Source::Glyphs => "glyphs",
        Source::Omniglot => "omniglot",
        Source::Folder => "folder",
    };
    let estimator = match config.estimator {
        Estimator::FirstOrder => "first-order",
        Estimator::Truncated { .. } => "truncated",
        Estimator::Exact => "exact",
        Estimator::Ufom { .. } => "ufom",
        Estimator::Adaptive { .. } => "adaptive",
        Estimator::StepCoins { .. } => "step-coins",
    };
    let (ways, shots) = (config.task.ways, config.task.shots);
    let named = |number: u32| {
        PathBuf::from("checkpoints").join(format!("{source}-{ways}way-{shots}shot-{estimator}-{number:03}"))
    };
    (1..u32::MAX).map(named).find(|path| !path.exists()).unwrap_or_else(|| named(u32::MAX))
}
