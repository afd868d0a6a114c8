//! Everything that can stop a run.

use super::run_dir::quoted;
use crate::{archive, backend, config, data};
use std::path::PathBuf;

/// The trainer's error: what was wrong, where, and what to do.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum Error {
    #[error(transparent)]
    Config(#[from] config::Error),
    #[error(transparent)]
    Data(#[from] data::Error),
    #[error(transparent)]
    Backend(#[from] backend::Error),
    #[error(transparent)]
    Archive(#[from] archive::Error),
    #[error("cannot {action} {path}: {source}")]
    Io { action: &'static str, path: PathBuf, source: std::io::Error },
    #[error(
        "there is no run in {path}: it has no config.toml; start one with `metaburn train --run-dir {}`",
        quoted(path)
    )]
    NoRun { path: PathBuf },
    #[error(
        "{path} already holds a run; continue it with `metaburn resume {}`, or choose another directory with \
         --run-dir",
        quoted(path)
    )]
    Occupied { path: PathBuf },
    #[error("{path} is in use by another metaburn{holder}; wait until it ends, or stop it")]
    InUse { path: PathBuf, holder: String },
    #[error("{path} has no checkpoint yet; train it first with `metaburn resume {}`", quoted(path))]
    NoCheckpoint { path: PathBuf },
    #[error("the checkpoint {path} is not usable: {reason}")]
    Checkpoint { path: PathBuf, reason: String },
    #[error("no checkpoint in {path} is usable; {}", faults.join("; "))]
    NoSoundCheckpoint { path: PathBuf, faults: Vec<String> },
    #[error(
        "the data is not what this run was trained on (its digest is {found:.12}…, the run's {expected:.12}…); point \
         --data at the original"
    )]
    OtherData { found: String, expected: String },
    #[error(
        "training diverged at outer step {step}: {what} is not finite; start a new run with a lower outer.rate or \
         inner.rate, or with outer.clip. The last checkpoint is kept"
    )]
    Diverged { step: u64, what: &'static str },
}
