//! Settings of the outer loop, and the learning rate of each outer step.

use crate::losses::OuterLosses;
use crate::optimizer::Optimizer;
use crate::schedule::{Budget, Schedule, warm_up};
use serde::{Deserialize, Serialize};

/// Settings of the outer loop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OuterSettings {
    /// The optimiser.
    #[serde(flatten)]
    pub optimizer: Optimizer,
    /// Initial learning rate, > 0.
    pub rate: f64,
    /// Learning-rate schedule.
    pub schedule: Schedule,
    /// The learning rate that [`Schedule::Linear`] and [`Schedule::Cosine`] reach when the budget is used up, from 0 to
    /// `rate`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub final_rate: f64,
    /// Outer steps of warm-up: the learning rate of outer step k ≤ `warmup` is k / `warmup` times that of the schedule.
    /// So step 1 has `rate` / `warmup`, and step `warmup` is the first at the full rate of the schedule. 0 turns it off.
    #[serde(default, skip_serializing_if = "is_default")]
    pub warmup: u64,
    /// Tasks in a meta-batch, ≥ 1. For the caller, who makes the problems; the loop itself uses all tasks of each
    /// problem.
    pub meta_batch: usize,
    /// When training ends.
    #[serde(flatten)]
    pub budget: Budget,
    /// The largest norm of the hypergradient, > 0; a longer one is scaled down to it. `None` turns clipping off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip: Option<f64>,
    /// Weight decay, ≥ 0; decoupled from the gradient in AdamW.
    pub weight_decay: f64,
    /// The losses along the inner loop that the outer objective has.
    #[serde(flatten)]
    pub losses: OuterLosses,
}

impl OuterSettings {
    /// The learning rate of outer step `step` (from 1), when `progress` (0 to 1) of the budget is used before it:
    /// min(1, step / warmup) · (final + s · (rate − final)), s the schedule's [share](Schedule::share).
    pub fn rate_of(&self, step: u64, progress: f64) -> f64 {
        let share = self.schedule.share(progress);
        warm_up(step, self.warmup) * (self.final_rate + share * (self.rate - self.final_rate))
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Default for OuterSettings {
    /// Adam at 10⁻³ with cosine decay to 0 over 1000 outer steps and meta-batches of 16, without clipping or weight decay.
    fn default() -> Self {
        Self {
            optimizer: Optimizer::default(),
            rate: 1e-3,
            schedule: Schedule::Cosine,
            final_rate: 0.0,
            warmup: 0,
            meta_batch: 16,
            budget: Budget::Steps(1000),
            clip: None,
            weight_decay: 0.0,
            losses: OuterLosses::Last,
        }
    }
}
