//! `metaburn train`: trains and tests a new run.

use super::progress::ProgressOption;
use super::setup::Setup;
use super::{Outcome, launch, resume};
use bilevel::ranks::Ranks;
use clap::Args;
use metaburn::config::Config;
use metaburn::train::Trainer;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

/// Train a learner and test it
///
/// The run directory holds the configuration, one line of metrics per outer step, checkpoints and results/test.json.
/// Ctrl-C saves the run and prints the command that continues it.
///
/// Example: metaburn train
///
/// Example: metaburn train configs/omniglot-5way-1shot.toml --data PATH --set outer.steps=2000
#[derive(Args)]
pub struct Train {
    #[command(flatten)]
    setup: Setup,
    /// Number of outer steps (same as `--set outer.steps=N`)
    #[arg(long)]
    steps: Option<u64>,
    /// Run directory [default: a new one under checkpoints/]
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
    /// Also write a TensorBoard event file (same as `--set records.tensorboard=true`)
    #[arg(long)]
    tensorboard: bool,
    #[command(flatten)]
    progress: ProgressOption,
    /// Print the test result as a JSON object
    #[arg(long)]
    json: bool,
}

impl Train {
    /// Runs the command.
    pub fn run(self) -> Outcome {
        launch::together(|ranks| self.run_on(ranks))
    }

    fn run_on(self, ranks: Arc<dyn Ranks>) -> Outcome {
        let steps = self.steps.map(|steps| format!("outer.steps={steps}"));
        let tensorboard = self.tensorboard.then(|| "records.tensorboard=true".to_string());
        let more: Vec<String> = steps.into_iter().chain(tensorboard).collect();
        let config = self.setup.config(&more)?;
        let mut terminal = self.progress.terminal_of(&*ranks)?;
        let trainer = match self.run_dir {
            Some(path) => Trainer::start_with(ranks, config, &path, &mut terminal)?,
            None => {
                let path = if ranks.rank() == 0 { fresh_directory(&config)? } else { PathBuf::new() };
                let path = ranks.of_first(path.to_string_lossy().into_owned().into_bytes());
                let path = PathBuf::from(String::from_utf8_lossy(&path).into_owned());
                Trainer::start_with(ranks, config, &path, &mut terminal).inspect_err(|_| {
                    // Removes the directory only if it is empty, so a run that started is kept.
                    let _ = fs::remove_dir(&path).and_then(|()| fs::remove_dir("checkpoints"));
                })?
            }
        };
        resume::train_and_test(trainer, terminal, "", Vec::new(), self.json)
    }
}

/// Creates a new directory `checkpoints/NAME-001`, or with the next free number.
fn fresh_directory(config: &Config) -> Result<PathBuf, String> {
    let (source, estimator) = (config.source(), config.estimator.last().name());
    let ways = config.data.as_ref().map_or_else(String::new, |_| format!("{}way-", config.task.ways));
    let name = format!("{source}-{ways}{}shot-{estimator}", config.task.shots);
    for number in 1..10_000 {
        let path = PathBuf::from("checkpoints").join(format!("{name}-{number:03}"));
        let created = fs::create_dir_all("checkpoints").and_then(|()| fs::create_dir(&path));
        match created {
            Ok(()) => return Ok(path),
            // Taken, possibly by another process just now.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => {
                return Err(format!(
                    "cannot create {}: {error}; choose a directory with --run-dir",
                    path.display()
                ));
            }
        }
    }
    Err(format!("every name checkpoints/{name}-… is taken; choose a directory with --run-dir"))
}
