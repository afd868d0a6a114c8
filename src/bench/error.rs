//! The error of a measurement.

use crate::support::classified::Classified;
use crate::train;
use bilevel::device;

/// An error of a measurement.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Error {
    #[error(transparent)]
    Backend(#[from] device::Error),
    #[error(transparent)]
    Trainer(#[from] train::Error),
    #[error("the device failed: {0}")]
    Device(String),
}

impl Classified for Error {
    fn is_user_error(&self) -> bool {
        match self {
            Self::Backend(error) => error.is_user_error(),
            Self::Trainer(error) => error.is_user_error(),
            Self::Device(_) => false,
        }
    }

    fn wrapped(&self) -> Option<&dyn Classified> {
        match self {
            Self::Backend(error) => Some(error),
            Self::Trainer(error) => Some(error),
            _ => None,
        }
    }
}
