//! The three parts of a few-shot dataset, which share no class.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A part of a dataset.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// For training.
    Train,
    /// For the choice of settings and checkpoints.
    Validation,
    /// For the reported results.
    Test,
}

impl Part {
    /// Its name in configurations, logs and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.pad(self.name())
    }
}
