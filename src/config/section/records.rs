//! `[records]`: what is written of a run beside its journals.

use crate::config::checker::Checker;
use crate::config::key::{Fixed, Is, keys};
use crate::config::kind::Flag;
use serde::Serialize;

keys! {
    /// Whether an event file for TensorBoard grows beside metrics.jsonl.
    TENSORBOARD: Fixed<Flag> = "records.tensorboard", Flag, Is(|| false);
}

/// What is written of a run beside its journals. It changes no result.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Records {
    /// Whether an event file for TensorBoard grows beside `metrics.jsonl`.
    pub tensorboard: bool,
}

/// The section, checked.
pub fn check(checker: &mut Checker) -> Records {
    Records { tensorboard: checker.get(&TENSORBOARD) }
}
