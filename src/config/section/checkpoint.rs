//! `[checkpoint]`: how often checkpoints are saved, and how many are kept.

use super::eval;
use crate::config::checker::Checker;
use crate::config::key::{Fixed, Is, keys};
use crate::config::kind::{Count, Long, at_least, long};
use serde::Serialize;

keys! {
    /// Number of outer steps between checkpoints.
    EVERY: Fixed<Long> = "checkpoint.every", long(1), Is(|| 100);
    /// Number of most recent checkpoints to keep.
    KEEP: Fixed<Count> = "checkpoint.keep", at_least(1), Is(|| 3);
    /// Number of checkpoints with the best validation accuracies to keep. `metaburn eval --ensemble` evaluates them together.
    KEEP_BEST: Fixed<Count> = "checkpoint.keep_best", at_least(1), Is(|| 1);
}

/// How often checkpoints are saved, and how many are kept.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Checkpoint {
    /// Outer steps between checkpoints, ≥ 1.
    pub every: u64,
    /// Number of latest checkpoints to keep, ≥ 1.
    pub keep: usize,
    /// Number of checkpoints with the best validation accuracies to keep, ≥ 1.
    pub keep_best: usize,
}

/// Checks the section.
pub fn check(checker: &mut Checker) -> Checkpoint {
    let several = checker.peek(&KEEP_BEST).filter(|keep_best| *keep_best > 1);
    if let Some(keep_best) = several.filter(|_| checker.peek(&eval::EVERY) == Some(0)) {
        let reason = format!(
            "`checkpoint.keep_best` (= {keep_best}) has no effect with eval.every = 0: the best checkpoints are those with \
             the best validation accuracies"
        );
        checker.unfit(&KEEP_BEST, &eval::EVERY, reason);
    }
    Checkpoint { every: checker.get(&EVERY), keep: checker.get(&KEEP), keep_best: checker.get(&KEEP_BEST) }
}
