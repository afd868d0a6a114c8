//! The `metaburn` program: parses the command line, runs the command and returns its exit code.

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
            eprintln!("error: {error}");
            error.code()
        }
        Err(reason) => {
            eprintln!("error: computing failed: {reason}; files saved before are kept");
            ExitCode::from(cli::exit::FAILED)
        }
    }
}
