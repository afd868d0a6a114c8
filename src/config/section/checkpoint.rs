//! `[checkpoint]`: when training is saved.

use crate::config::checker::Checker;
use crate::config::key::{Fixed, Is, keys};
use crate::config::kind::{Count, Long, at_least, long};
use serde::Serialize;

keys! {
    /// Outer steps between checkpoints.
    EVERY: Fixed<Long> = "checkpoint.every", long(1), Is(|| 100);
    /// Latest checkpoints that are kept.
    KEEP: Fixed<Count> = "checkpoint.keep", at_least(1), Is(|| 3);
}

/// When training is saved.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Checkpoint {
    /// Outer steps between checkpoints, ≥ 1.
    pub every: u64,
    /// Latest checkpoints that are kept, ≥ 1.
    pub keep: usize,
}

/// The section, checked.
pub fn check(checker: &mut Checker) -> Checkpoint {
    Checkpoint { every: checker.get(&EVERY), keep: checker.get(&KEEP) }
}
