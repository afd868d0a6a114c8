//! The memory plan of a run: what its configuration comes to on this device.

use super::Learner;
use crate::config::{Config, Estimator, MemoryPlan};
use crate::hypergradient::Memory;
use std::fmt;

/// The plan, and what it costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// How many iterates are kept of each task.
    pub memory: Memory,
    /// The most inner steps that a walk goes back; 0 for an estimator that does not walk.
    pub walked: usize,
    /// The most bytes that the iterates of all tasks at hand take.
    pub most_bytes: u64,
}

impl Plan {
    /// The plan of `config` for `learner`.
    pub fn new(config: &Config, learner: &Learner) -> Self {
        let walked = walked(&config.estimator, config.inner.steps);
        let tasks = learner.opened.workers.at_once(config.outer.meta_batch);
        // Training computes in single precision.
        let bytes = |memory: Memory| {
            let iterates = memory.kept(walked).saturating_mul(tasks) as u64;
            iterates.saturating_mul((learner.fast_weights() * size_of::<f32>()) as u64)
        };
        let memory = match config.memory {
            MemoryPlan::Auto { budget } if bytes(Memory::Store) > (budget as u64) << 20 => {
                Memory::square_root(walked)
            }
            MemoryPlan::Auto { .. } | MemoryPlan::Store => Memory::Store,
            MemoryPlan::Snapshots { snapshots } => Memory::Snapshots(snapshots),
            MemoryPlan::Recompute => Memory::Recompute,
        };
        Self { memory, walked, most_bytes: bytes(memory) }
    }
}

/// The most of `steps` inner steps that `estimator` walks back.
fn walked(estimator: &Estimator, steps: usize) -> usize {
    match estimator {
        Estimator::FirstOrder | Estimator::Reptile | Estimator::Implicit { .. } => 0,
        Estimator::Truncated { truncate } => *truncate,
        Estimator::Exact
        | Estimator::Ufom { .. }
        | Estimator::Adaptive { .. }
        | Estimator::StepCoins { .. }
        | Estimator::AdaptiveStepCoins { .. }
        | Estimator::Telescoping { .. }
        | Estimator::AdaptiveTelescoping { .. } => steps,
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.walked == 0 {
            return out.write_str("memory: no inner step is walked back, so no iterate is kept");
        }
        let kept = match self.memory.kept(self.walked) {
            all if all == self.walked => "every iterate that is needed is stored".into(),
            1 => "one iterate of a task is kept".into(),
            some => format!("up to {some} iterates of a task are kept"),
        };
        let mebibytes = self.most_bytes as f64 / f64::from(1 << 20);
        let (again, walked) = (self.memory.recomputed(self.walked), self.walked);
        write!(out, "memory: {kept}, at most {mebibytes:.1} MiB for all tasks at hand; ")?;
        write!(out, "a walk back through {walked} inner steps takes {again} again")
    }
}
