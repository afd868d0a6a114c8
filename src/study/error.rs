//! Everything that can stop a study.

use crate::{backend, config, data, report, trainer};
use std::path::PathBuf;

/// The study's error: what was wrong, where, and what to do.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Error {
    #[error(transparent)]
    Config(#[from] config::Error),
    #[error(transparent)]
    Backend(#[from] backend::Error),
    #[error(transparent)]
    Data(#[from] data::Error),
    #[error(transparent)]
    Trainer(#[from] trainer::Error),
    #[error(transparent)]
    Figure(#[from] report::Error),
    #[error(transparent)]
    Curves(#[from] report::RunError),
    #[error("cannot {action} {path}: {source}")]
    Io { action: &'static str, path: PathBuf, source: std::io::Error },
    #[error("{path} is in use by another metaburn; wait until it ends, or stop it")]
    InUse { path: PathBuf },
    #[error(
        "{path} holds work of other settings ({}); choose another folder with --out, or delete that one",
        differences.join("; ")
    )]
    OtherSettings { path: PathBuf, differences: Vec<String> },
    #[error("{path} is no record of this study ({reason}); delete it, and its work is done again")]
    Record { path: PathBuf, reason: String },
    #[error("{0}")]
    Unfit(String),
}
