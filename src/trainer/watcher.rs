//! What a run tells whoever watches it, which is also what it records.

use crate::config::BatchNorm;
use serde::Serialize;
use serde_json::{Map, Value};

/// One outer step, as `metrics.jsonl` has it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct StepRecord {
    /// Outer steps taken, this one included.
    pub step: u64,
    /// Mean query loss of the meta-batch after adaptation.
    pub loss: f64,
    /// Norm of the estimate, before clipping.
    pub gradient_norm: f64,
    /// Whether it was clipped.
    pub clipped: bool,
    /// The outer learning rate.
    pub rate: f64,
    /// Hessian-vector products of this step.
    pub products: u64,
    /// Inner steps of this step taken again for iterates that were not kept, each counted once per
    /// task; they are part of `gradient_evaluations`.
    pub recomputed: u64,
    /// Most bytes of iterates that one worker kept at once in this step: of one task on a CPU, of the
    /// whole meta-batch on a GPU. How many threads work does not change it.
    pub iterate_bytes: u64,
    /// Gradient evaluations so far.
    pub gradient_evaluations: u64,
    /// Numbers of the training episodes that were left out of the mean, since their loss or gradient is not
    /// finite.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dropped_episodes: Vec<u64>,
    /// Outer steps so far that left θ as it was, since they diverged; the loss of such a step may be none.
    #[serde(skip_serializing_if = "is_zero")]
    pub skipped_steps: u64,
    /// How often the run went back to a checkpoint so far, since it diverged.
    #[serde(skip_serializing_if = "is_zero")]
    pub rewinds: u64,
    /// What the estimator knew and did, for one that adapts.
    #[serde(flatten)]
    pub estimator: Map<String, Value>,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// One validation, as `metrics.jsonl` has it.
#[derive(Clone, Debug, Serialize)]
pub struct ValidationRecord {
    /// After how many outer steps.
    pub step: u64,
    /// Percent.
    pub validation_accuracy: f64,
    /// Half of its 95 % interval, percent.
    pub ci95: f64,
    /// Mean query loss.
    pub validation_loss: f64,
    /// How many episodes.
    pub episodes: usize,
    /// Whose statistics batch norm used.
    pub batch_norm: BatchNorm,
    /// Gradient evaluations so far.
    pub gradient_evaluations: u64,
}

/// What a run tells whoever watches it.
pub trait Watcher {
    /// An outer step was taken; `progress` is the share of the budget used, 0 to 1.
    fn step(&mut self, _record: &StepRecord, _progress: f64) {}
    /// A validation was made.
    fn validation(&mut self, _record: &ValidationRecord) {}
    /// Something to know that stops nothing.
    fn warning(&mut self, _text: &str) {}
    /// Whether to stop after the step at hand.
    fn stops(&self) -> bool {
        false
    }
}
