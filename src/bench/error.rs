//! Why an outer step could not be timed.

use crate::{backend, trainer};

/// What was wrong, and what to do.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Error {
    #[error(transparent)]
    Backend(#[from] backend::Error),
    #[error(transparent)]
    Trainer(#[from] trainer::Error),
    #[error("the device failed: {0}")]
    Device(String),
}
