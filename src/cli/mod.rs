//! The commands, one per file.

mod advice;
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
mod launch;
mod man;
mod output;
mod plot;
mod predict;
mod progress;
mod regression;
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

pub use exit::{CommandError, Outcome};
pub use output::say;

use clap::{Parser, Subcommand};

/// Commands for a first session, shown after the list of commands.
const FIRST_SESSION: &str = "\
A first session:
  metaburn doctor                                            check that everything needed is available
  metaburn train                                             train on built-in characters, in minutes
  metaburn eval checkpoints/glyphs-5way-1shot-exact-001      measure test accuracy

`metaburn COMMAND --help` describes a command, with an example.";

/// Trains few-shot learners by bi-level optimisation.
///
/// `metaburn train` trains on built-in characters; no download is needed.
#[derive(Parser)]
#[command(version, after_help = FIRST_SESSION)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// In the order of `--help`: what a new user needs first comes first.
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
    /// Returns the command's error.
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
