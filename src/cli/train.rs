//! `metaburn train`: a new run, from data to test accuracy.

use super::progress::Shown;
use super::setup::Setup;
use super::{Outcome, resume};
use clap::Args;
use metaburn::config::Config;
use metaburn::trainer::Trainer;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

/// Train a learner and test it
///
/// Everything is written to the run directory, a new one under checkpoints/: the configuration, a line of
/// metrics a step, checkpoints, and results/test.json. Ctrl-C saves, and says how to go on.
///
/// Example: metaburn train
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
    /// Write an event file for TensorBoard too (short for `--set records.tensorboard=true`)
    #[arg(long)]
    tensorboard: bool,
    #[command(flatten)]
    shown: Shown,
    /// Print the result as one JSON object on standard output
    #[arg(long)]
    json: bool,
}

impl Train {
    /// Runs the command.
    pub fn run(self) -> Outcome {
        let steps = self.steps.map(|steps| format!("outer.steps={steps}"));
        let tensorboard = self.tensorboard.then(|| "records.tensorboard=true".to_string());
        let more: Vec<String> = steps.into_iter().chain(tensorboard).collect();
        let config = self.setup.config(&more)?;
        let mut terminal = self.shown.terminal()?;
        let trainer = match self.run_dir {
            Some(path) => Trainer::start(config, &path, &mut terminal)?,
            None => {
                let path = fresh_directory(&config)?;
                Trainer::start(config, &path, &mut terminal).inspect_err(|_| {
                    // Still empty if the run did not begin; and if it did, these refuse.
                    let _ = fs::remove_dir(&path).and_then(|()| fs::remove_dir("checkpoints"));
                })?
            }
        };
        resume::to_the_end(trainer, terminal, "", self.json)
    }
}

/// A new directory `checkpoints/NAME-001`, or with the first free number after it.
fn fresh_directory(config: &Config) -> Result<PathBuf, String> {
    let (source, estimator) = (config.data.source, config.estimator.name());
    let name = format!("{source}-{}way-{}shot-{estimator}", config.task.ways, config.task.shots);
    for number in 1..10_000 {
        let path = PathBuf::from("checkpoints").join(format!("{name}-{number:03}"));
        let made = fs::create_dir_all("checkpoints").and_then(|()| fs::create_dir(&path));
        match made {
            Ok(()) => return Ok(path),
            // Somebody has it, or took it just now.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => {
                return Err(format!(
                    "cannot create {}: {error}; choose a directory with --run-dir",
                    path.display()
                ));
            }
        }
    }
    Err(format!("checkpoints/{name}-… are all taken; choose a directory with --run-dir"))
}
