//! `[task]`: what is learned, and the shape of an episode.

use crate::config::checker::Checker;
use crate::config::key::{Fixed, Is, Open, Otherwise, keys};
use crate::config::kind::{Count, OneOf, at_least, one_of};
use bilevel::choice;
use serde::Serialize;

keys! {
    /// Kind of task: image "classification", or regression of a "sinusoid" (the regression example of the MAML paper).
    KIND: Fixed<OneOf<TaskKind>> = "task.kind", one_of(), Is(|| TaskKind::Classification);
    /// Number of classes per episode.
    WAYS: Open<Count> = "task.ways", at_least(2), Otherwise("5; a sinusoid has none");
    /// Support images per class, or support points of a sinusoid, to which the network adapts.
    SHOTS: Fixed<Count> = "task.shots", at_least(1), Is(|| 1);
    /// Query images per class, or query points of a sinusoid, on which the adapted network is evaluated.
    QUERIES: Fixed<Count> = "task.queries", at_least(1), Is(|| 5);
}

choice! {
    /// What is learned.
    pub enum TaskKind {
        /// To classify images from a few of each class.
        Classification = "classification",
        /// To continue a sinusoid from a few of its points.
        Sinusoid = "sinusoid",
    }
}

/// What is learned, and the shape of an episode.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Task {
    /// What is learned. Left out of a written configuration if it is classification, as in those of earlier versions.
    #[serde(skip_serializing_if = "is_classification")]
    pub kind: TaskKind,
    /// Number of classes in an episode, ≥ 2; 1 for sinusoids, whose network has one output.
    #[serde(skip_serializing_if = "is_one")]
    pub ways: usize,
    /// Support images per class, or support points, ≥ 1.
    pub shots: usize,
    /// Query images per class, or query points, in training, ≥ 1.
    pub queries: usize,
}

fn is_classification(kind: &TaskKind) -> bool {
    *kind == TaskKind::Classification
}

fn is_one(ways: &usize) -> bool {
    *ways == 1
}

/// Checks the section.
pub fn check(checker: &mut Checker) -> Task {
    let kind = checker.get(&KIND);
    let ways = match kind {
        TaskKind::Classification => checker.find(&WAYS).unwrap_or(5),
        TaskKind::Sinusoid => {
            checker.unused(&WAYS, &KIND, kind, "a curve has no classes");
            1
        }
    };
    Task { kind, ways, shots: checker.get(&SHOTS), queries: checker.get(&QUERIES) }
}
