//! `metaburn import`: starts a run from exported weights.

use super::progress::Terminal;
use super::resume::program;
use super::setup::Setup;
use super::{Outcome, output};
use bilevel::Budget;
use clap::Args;
use metaburn::config::{Config, RawConfig};
use metaburn::inference::{self, ExportedWeights, Imported};
use metaburn::run::quoted;
use metaburn::train::Watcher;
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;

/// Create a run from exported weights
///
/// `resume --steps N` trains the new run further; `eval` and `predict` use it as it is. FILE is either a file written by
/// `metaburn export`, whose configuration and number of outer steps are kept, or any safetensors file with the same array
/// names, for which CONFIG must give the configuration. The images that the weights were trained on need not be present;
/// images are needed only to train further.
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
        let mut terminal = Terminal::new();
        if given.is_none() && !self.setup.names_file() {
            if !self.setup.sets_keys() {
                return Err(inference::Error::NoConfig { path: self.file }.into());
            }
            terminal.warning(&format!(
                "{} holds no configuration; every key that --set does not give has its built-in value, which is for built-in \
                 characters",
                self.file.display()
            ));
        }
        let config = self.setup.config_over(given.map(RawConfig::without_data), &[])?;
        let imported =
            exported.import(&config, &self.run_dir, self.setup.resources().names_data(), &mut terminal)?;
        if !imported.has_data {
            terminal.note(
                "the images that these weights were trained on were not found; `predict`, and `eval` with --data, do not \
                 need them",
            );
        }
        if self.json {
            output::print(json!({ "run_dir": self.run_dir, "step": imported.origin.step }))?;
        } else {
            output::print(format!(
                "created a run with these weights in {}, after outer step {}; to train it further:\n  {}",
                self.run_dir.display(),
                imported.origin.step,
                self.further(&config, &imported)
            ))?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The command that trains the run further: as long again, if its budget is used up.
    fn further(&self, config: &Config, imported: &Imported) -> String {
        let (step, evaluations) = (imported.origin.step, imported.origin.evaluations.total());
        let budget = config.outer.budget;
        let more = match budget {
            _ if budget.progress(step, evaluations) < 1.0 => String::new(),
            Budget::Steps(steps) => format!(" --steps {}", step.saturating_add(steps)),
            Budget::Evaluations(most) => {
                format!(" --set outer.evaluations={}", evaluations.saturating_add(most))
            }
        };
        let data = if imported.has_data { "" } else { " --data PATH" };
        format!("{} resume {}{more}{data}", program(), quoted(&self.run_dir))
    }
}
