//! The memory plan of a run and its cost on the device, as `metaburn train` prints them.

use super::Learner;
use crate::config::Config;
use bilevel::hypergradient::{IterateSize, Memory};
use std::fmt;

/// The memory plan of a run, and its cost. With several estimators in turn, it is the plan of the one that differentiates
/// the most inner steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// How many iterates are stored per task.
    pub memory: Memory,
    /// The most inner steps of a backward pass; 0 for an estimator without a backward pass.
    pub depth: usize,
    /// Upper bound of the bytes of stored iterates, over all tasks computed at the same time and all estimators.
    pub most_bytes: u64,
}

impl Plan {
    /// The plan of `config` for `learner`. The number of threads changes the bytes, but not the plan.
    pub fn new(config: &Config, learner: &Learner) -> Self {
        let (tasks, steps) = (config.outer.meta_batch, config.inner.steps);
        // Training computes in single precision.
        let bytes = (learner.fast_weights() * size_of::<f32>()) as u64;
        let at_once = learner.opened.workers.at_once(tasks);
        let plan = |depth| {
            let memory = config.memory.resolve(IterateSize { tasks, depth, bytes });
            Self { memory, depth, most_bytes: IterateSize { tasks: at_once, depth, bytes }.kept(memory) }
        };
        // A shallower phase can store more than the deepest: all of its iterates, if they are within the budget.
        // Losses along the inner loop need their iterates, however shallow the estimator.
        let passed = steps - config.outer.losses.weights(steps, 0).first();
        let depths =
            config.estimator.build().into_iter().map(|estimator| estimator.max_depth(steps).max(passed));
        let most_bytes = depths.map(|depth| plan(depth).most_bytes).max().unwrap_or(0);
        Self { most_bytes, ..plan(config.estimator.max_depth(steps).max(passed)) }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.depth == 0 {
            return out.write_str("memory: no inner step is differentiated, so no iterate is stored");
        }
        let kept = match self.memory.kept(self.depth) {
            all if all == self.depth => "all iterates that are needed are stored".into(),
            1 => "one iterate per task is stored".into(),
            some => format!("up to {some} iterates per task are stored"),
        };
        let mebibytes = self.most_bytes as f64 / f64::from(1 << 20);
        let (again, depth) = (self.memory.recomputed(self.depth), self.depth);
        write!(out, "memory: {kept}, at most {mebibytes:.1} MiB for the tasks computed at the same time; ")?;
        write!(out, "an exact gradient through {depth} inner steps recomputes {again} of them")
    }
}
