//! The `metaburn` program: parse, run, exit code.

mod cli;

use clap::Parser;
use mimalloc::MiMalloc;
use std::process::ExitCode;

/// Activations come and go by the megabyte at every operation; the system's allocator hands such
/// blocks back each time, and page faults then cost a third of a step.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    match cli::Cli::parse().run() {
        Ok(code) => code,
        Err(error) if cli::is_closed(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
