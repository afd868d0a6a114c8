//! Commands, one a file.

mod backends;
mod bench;
mod compare;
mod data;
mod eval;
pub mod exit;
mod gradient;
mod output;
mod plot;
mod progress;
mod report;
mod resume;
mod setup;
mod study;
mod tensorboard;
mod train;
mod trained;

pub use output::is_closed;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// What a command returns: an exit code, or an error whose text tells the user what to do.
pub type Outcome = Result<ExitCode, Box<dyn std::error::Error>>;

/// Trains few-shot learners by bi-level optimisation.
///
/// `metaburn train` trains on built-in characters, with nothing to download.
#[derive(Parser)]
#[command(version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Train(train::Train),
    Resume(resume::Resume),
    Eval(eval::Eval),
    #[command(subcommand)]
    Data(data::Data),
    Backends(backends::Backends),
    Bench(bench::Bench),
    Gradient(gradient::Gradient),
    #[command(subcommand)]
    Study(study::Study),
    Compare(compare::Compare),
    Plot(plot::Plot),
    Report(report::Report),
    Tensorboard(tensorboard::Tensorboard),
}

impl Cli {
    /// Runs the command.
    ///
    /// # Errors
    /// With what was wrong, where, and what to do.
    pub fn run(self) -> Outcome {
        match self.command {
            Command::Train(command) => command.run(),
            Command::Resume(command) => command.run(),
            Command::Eval(command) => command.run(),
            Command::Data(command) => command.run(),
            Command::Backends(command) => command.run(),
            Command::Bench(command) => command.run(),
            Command::Gradient(command) => command.run(),
            Command::Study(command) => command.run(),
            Command::Compare(command) => command.run(),
            Command::Plot(command) => command.run(),
            Command::Report(command) => command.run(),
            Command::Tensorboard(command) => command.run(),
        }
    }
}
