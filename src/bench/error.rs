//! Why an outer step could not be timed.

use crate::config::Backend;
use crate::{backend, trainer};

/// What was wrong, and what to do.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum Error {
    #[error(transparent)]
    Backend(#[from] backend::Error),
    #[error(transparent)]
    Trainer(#[from] trainer::Error),
    #[error("--threads is for --backend flex and ndarray; {backend} has the threads of its device")]
    NoThreads { backend: Backend },
    #[error("{threads} threads cannot be started: {reason}")]
    Threads { threads: usize, reason: String },
    #[error("the device failed: {0}")]
    Device(String),
}
