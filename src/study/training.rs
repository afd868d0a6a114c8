//! Training runs inside studies: begun once, and taken up wherever they stopped.

use super::Error;
use crate::config::Config;
use crate::trainer::{self, RunDir, Trainer, Watcher};
use std::path::Path;

/// The run in `path`, taken up where it stopped; if there is none, that of `config`, begun.
///
/// # Errors
/// If it is not sound, or its data, backend or directory is not fit for it.
pub fn take_up(path: &Path, config: &Config, watcher: &mut dyn Watcher) -> Result<Trainer, Error> {
    match RunDir::open(path) {
        Ok((_, kept)) => Ok(Trainer::resume(path, kept, watcher)?),
        Err(trainer::Error::NoRun { .. }) => Ok(Trainer::start(config.clone(), path, watcher)?),
        Err(error) => Err(error.into()),
    }
}
