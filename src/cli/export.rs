//! `metaburn export`: writes a run's weights for use by other programs.

use super::progress::Terminal;
use super::{Outcome, output};
use clap::{Args, ValueEnum};
use metaburn::config::Purpose;
use metaburn::inference;
use metaburn::run::{CheckpointSelector, RunDir};
use metaburn::train::Watcher;
use serde_json::{Map, json};
use std::path::PathBuf;
use std::process::ExitCode;

/// Export a run's weights to a file that PyTorch can load
///
/// Example: metaburn export checkpoints/glyphs-5way-1shot-exact-001 -o glyphs.safetensors
#[derive(Args)]
pub struct Export {
    /// Run directory
    run_dir: PathBuf,
    /// File format
    #[arg(long, value_enum, default_value = "safetensors")]
    format: Format,
    /// Checkpoint: latest, best (highest validation accuracy) or the number of an outer step
    #[arg(long, value_name = "latest|best|STEP", default_value = "latest")]
    checkpoint: CheckpointSelector,
    /// File to write [default: RUN_DIR/learner.safetensors]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print the file, outer step and array shapes as a JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Safetensors,
}

impl Export {
    /// Runs the command.
    pub fn run(self) -> Outcome {
        let (run, config) = RunDir::open(&self.run_dir)?;
        let saved = run.saved(self.checkpoint, |warning| Terminal::new().warning(warning))?;
        saved.check_settings(&config, Purpose::Training, run.path())?;
        let file = self.output.unwrap_or_else(|| run.weights_file());
        let archive = match self.format {
            Format::Safetensors => inference::export(&config, &saved, run.split()?.as_ref())?,
        };
        archive.write(&file)?;
        let mut arrays = Map::new();
        for name in archive.names() {
            arrays.insert(name.into(), json!(archive.get(name)?.0));
        }
        let (step, count) = (saved.training_state.step, arrays.len());
        if self.json {
            output::print(json!({ "file": file, "step": step, "arrays": arrays }))?;
        } else {
            output::print(format!("{}: {count} arrays from outer step {step}", file.display()))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
