//! The record of a measurement, as `metaburn bench --json` prints it.

use super::times::{fastest, median};
use super::{Arithmetic, OuterStep, Rates};
use crate::config::{Adapts, Config};
use crate::hypergradient::{Evaluations, Memory};
use crate::interval::mean;
use serde::{Deserialize, Serialize};

/// One outer step, measured. The names up to `cpu_per_wall` are those of the programs that measure other
/// frameworks; what a system does not say is `null`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measured {
    /// The setting's letter.
    pub config: String,
    /// T, tasks of an outer step.
    #[serde(rename = "T")]
    pub tasks: usize,
    /// N, classes of an episode.
    #[serde(rename = "N")]
    pub ways: usize,
    /// K, support images of each class.
    #[serde(rename = "K")]
    pub shots: usize,
    /// Q, query images of each class.
    #[serde(rename = "Q")]
    pub queries: usize,
    /// Inner steps.
    #[serde(rename = "r")]
    pub steps: usize,
    /// The estimator.
    #[serde(rename = "est")]
    pub estimator: String,
    /// Milliseconds of a step.
    pub step_ms_median: f64,
    /// Of the fastest.
    pub step_ms_min: f64,
    /// On average.
    pub step_ms_mean: f64,
    /// Steps timed.
    pub reps: usize,
    /// T over the median step's time; over the mean's where chance decides what a step evaluates.
    pub episodes_per_s: f64,
    /// The most that this process had resident, MiB.
    pub peak_rss_mb: Option<f64>,
    /// Cores that it kept busy.
    pub cpu_per_wall: Option<f64>,
    /// Cores that others kept busy meanwhile; beyond [`super::DISTURBED`] a time is not worth comparing.
    pub others_cores: Option<f64>,
    /// The backend.
    pub backend: String,
    /// Its device.
    pub device: String,
    /// Threads that tasks are shared out to; `null` on a device with threads of its own.
    pub threads: Option<usize>,
    /// The memory plan: store, snapshots or recompute.
    pub memory: String,
    /// Mean query loss of the last step.
    pub loss: Option<f64>,
    /// Arithmetic of a step; `null` where only the head adapts.
    pub gflop: Option<f64>,
    /// The same a second.
    pub gflop_per_s: Option<f64>,
    /// The machine's rates and a step's shares of them, where asked for.
    #[serde(flatten)]
    pub share: Option<Share>,
}

/// A step's arithmetic beside the machine's.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Share {
    /// GFLOP/s of a product of two 1024 × 1024 matrices.
    pub matrix_gflop_per_s: f64,
    /// GFLOP/s of the products of a first-order step alone.
    pub shapes_gflop_per_s: f64,
    /// The step's GFLOP/s over the first.
    pub share: Option<f64>,
    /// Over the second.
    pub share_of_shapes: Option<f64>,
}

/// What was found beside the steps' times.
pub(super) struct Found {
    /// Cores kept busy by this process and by others.
    pub cores: Option<(f64, f64)>,
    /// The most bytes resident.
    pub peak: Option<u64>,
    pub rates: Option<Rates>,
}

impl Measured {
    /// Of the steps `taken`, each with its milliseconds.
    pub(super) fn new(
        setting: &str,
        config: &Config,
        step: &OuterStep,
        taken: &[(f64, Evaluations)],
        found: Found,
    ) -> Self {
        let times: Vec<f64> = taken.iter().map(|(time, _)| *time).collect();
        let varies = taken.windows(2).any(|pair| pair[0].1 != pair[1].1);
        let typical = if varies { mean(&times) } else { median(&times) };
        let learner = step.learner();
        let arithmetic = Arithmetic::new(config, &*learner.architecture);
        let flop: Vec<f64> = taken.iter().map(|(_, evaluations)| arithmetic.flop(evaluations)).collect();
        let gflop = (config.inner.adapts == Adapts::All).then(|| 1e-9 * mean(&flop));
        let gflop_per_s = gflop.map(|gflop| 1e3 * gflop / typical);
        let opened = &learner.opened;
        Self {
            config: setting.into(),
            tasks: config.outer.meta_batch,
            ways: config.task.ways,
            shots: config.task.shots,
            queries: config.task.queries,
            steps: config.inner.steps,
            estimator: config.estimator.name().into(),
            step_ms_median: rounded(median(&times)),
            step_ms_min: rounded(fastest(&times)),
            step_ms_mean: rounded(mean(&times)),
            reps: times.len(),
            episodes_per_s: rounded(1e3 * config.outer.meta_batch as f64 / typical),
            peak_rss_mb: found.peak.map(|bytes| rounded(bytes as f64 / f64::from(1 << 20))),
            cpu_per_wall: found.cores.map(|(own, _)| rounded(own)),
            others_cores: found.cores.map(|(_, others)| rounded(others)),
            backend: opened.backend.to_string(),
            device: opened.description.clone(),
            threads: opened.is_cpu().then_some(opened.workers.threads),
            memory: memory_name(opened.workers.memory).into(),
            loss: Some(step.loss()).filter(|loss| loss.is_finite()),
            gflop: gflop.map(finely),
            gflop_per_s: gflop_per_s.map(finely),
            share: found.rates.map(|rates| Share {
                matrix_gflop_per_s: rounded(rates.large),
                shapes_gflop_per_s: rounded(rates.shapes),
                share: gflop_per_s.map(|rate| finely(rate / rates.large)),
                share_of_shapes: gflop_per_s.map(|rate| finely(rate / rates.shapes)),
            }),
        }
    }
}

fn memory_name(memory: Memory) -> &'static str {
    match memory {
        Memory::Store => "store",
        Memory::Snapshots(_) => "snapshots",
        Memory::Recompute => "recompute",
    }
}

/// To three decimals: more are noise.
fn rounded(value: f64) -> f64 {
    (1e3 * value).round() / 1e3
}

/// To six, where small networks have small numbers.
fn finely(value: f64) -> f64 {
    (1e6 * value).round() / 1e6
}
