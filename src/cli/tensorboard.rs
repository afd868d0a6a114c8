//! `metaburn tensorboard`: event files of runs that were trained without.

use super::{Outcome, output};
use clap::Args;
use metaburn::tensorboard::EventFile;
use metaburn::trainer::RunDir;
use std::path::PathBuf;
use std::process::ExitCode;

/// Write event files for TensorBoard from what runs recorded
///
/// A run trained with `--tensorboard` has one already, which grows with it. To look at them: tensorboard --logdir
/// checkpoints
///
/// Example: metaburn tensorboard checkpoints/glyphs-5way-1shot-exact-001
#[derive(Args)]
pub struct Tensorboard {
    /// Directories of the runs
    #[arg(required = true, value_name = "RUN_DIR")]
    runs: Vec<PathBuf>,
}

impl Tensorboard {
    /// Runs the command.
    pub fn run(self) -> Outcome {
        for path in &self.runs {
            let (run, _) = RunDir::open(path)?;
            let _lock = run.lock()?;
            output::print(EventFile::derive(path)?.path().display())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
