//! `metaburn export`: a run's weights for other programs.

use super::progress::Terminal;
use super::{Outcome, output};
use clap::{Args, ValueEnum};
use metaburn::deploy;
use metaburn::trainer::{RunDir, Which};
use serde_json::{Map, json};
use std::path::PathBuf;
use std::process::ExitCode;

/// Write a run's weights to a file that PyTorch loads as it is
///
/// Example: metaburn export checkpoints/glyphs-5way-1shot-exact-001 -o glyphs.safetensors
#[derive(Args)]
pub struct Export {
    /// Directory of the run
    run_dir: PathBuf,
    /// Layout of the file
    #[arg(long, value_enum, default_value = "safetensors")]
    format: Format,
    /// Which checkpoint: latest, best (by validation), or the one after so many outer steps
    #[arg(long, value_name = "latest|best|STEP", default_value = "latest")]
    checkpoint: Which,
    /// The file; without it, `learner.safetensors` in the run's directory
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print what was written as one JSON object on standard output
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
        let saved = run.saved(self.checkpoint, &mut Terminal::new())?;
        let file = self.output.unwrap_or_else(|| run.path().join("learner.safetensors"));
        let archive = match self.format {
            Format::Safetensors => deploy::export(&config, &saved)?,
        };
        archive.write(&file)?;
        let mut arrays = Map::new();
        for name in archive.names() {
            arrays.insert(name.into(), json!(archive.get(name)?.0));
        }
        let (step, count) = (saved.standing.step, arrays.len());
        if self.json {
            output::print(json!({ "file": file, "step": step, "arrays": arrays }))?;
        } else {
            output::print(format!(
                "{}: {count} arrays, as they were after outer step {step}",
                file.display()
            ))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
