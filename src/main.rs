//! The `metaburn` program: parse, run, exit code.

mod cli;

use clap::Parser;
use metaburn::caught::caught;
use mimalloc::MiMalloc;
use std::process::ExitCode;

/// Activations come and go by the megabyte at every operation; the system's allocator hands such
/// blocks back each time, and page faults then cost a third of a step.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match caught(|| cli.run()) {
        Ok(Ok(code)) => code,
        Ok(Err(error)) if cli::is_closed(&*error) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            eprintln!("error: {error}");
            cli::exit::code(&*error)
        }
        Err(reason) => {
            eprintln!("error: computing failed: {reason}; what was saved before is kept");
            ExitCode::from(cli::exit::FAILED)
        }
    }
}
