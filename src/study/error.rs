//! Errors of studies.

use crate::support::classified::Classified;
use crate::support::lock::Holder;
use crate::{config, data, report, run, train};
use bilevel::device;
use std::path::PathBuf;

/// Why a study stopped.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages document the variants")]
pub enum Error {
    #[error(transparent)]
    Config(#[from] config::Error),
    #[error(transparent)]
    Backend(#[from] device::Error),
    #[error(transparent)]
    Data(#[from] data::Error),
    #[error(transparent)]
    Trainer(#[from] train::Error),
    #[error(transparent)]
    Figure(#[from] report::Error),
    #[error(transparent)]
    Run(#[from] run::Error),
    #[error("cannot {action} {path}: {source}")]
    Io { action: &'static str, path: PathBuf, source: std::io::Error },
    #[error("{path} is in use by another metaburn{}; {}", holder.process, holder.advice())]
    InUse { path: PathBuf, holder: Holder },
    #[error(
        "{path} holds results of other settings ({}); choose another folder with --out, or delete that one",
        differences.join("; ")
    )]
    OtherSettings { path: PathBuf, differences: Vec<String> },
    #[error("{path} is not a valid record of this study ({reason}); delete it to compute it again")]
    Record { path: PathBuf, reason: String },
    #[error("{0}")]
    Invalid(String),
}

impl Classified for Error {
    fn is_user_error(&self) -> bool {
        match self {
            Self::Config(error) => error.is_user_error(),
            Self::Backend(error) => error.is_user_error(),
            Self::Data(error) => error.is_user_error(),
            Self::Trainer(error) => error.is_user_error(),
            Self::Figure(error) => error.is_user_error(),
            Self::Run(error) => error.is_user_error(),
            Self::Io { source, .. } => source.is_user_error(),
            Self::InUse { .. } | Self::OtherSettings { .. } | Self::Record { .. } | Self::Invalid(_) => true,
        }
    }

    fn wrapped(&self) -> Option<&dyn Classified> {
        match self {
            Self::Config(error) => Some(error),
            Self::Backend(error) => Some(error),
            Self::Data(error) => Some(error),
            Self::Trainer(error) => Some(error),
            Self::Figure(error) => Some(error),
            Self::Run(error) => Some(error),
            _ => None,
        }
    }
}
