//! `[checkpoint]`: how often checkpoints are saved, and how many are kept.

use crate::config::checker::Checker;
use crate::config::key::{Fixed, Is, keys};
use crate::config::kind::{Count, Long, at_least, long};
use serde::Serialize;

keys! {
    /// Outer steps between checkpoints.
    EVERY: Fixed<Long> = "checkpoint.every", long(1), Is(|| 100);
    /// Number of latest checkpoints to keep.
    KEEP: Fixed<Count> = "checkpoint.keep", at_least(1), Is(|| 3);
}

/// How often checkpoints are saved, and how many are kept.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Checkpoint {
    /// Outer steps between checkpoints, ≥ 1.
    pub every: u64,
    /// Number of latest checkpoints to keep, ≥ 1.
    pub keep: usize,
}

/// Checks the section.
pub fn check(checker: &mut Checker) -> Checkpoint {
    Checkpoint { every: checker.get(&EVERY), keep: checker.get(&KEEP) }
}
