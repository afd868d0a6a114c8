//! `metaburn import`: starts a run from exported weights.

use super::progress::Terminal;
use super::resume::program;
use super::setup::Setup;
use super::{Outcome, output};
use clap::Args;
use metaburn::inference::ExportedWeights;
use metaburn::run::quoted;
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;

/// Create a run from exported weights
///
/// `resume` trains the new run further; `eval` and `predict` use it as it is. FILE is written by `metaburn export`,
/// or is any safetensors file with the same array names. Without CONFIG, the configuration stored with the exported
/// weights is used.
///
/// Example: metaburn import glyphs.safetensors --run-dir again --set outer.rate=0.001
#[derive(Args)]
pub struct Import {
    /// File with the weights (safetensors)
    file: PathBuf,
    #[command(flatten)]
    setup: Setup,
    /// Directory of the new run
    #[arg(long, value_name = "DIR")]
    run_dir: PathBuf,
    /// Print the run directory and its outer step as a JSON object
    #[arg(long)]
    json: bool,
}

impl Import {
    /// Runs the command.
    pub fn run(self) -> Outcome {
        let exported = ExportedWeights::read(&self.file)?;
        // With CONFIG given, the stored configuration is not read, so it may be damaged.
        let given = if self.setup.names_file() { None } else { exported.config()? };
        let config = self.setup.config_over(given)?;
        exported.import(config, &self.run_dir, &mut Terminal::new())?;
        let command = format!("{} resume {}", program(), quoted(&self.run_dir));
        if self.json {
            output::print(json!({ "run_dir": self.run_dir, "step": 0 }))?;
        } else {
            let dir = self.run_dir.display();
            output::print(format!(
                "created a run with these weights in {dir}; to train it further:\n  {command}"
            ))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
