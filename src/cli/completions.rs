//! `metaburn completions`: generates shell completion scripts.

use super::{Cli, Outcome, output};
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use std::process::ExitCode;

/// Print a shell completion script
///
/// For bash, save it as in the example; for zsh, as `_metaburn` in a folder of $fpath; for fish, as
/// ~/.config/fish/completions/metaburn.fish.
///
/// Example: metaburn completions bash > ~/.local/share/bash-completion/completions/metaburn
#[derive(Args)]
pub struct Completions {
    /// Shell to generate the script for
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
