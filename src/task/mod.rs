//! Bi-level problems on images and points: few-shot learning, data hyper-cleaning and hyperparameter optimisation.

mod adaptation;
mod batch;
mod classification;
mod few_shot;
mod hyper_cleaning;
mod hyperparameters;
mod regression;

pub use adaptation::{Adaptation, Adapts, Head, InnerRates, RateEach};
pub use batch::Batch;
pub use classification::Adapted;
pub use few_shot::{BatchNorm, FewShot, Loss};
pub use hyper_cleaning::{HyperCleaning, f1};
pub use hyperparameters::Hyperparameters;
