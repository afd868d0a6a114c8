//! `metaburn man`: generates manual pages from the help texts.

use super::{Cli, Outcome, output};
use clap::{Args, CommandFactory};
use std::path::PathBuf;
use std::process::ExitCode;

/// Write manual pages, one per command
///
/// If they are in the man1 folder of a directory that `man` searches, `man metaburn-train` finds them.
///
/// Example: metaburn man --out ~/.local/share/man/man1
#[derive(Args)]
pub struct Man {
    /// Folder to write to; it is created if missing
    #[arg(long, value_name = "DIR", default_value = "man")]
    out: PathBuf,
}

impl Man {
    /// Runs the command.
    pub fn run(self) -> Outcome {
        let failed = |error| format!("cannot write manual pages to {}: {error}", self.out.display());
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
