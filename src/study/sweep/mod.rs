//! Sweeps: runs over settings and seeds, each an ordinary run directory in one folder, and what they come to.
//!
//! ```text
//! NAME-seed-N/     a run; results/test.json says that it is done, results/diverged.json that it cannot be
//! table.md         a row a setting
//! table.csv        the same, for programs
//! figure.svg       loss and validation accuracy, a curve a setting; figure.png too
//! ```

mod summary;

pub use summary::{Summary, Swept, write};

use super::Error;
use super::folder::differences;
use crate::config::{Config, Sweep};
use crate::trainer::{self, RunDir};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::path::{Path, PathBuf};

/// A run of a sweep.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Which of the sweep's variants, counted from 0.
    pub variant: usize,
    /// Where it is, or is to be.
    pub path: PathBuf,
    /// What it does.
    pub config: Config,
}

/// What has become of a run.
#[derive(Clone, Debug, PartialEq)]
pub enum Stands {
    /// It is not begun, or under way.
    Open,
    /// It is trained and tested.
    Finished(Score),
    /// It diverged at this outer step.
    Diverged(u64),
}

/// What a run's test came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Percent.
    pub test_accuracy: f64,
    /// In training.
    pub gradient_evaluations: u64,
    /// Of training.
    pub seconds: f64,
}

/// The runs of `sweep` below `folder`: all variants with one seed before the next, since a machine that drifts
/// drifts for all then.
pub fn runs(sweep: &Sweep, folder: &Path) -> Vec<Run> {
    let mut runs = Vec::new();
    for seed in &sweep.seeds {
        for (variant, setting) in sweep.variants.iter().enumerate() {
            let path = folder.join(format!("{}-seed-{seed}", setting.name));
            runs.push(Run { variant, path, config: Config { seed: *seed, ..setting.config.clone() } });
        }
    }
    runs
}

/// That the runs that there are already are those that are wanted.
///
/// # Errors
/// If one has other settings, which are named, or cannot be read.
pub fn check(runs: &[Run]) -> Result<(), Error> {
    for run in runs {
        match RunDir::open(&run.path) {
            Ok((_, kept)) if kept != run.config => {
                let differences = differences(&json!(kept), &json!(run.config));
                return Err(Error::OtherSettings { path: run.path.clone(), differences });
            }
            Ok(_) | Err(trainer::Error::NoRun { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

impl Run {
    /// The run's folder, as tables call it.
    pub fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// What has become of it.
    ///
    /// # Errors
    /// If its directory cannot be read.
    pub fn stands(&self) -> Result<Stands, Error> {
        let directory = match RunDir::open(&self.path) {
            Ok((directory, _)) => directory,
            Err(trainer::Error::NoRun { .. }) => return Ok(Stands::Open),
            Err(error) => return Err(error.into()),
        };
        let score = directory.result("test")?.and_then(|test| serde_json::from_value(test).ok());
        if let Some(score) = score {
            return Ok(Stands::Finished(score));
        }
        let diverged = directory.result("diverged")?.and_then(|note| note["step"].as_u64());
        Ok(diverged.map_or(Stands::Open, Stands::Diverged))
    }

    /// Writes down that it diverged at outer step `step`, so that it is not tried again.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn diverged(&self, step: u64) -> Result<(), Error> {
        let (directory, _) = RunDir::open(&self.path)?;
        Ok(directory.write_result("diverged", &json!({ "step": step }))?)
    }
}
