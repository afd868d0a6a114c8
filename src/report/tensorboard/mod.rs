//! Event files for TensorBoard, derived from a run's metrics and clock.
//!
//! The metrics are authoritative: an event file is rewritten from them whenever a run is resumed, so that no
//! crash doubles a step or loses one, and then grows with each step. The format is written by hand because it is
//! small and the crates for it are unmaintained.

mod event;
mod event_file;
mod scalars;
mod tfrecord;
mod watcher;

pub use event_file::EventFile;
pub use watcher::EventWatcher;

use crate::run;
use crate::support::classified::Classified;
use std::path::{Path, PathBuf};

/// An error in writing an event file.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Error {
    #[error(transparent)]
    Run(#[from] run::Error),
    #[error("cannot write {path}: {source}")]
    Write { path: PathBuf, source: std::io::Error },
}

impl Error {
    /// For `map_err`.
    fn writing(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Write { path, source }
    }
}

impl Classified for Error {
    fn is_user_error(&self) -> bool {
        match self {
            Self::Run(error) => error.is_user_error(),
            Self::Write { source, .. } => source.is_user_error(),
        }
    }

    fn wrapped(&self) -> Option<&dyn Classified> {
        match self {
            Self::Run(error) => Some(error),
            Self::Write { .. } => None,
        }
    }
}
