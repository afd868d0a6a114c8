//! The three parts of a few-shot data set, which share no class.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a class is for.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// Episodes to learn from.
    Train,
    /// Episodes to choose by: settings, checkpoints.
    Validation,
    /// Episodes to report.
    Test,
}

impl Part {
    /// The part's name in configs, logs and messages.
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
