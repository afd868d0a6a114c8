//! `metaburn import`: a new run that begins at given weights.

use super::progress::Terminal;
use super::resume::program;
use super::setup::Setup;
use super::{Outcome, output};
use clap::Args;
use metaburn::deploy::Exported;
use metaburn::trainer::quoted;
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;

/// Start a run at weights from a file, for `resume` to train on and `eval` and `predict` to use
///
/// The file is one of `metaburn export`, or any safetensors file with a network's weights under the same names.
/// Without CONFIG the configuration is the one that the weights were exported with.
///
/// Example: metaburn import glyphs.safetensors --run-dir again --set outer.rate=0.001
#[derive(Args)]
pub struct Import {
    /// The weights, in safetensors
    file: PathBuf,
    #[command(flatten)]
    setup: Setup,
    /// Directory of the new run
    #[arg(long, value_name = "DIR")]
    run_dir: PathBuf,
    /// Print what was made as one JSON object on standard output
    #[arg(long)]
    json: bool,
}

impl Import {
    /// Runs the command.
    pub fn run(self) -> Outcome {
        let exported = Exported::read(&self.file)?;
        // A configuration that is named makes the file's own, even if damaged, of no concern.
        let given = if self.setup.names_file() { None } else { exported.config()? };
        let config = self.setup.config_over(given)?;
        exported.import(config, &self.run_dir, &mut Terminal::new())?;
        let command = format!("{} resume {}", program(), quoted(&self.run_dir));
        if self.json {
            output::print(json!({ "run_dir": self.run_dir, "step": 0 }))?;
        } else {
            let dir = self.run_dir.display();
            output::print(format!(
                "{dir} holds a run that begins at these weights; to train on:\n  {command}"
            ))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
