//! The `metaburn` program: parses the command line, runs the command and returns its exit code.

// A message that nobody reads any more must not end the program: `cli::say` drops it, where these macros would panic.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod cli;

use bilevel::panics::catch;
use clap::Parser;
use mimalloc::MiMalloc;
use std::process::ExitCode;

/// Every operation allocates and frees activations of megabytes. The system's allocator returns such blocks to the
/// system each time, and page faults then take a third of a step.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match catch(|| cli.run()) {
        Ok(Ok(code)) => code,
        Ok(Err(error)) if error.is_closed_output() => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            cli::say(format_args!("error: {error}"));
            error.code()
        }
        Err(reason) => {
            cli::say(format_args!("error: computing failed: {reason}; files saved before are kept"));
            ExitCode::from(cli::exit::FAILED)
        }
    }
}
