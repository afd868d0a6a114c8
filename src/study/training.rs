//! Training runs inside studies, which continue after an interruption.

use super::{Error, Workspace};
use crate::config::Config;
use crate::run::{self, RunDir, StepRecord};
use crate::train::{Trainer, Watcher};
use std::path::Path;

/// Resumes the run in the directory `path`, or starts one of `config` there if there is none.
///
/// # Errors
/// Returns an error if the run is damaged, or its data, backend or directory cannot be used.
pub fn start_or_resume(path: &Path, config: &Config, watcher: &mut dyn Watcher) -> Result<Trainer, Error> {
    match RunDir::open(path) {
        Ok((run, stored)) => Ok(Trainer::resume(run, stored, watcher)?),
        Err(run::Error::NoRun { .. }) => Ok(Trainer::start(config.clone(), path, watcher)?),
        Err(error) => Err(error.into()),
    }
}

/// Reports the progress and the warnings of a run to a workspace.
pub struct TrainingProgress<'a, 'b> {
    workspace: &'a mut Workspace<'b>,
    share: f64,
}

impl<'a, 'b> TrainingProgress<'a, 'b> {
    /// For a run that is the share `share` of the piece, its first part.
    pub fn new(workspace: &'a mut Workspace<'b>, share: f64) -> Self {
        Self { workspace, share }
    }
}

impl Watcher for TrainingProgress<'_, '_> {
    fn step(&mut self, _record: &StepRecord, progress: f64) {
        self.workspace.progress(self.share * progress);
    }

    fn warning(&mut self, text: &str) {
        self.workspace.note(&format!("warning: {text}"));
    }
}
