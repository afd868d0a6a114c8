//! `[task]`: the shape of an episode.

use crate::config::checker::Checker;
use crate::config::key::{Fixed, Is, keys};
use crate::config::kind::{Count, at_least};
use serde::Serialize;

keys! {
    /// Number of classes in an episode.
    WAYS: Fixed<Count> = "task.ways", at_least(2), Is(|| 5);
    /// Support images per class, to which the network adapts.
    SHOTS: Fixed<Count> = "task.shots", at_least(1), Is(|| 1);
    /// Query images per class, on which the adapted network is evaluated.
    QUERIES: Fixed<Count> = "task.queries", at_least(1), Is(|| 5);
}

/// The shape of an episode.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Task {
    /// Number of classes in an episode, ≥ 2.
    pub ways: usize,
    /// Support images per class, ≥ 1.
    pub shots: usize,
    /// Query images per class in training, ≥ 1.
    pub queries: usize,
}

/// Checks the section.
pub fn check(checker: &mut Checker) -> Task {
    Task { ways: checker.get(&WAYS), shots: checker.get(&SHOTS), queries: checker.get(&QUERIES) }
}
