//! `[records]`: optional records of a run.

use crate::config::checker::Checker;
use crate::config::key::{Fixed, Is, keys};
use crate::config::kind::Flag;
use serde::Serialize;

keys! {
    /// Whether to write an event file for TensorBoard in addition to metrics.jsonl.
    TENSORBOARD: Fixed<Flag> = "records.tensorboard", Flag, Is(|| false);
}

/// Optional records of a run. They do not change results.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Records {
    /// Whether to write an event file for TensorBoard in addition to `metrics.jsonl`.
    pub tensorboard: bool,
}

/// Checks the section.
pub fn check(checker: &mut Checker) -> Records {
    Records { tensorboard: checker.get(&TENSORBOARD) }
}
