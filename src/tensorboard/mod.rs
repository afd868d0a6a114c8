//! A run's curves for TensorBoard: event files that are derived from `metrics.jsonl` and `clock.jsonl`.
//!
//! The journals are the truth. Whenever a run is taken up, its event file is written anew from them, so that no
//! crash doubles a step or loses one; while it trains, each step is added. The format is small enough to be
//! written by hand: the crates that do it have not been kept up.

mod event;
mod file;
mod followed;
mod record;
mod scalars;

pub use file::EventFile;
pub use followed::Followed;

use crate::report::RunError;
use std::path::{Path, PathBuf};

/// Why there is no event file.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Error {
    #[error(transparent)]
    Run(#[from] RunError),
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
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
