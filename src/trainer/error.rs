//! Everything that can stop a run.

use super::run_dir::quoted;
use crate::{archive, backend, config, data};
use std::path::PathBuf;

/// The trainer's error: what was wrong, where, and what to do.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
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
    #[error("there is no {path}: the run was not validated yet, see eval.every; take --checkpoint latest")]
    NoBest { path: PathBuf },
    #[error(
        "{path} keeps no checkpoint after outer step {step}; it has those after {}",
        if kept.is_empty() { "none".into() } else { kept.iter().map(u64::to_string).collect::<Vec<_>>().join(", ") }
    )]
    NoStep { path: PathBuf, step: u64, kept: Vec<u64> },
    #[error("the checkpoint {path} is not usable: {reason}")]
    Checkpoint { path: PathBuf, reason: String },
    #[error(
        "no checkpoint in {path} is usable: {}. Put back a copy, or start anew with `metaburn train {} --run-dir DIR`",
        faults.join("; "),
        quoted(&path.join("config.toml"))
    )]
    NoSoundCheckpoint { path: PathBuf, faults: Vec<String> },
    #[error(
        "the data is not what this run was trained on (its digest is {found:.12}…, the run's {expected:.12}…); point \
         --data at the original"
    )]
    OtherData { found: String, expected: String },
    #[error(
        "training diverged at outer step {step}: {what} is not finite; start a new run with a lower outer.rate or \
         inner.rate, with outer.clip, or with divergence.action = \"skip\" or \"rewind\". The last checkpoint is \
         kept{}",
        report.as_ref().map(|path| format!(", and what it takes to see the step again is in {}", path.display())).unwrap_or_default()
    )]
    Diverged { step: u64, what: &'static str, report: Option<PathBuf> },
    #[error(
        "outer step {step} is not saved: {reason}. {}; mend that, then go on with `metaburn resume {}`",
        latest.map_or("No checkpoint can be read".into(), |latest| format!("The latest checkpoint is that after outer step {latest}")),
        quoted(path)
    )]
    Unsaved { step: u64, path: PathBuf, latest: Option<u64>, reason: String },
    #[error(
        "computing failed after outer step {step}: {reason}. If memory ran out, lower outer.meta_batch, task.queries \
         or model.filters, or set memory.plan = \"snapshots\"; the last checkpoint is kept, and `metaburn resume {}` \
         goes on from there",
        quoted(path)
    )]
    Computing { step: u64, path: PathBuf, reason: String },
}

impl Error {
    /// Whether a disk is full, or a share of it.
    pub(super) fn is_full(&self) -> bool {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        let source = match self {
            Self::Io { source, .. } | Self::Archive(archive::Error::Write { source, .. }) => source,
            _ => return false,
        };
        matches!(source.kind(), StorageFull | QuotaExceeded)
    }
}
