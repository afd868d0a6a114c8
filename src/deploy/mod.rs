//! What was trained, put to use: new images named, and weights handed to other programs and taken from them.

mod error;
mod exported;
mod predictor;

pub use error::Error;
pub use exported::{Exported, export};
pub use predictor::{Prediction, Predictor};
