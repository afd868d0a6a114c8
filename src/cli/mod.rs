//! Commands, one a file.

mod backends;
mod bench;
mod compare;
mod completions;
mod data;
mod doctor;
mod eval;
pub mod exit;
mod export;
mod gradient;
mod import;
mod init;
mod man;
mod output;
mod plot;
mod predict;
mod progress;
mod report;
mod resume;
mod setup;
mod study;
mod sweep;
mod tensorboard;
#[cfg(test)]
mod tests;
mod train;
mod trained;

pub use output::is_closed;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// What a command returns: an exit code, or an error whose text tells the user what to do.
pub type Outcome = Result<ExitCode, Box<dyn std::error::Error>>;

/// What to type first.
const FIRST_SESSION: &str = "\
A first session:
  metaburn doctor                                            is all here that is needed?
  metaburn train                                             learn built-in characters, in minutes
  metaburn eval checkpoints/glyphs-5way-1shot-exact-001      how good is it?

`metaburn COMMAND --help` shows what a command is for, with an example.";

/// Trains few-shot learners by bi-level optimisation.
///
/// `metaburn train` trains on built-in characters, with nothing to download.
#[derive(Parser)]
#[command(version, after_help = FIRST_SESSION)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// In the order in which a newcomer needs them, which is that of `--help`.
#[derive(Subcommand)]
enum Command {
    Doctor(doctor::Doctor),
    Train(train::Train),
    Eval(eval::Eval),
    Predict(predict::Predict),
    Resume(resume::Resume),
    Plot(plot::Plot),
    Report(report::Report),
    Compare(compare::Compare),
    Init(init::Init),
    Sweep(sweep::Sweep),
    Export(export::Export),
    Import(import::Import),
    Tensorboard(tensorboard::Tensorboard),
    #[command(subcommand)]
    Data(data::Data),
    #[command(subcommand)]
    Study(study::Study),
    Backends(backends::Backends),
    Bench(bench::Bench),
    Gradient(gradient::Gradient),
    Completions(completions::Completions),
    Man(man::Man),
}

impl Cli {
    /// Runs the command.
    ///
    /// # Errors
    /// With what was wrong, where, and what to do.
    pub fn run(self) -> Outcome {
        match self.command {
            Command::Doctor(command) => command.run(),
            Command::Train(command) => command.run(),
            Command::Eval(command) => command.run(),
            Command::Predict(command) => command.run(),
            Command::Resume(command) => command.run(),
            Command::Plot(command) => command.run(),
            Command::Report(command) => command.run(),
            Command::Compare(command) => command.run(),
            Command::Init(command) => command.run(),
            Command::Sweep(command) => command.run(),
            Command::Export(command) => command.run(),
            Command::Import(command) => command.run(),
            Command::Tensorboard(command) => command.run(),
            Command::Data(command) => command.run(),
            Command::Study(command) => command.run(),
            Command::Backends(command) => command.run(),
            Command::Bench(command) => command.run(),
            Command::Gradient(command) => command.run(),
            Command::Completions(command) => command.run(),
            Command::Man(command) => command.run(),
        }
    }
}
