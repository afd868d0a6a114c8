//! Errors of runs on disk.

use super::quoted;
use crate::config;
use crate::support::archive;
use crate::support::classified::Classified;
use crate::support::lock::Holder;
use crate::support::settings::Difference;
use std::path::{Path, PathBuf};

/// Why a run could not be read or written.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages document the variants")]
pub enum Error {
    #[error(transparent)]
    Config(#[from] config::Error),
    #[error(transparent)]
    Archive(#[from] archive::Error),
    #[error("cannot {action} {path}: {source}")]
    Io { action: &'static str, path: PathBuf, source: std::io::Error },
    #[error("there is no run in {path}: it has no config.toml")]
    NoRun { path: PathBuf },
    #[error("{path} already holds a run")]
    Occupied { path: PathBuf },
    #[error(
        "{path} has checkpoints but no config.toml, so it is not a complete run; restore that file, or give another folder"
    )]
    Leftovers { path: PathBuf },
    #[error("{path} is in use by another metaburn{}", holder.process)]
    InUse { path: PathBuf, holder: Holder },
    #[error("{path} is not the configuration of a run: {}", source.message())]
    Settings { path: PathBuf, source: Box<toml::de::Error> },
    #[error(
        "{path} cannot be read ({reason}), so it is not known which classes the run may be tested on; restore it from a backup"
    )]
    Split { path: PathBuf, reason: String },
    #[error("{path} has no outer step yet")]
    NoSteps { path: PathBuf },
    #[error("{path} has no checkpoint yet")]
    NoCheckpoint { path: PathBuf },
    #[error("there is no {path}: the run has not been validated yet")]
    NoBest { path: PathBuf },
    #[error(
        "{path} keeps {kept} of its best checkpoints, fewer than the {wanted} that the ensemble needs: {}",
        if keep_best < wanted {
            format!("its checkpoint.keep_best is {keep_best}; train a run with checkpoint.keep_best = {wanted}")
        } else {
            format!(
                "it has not been validated often enough; train it longer with `metaburn resume {} --steps N`, or train a run \
                 with a smaller eval.every",
                quoted(path)
            )
        }
    )]
    FewBest { path: PathBuf, wanted: usize, kept: usize, keep_best: usize },
    #[error(
        "{path} has no checkpoint after outer step {step}; the outer steps with a checkpoint are: {}",
        if kept.is_empty() { "none".into() } else { kept.iter().map(u64::to_string).collect::<Vec<_>>().join(", ") }
    )]
    NoStep { path: PathBuf, step: u64, kept: Vec<u64> },
    #[error("the checkpoint {path} is not usable: {reason}")]
    Checkpoint { path: PathBuf, reason: String },
    #[error(
        "the configuration of {path} was changed after training began: {}. Restore the original values. `metaburn eval` measures \
         with other --shots, --queries, --ways, --steps and --data; to train with other settings, start a new run from the \
         weights with `metaburn export` and `metaburn import --set KEY=VALUE`",
        changes.iter().map(|change| format!("{} was {} and is {}", change.key, change.first, change.second))
            .collect::<Vec<_>>().join(", ")
    )]
    Changed { path: PathBuf, changes: Vec<Difference> },
    #[error("no checkpoint in {path} is usable: {}", faults.join("; "))]
    NoSoundCheckpoint { path: PathBuf, faults: Vec<String> },
}

impl Error {
    /// Whether the disk or a quota is full.
    pub fn is_full(&self) -> bool {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        let source = match self {
            Self::Io { source, .. } | Self::Archive(archive::Error::Write { source, .. }) => source,
            _ => return false,
        };
        matches!(source.kind(), StorageFull | QuotaExceeded)
    }
}

/// For `map_err`: adds the action and the path to an I/O error.
pub(crate) fn failed(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    move |source| Error::Io { action, path: path.into(), source }
}

impl Classified for Error {
    fn is_user_error(&self) -> bool {
        match self {
            Self::Config(error) => error.is_user_error(),
            Self::Archive(error) => error.is_user_error(),
            Self::Io { source, .. } => source.is_user_error(),
            _ => true,
        }
    }

    fn wrapped(&self) -> Option<&dyn Classified> {
        match self {
            Self::Config(error) => Some(error),
            Self::Archive(error) => Some(error),
            _ => None,
        }
    }
}
