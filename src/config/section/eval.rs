//! `[eval]`: how often and on how many episodes accuracy, or error, is measured.

use super::data::{self, Data};
use super::inner::HEAD;
use super::task::{self, Task, TaskKind};
use crate::config::checker::Checker;
use crate::config::key::{AnyKey, Fixed, Is, Open, Otherwise, keys};
use crate::config::kind::{Count, Long, at_least, long};
use crate::task::Head;
use serde::Serialize;

keys! {
    /// Number of outer steps between validations; 0 disables validation during training.
    EVERY: Fixed<Long> = "eval.every", long(0), Is(|| 200);
    /// Number of episodes per validation.
    EPISODES: Fixed<Count> = "eval.episodes", at_least(2), Is(|| 200);
    /// Number of episodes per test. A result to be published needs about 10000.
    TEST_EPISODES: Fixed<Count> = "eval.test_episodes", at_least(2), Is(|| 600);
    /// Number of classes per episode in validation and test. A value other than task.ways requires inner.head = "shared" or
    /// "prototype".
    WAYS: Open<Count> = "eval.ways", at_least(2), Otherwise("task.ways");
    /// Support images per class, or support points of a sinusoid, in validation and test.
    SHOTS: Open<Count> = "eval.shots", at_least(1), Otherwise("task.shots");
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
    /// Number of classes in an episode, ≥ 2; `None` if as in training.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ways: Option<usize>,
    /// Support images per class, or support points, ≥ 1; `None` if as in training.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shots: Option<usize>,
    /// Query images per class, or query points, ≥ 1.
    pub queries: usize,
}

/// Checks the section, for episodes of `task`, from `data` if they are of images, and a network with this `head`.
pub fn check(checker: &mut Checker, task: &Task, data: Option<&Data>, head: Head) -> Eval {
    let every = checker.get(&EVERY);
    let validation = data.and_then(|data| data.validation);
    let own = ways(checker, task, head);
    let (needed, key): (usize, &dyn AnyKey) = own.map_or((task.ways, &task::WAYS), |ways| (ways, &WAYS));
    if let Some(classes) = validation.filter(|classes| every > 0 && *classes < needed) {
        let reason = format!(
            "`data.validation` (= {classes}) must be at least {} = {needed}, the number of classes in a \
             validation episode; or set eval.every = 0",
            key.name()
        );
        checker.contradicts(&data::VALIDATION, key, reason);
    }
    Eval {
        every,
        episodes: checker.get(&EPISODES),
        test_episodes: checker.get(&TEST_EPISODES),
        ways: own,
        shots: checker.find(&SHOTS),
        queries: checker.find(&QUERIES).unwrap_or(task.queries),
    }
}

/// The value of `eval.ways`, if it is set. Refuses it for a curve, and for a head that is "learned" if it is not `task.ways`.
fn ways(checker: &mut Checker, task: &Task, head: Head) -> Option<usize> {
    if task.kind == TaskKind::Sinusoid {
        checker.unused(&WAYS, &task::KIND, task.kind, "a curve has no classes");
        return None;
    }
    let ways = checker.find(&WAYS)?;
    if head == Head::Learned && ways != task.ways {
        let reason = format!(
            "`eval.ways` = {ways} differs from task.ways = {}, the number of rows of a head that is \"learned\"; set \
             inner.head = \"shared\" or \"prototype\", which suit any number of classes",
            task.ways
        );
        checker.contradicts(&WAYS, &HEAD, reason);
    }
    Some(ways)
}
