//! `metaburn man`: manual pages, made of what `--help` says.

use super::{Cli, Outcome, output};
use clap::{Args, CommandFactory};
use std::path::PathBuf;
use std::process::ExitCode;

/// Write manual pages, one for each command
///
/// In a folder man1 of a path that `man` searches they are found as `man metaburn-train`.
///
/// Example: metaburn man --out ~/.local/share/man/man1
#[derive(Args)]
pub struct Man {
    /// Folder to write them in; it is made if it is not there
    #[arg(long, value_name = "DIR", default_value = "man")]
    out: PathBuf,
}

impl Man {
    /// Runs the command.
    pub fn run(self) -> Outcome {
        let failed = |error| format!("cannot write manual pages in {}: {error}", self.out.display());
        std::fs::create_dir_all(&self.out).map_err(failed)?;
        clap_mangen::generate_to(Cli::command().disable_help_subcommand(true), &self.out).map_err(failed)?;
        output::print(format!(
            "wrote {}; try: man {}",
            self.out.display(),
            self.out.join("metaburn.1").display()
        ))?;
        Ok(ExitCode::SUCCESS)
    }
}
