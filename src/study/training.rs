//! Training runs inside studies, which continue after an interruption.

use super::Error;
use crate::config::Config;
use crate::run::{self, RunDir};
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
