//! Using a trained learner: classifying new images, and exchanging weights with other programs.

mod error;
mod picture;
mod predictor;
mod weights;

pub use error::Error;
pub use picture::{picture, picture_pixels};
pub use predictor::{Prediction, Predictor, support_among_queries};
pub use weights::{ExportedWeights, Imported, export};
