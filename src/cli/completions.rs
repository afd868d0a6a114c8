//! `metaburn completions`: what a shell needs to complete our command lines.

use super::{Cli, Outcome, output};
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use std::process::ExitCode;

/// Print a script with which a shell completes metaburn's commands and flags
///
/// For bash put it where completions are read from, as in the example; for zsh into a folder of $fpath, as
/// `_metaburn`; for fish into ~/.config/fish/completions/metaburn.fish.
///
/// Example: metaburn completions bash > ~/.local/share/bash-completion/completions/metaburn
#[derive(Args)]
pub struct Completions {
    /// Whose
    shell: Shell,
}

impl Completions {
    /// Runs the command.
    pub fn run(self) -> Outcome {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "metaburn", &mut script);
        output::print(String::from_utf8(script)?.trim_end())?;
        Ok(ExitCode::SUCCESS)
    }
}
