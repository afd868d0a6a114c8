//! `metaburn tensorboard`: writes TensorBoard event files of finished runs.

use super::{Outcome, output};
use clap::Args;
use metaburn::report::tensorboard::EventFile;
use metaburn::run::RunDir;
use std::path::PathBuf;
use std::process::ExitCode;

/// Write TensorBoard event files from the metrics of runs
///
/// A run trained with `--tensorboard` writes its event file during training. To view them, run: tensorboard --logdir
/// checkpoints
///
/// Example: metaburn tensorboard checkpoints/glyphs-5way-1shot-exact-001
#[derive(Args)]
pub struct Tensorboard {
    /// Run directories
    #[arg(required = true, value_name = "RUN_DIR")]
    runs: Vec<PathBuf>,
}

impl Tensorboard {
    /// Runs the command.
    pub fn run(self) -> Outcome {
        for path in &self.runs {
            let (run, _) = RunDir::open(path)?;
            let _lock = run.lock()?;
            output::print(EventFile::derive(&run)?.path().display())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
