//! `[eval]`: how often and on how many episodes accuracy, or error, is measured.

use super::data::{self, Data};
use super::task::{self, Task};
use crate::config::checker::Checker;
use crate::config::key::{Fixed, Is, Open, Otherwise, keys};
use crate::config::kind::{Count, Long, at_least, long};
use serde::Serialize;

keys! {
    /// Outer steps between validations; 0 for no validation during training.
    EVERY: Fixed<Long> = "eval.every", long(0), Is(|| 200);
    /// Number of episodes of a validation.
    EPISODES: Fixed<Count> = "eval.episodes", at_least(2), Is(|| 200);
    /// Number of episodes of a test. A result to publish needs about 10000.
    TEST_EPISODES: Fixed<Count> = "eval.test_episodes", at_least(2), Is(|| 600);
    /// Query images per class, or query points of a sinusoid, in validation and test.
    QUERIES: Open<Count> = "eval.queries", at_least(1), Otherwise("task.queries");
}

/// How often and on how many episodes accuracy is measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Eval {
    /// Outer steps between validations; 0 for no validation during training.
    pub every: u64,
    /// Number of episodes of a validation, ≥ 2, as a confidence interval needs.
    pub episodes: usize,
    /// Number of episodes of a test, ≥ 2.
    pub test_episodes: usize,
    /// Query images per class, or query points, ≥ 1.
    pub queries: usize,
}

/// Checks the section, for episodes of `task`, from `data` if they are of images.
pub fn check(checker: &mut Checker, task: &Task, data: Option<&Data>) -> Eval {
    let every = checker.get(&EVERY);
    let validation = data.and_then(|data| data.validation);
    if let Some(classes) = validation.filter(|classes| every > 0 && *classes < task.ways) {
        let reason = format!(
            "`data.validation` (= {classes}) must be at least task.ways = {}, the number of classes in a \
             validation episode; or set eval.every = 0",
            task.ways
        );
        checker.contradicts(&data::VALIDATION, &task::WAYS, reason);
    }
    Eval {
        every,
        episodes: checker.get(&EPISODES),
        test_episodes: checker.get(&TEST_EPISODES),
        queries: checker.find(&QUERIES).unwrap_or(task.queries),
    }
}
