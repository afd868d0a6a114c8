//! The result of a measurement, as `metaburn bench --json` prints it.

use super::times::fastest;
use super::{Arithmetic, LaunchCounts, Measures, Rates, Setting, Timed};
use crate::config::Config;
use crate::task::Adapts;
use bilevel::device::Backend;
use bilevel::hypergradient::{Evaluations, Memory};
use bilevel::kernel::{InstructionSet, instruction_set};
use bilevel::stats::{mean, median};
use serde::{Deserialize, Serialize};

/// The measurement of an outer step or an evaluation. The JSON keys up to `cpu_per_wall` are those of the programs that measure other
/// frameworks. Values that the system does not report are `null`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measured {
    /// Letter of the setting.
    pub config: String,
    /// T, tasks per outer step or episodes of an evaluation.
    #[serde(rename = "T")]
    pub tasks: usize,
    /// N, classes per episode.
    #[serde(rename = "N")]
    pub ways: usize,
    /// K, support images per class.
    #[serde(rename = "K")]
    pub shots: usize,
    /// Q, query images per class.
    #[serde(rename = "Q")]
    pub queries: usize,
    /// r, inner steps.
    #[serde(rename = "r")]
    pub steps: usize,
    /// The estimator; "none" for an evaluation.
    #[serde(rename = "est")]
    pub estimator: String,
    /// Median time of a step, in milliseconds.
    pub step_ms_median: f64,
    /// Time of the fastest step, in milliseconds.
    pub step_ms_min: f64,
    /// Mean time of a step, in milliseconds.
    pub step_ms_mean: f64,
    /// Number of timed steps.
    pub reps: usize,
    /// T divided by the median step time, or by the mean step time if the steps differ in their evaluations.
    pub episodes_per_s: f64,
    /// Peak resident memory of this process, in MiB.
    pub peak_rss_mb: Option<f64>,
    /// Mean number of cores used by this process.
    pub cpu_per_wall: Option<f64>,
    /// Mean number of cores used by other processes. Above [`super::DISTURBED`], times should not be compared.
    pub others_cores: Option<f64>,
    /// The backend.
    pub backend: String,
    /// The device.
    pub device: String,
    /// Threads that the tasks are distributed over; `null` on a device that schedules its own.
    pub threads: Option<usize>,
    /// The instruction set of the engine's kernels; `null` on a backend without them.
    #[serde(default)]
    pub instruction_set: Option<InstructionSet>,
    /// The memory plan: store, snapshots or recompute; none for an evaluation.
    pub memory: String,
    /// Mean query loss of the last step.
    pub loss: Option<f64>,
    /// Mean GFLOP of a step; `null` for an evaluation, and if only the head adapts, and batch norm differs from inner step to inner step.
    pub gflop: Option<f64>,
    /// GFLOP per second.
    pub gflop_per_s: Option<f64>,
    /// The machine's rates and the step's shares of them, if requested.
    #[serde(flatten)]
    pub share: Option<Share>,
    /// The kernels that a step launches, if requested; absent on a backend that launches none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launches: Option<LaunchCounts>,
}

/// A step's arithmetic rate compared with the machine's.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Share {
    /// GFLOP/s of products of 1024 × 1024 matrices.
    pub matrix_gflop_per_s: f64,
    /// GFLOP/s of the matrix products of a first-order step, without its other operations.
    pub shapes_gflop_per_s: f64,
    /// The step's GFLOP/s divided by `matrix_gflop_per_s`.
    pub share: Option<f64>,
    /// The step's GFLOP/s divided by `shapes_gflop_per_s`.
    pub share_of_shapes: Option<f64>,
}

/// Measurements other than the times of the steps.
pub(super) struct Usage {
    /// Mean number of cores used by this process and by others.
    pub cores: Option<(f64, f64)>,
    /// Peak resident memory, in bytes.
    pub peak: Option<u64>,
    pub rates: Option<Rates>,
}

impl Measured {
    /// The measurement of the steps `taken`, each given by its milliseconds and evaluations.
    pub(super) fn new(
        setting: &Setting,
        config: &Config,
        step: &dyn Timed,
        taken: &[(f64, Evaluations)],
        usage: Usage,
    ) -> Self {
        let times: Vec<f64> = taken.iter().map(|(time, _)| *time).collect();
        let varies = taken.windows(2).any(|pair| pair[0].1 != pair[1].1);
        let typical = if varies { mean(&times) } else { median(&times) };
        let learner = step.learner();
        let arithmetic = Arithmetic::new(config, &*learner.architecture);
        let flop: Vec<f64> = taken.iter().map(|(_, evaluations)| arithmetic.flop(evaluations)).collect();
        let fixed_body = config.inner.adaptation().has_fixed_body(&*learner.architecture);
        let is_step = setting.measures == Measures::OuterStep;
        let counted = is_step && (config.inner.adapts != Adapts::Head || fixed_body);
        let gflop = counted.then(|| 1e-9 * mean(&flop));
        let gflop_per_s = gflop.map(|gflop| 1e3 * gflop / typical);
        let opened = &learner.opened;
        Self {
            config: setting.name.into(),
            tasks: config.outer.meta_batch,
            ways: config.task.ways,
            shots: config.task.shots,
            queries: config.task.queries,
            steps: config.inner.steps,
            estimator: if is_step { config.estimator.last().name().to_string() } else { "none".into() },
            step_ms_median: rounded(median(&times)),
            step_ms_min: rounded(fastest(&times)),
            step_ms_mean: rounded(mean(&times)),
            reps: times.len(),
            episodes_per_s: rounded(1e3 * config.outer.meta_batch as f64 / typical),
            peak_rss_mb: usage.peak.map(|bytes| rounded(bytes as f64 / f64::from(1 << 20))),
            cpu_per_wall: usage.cores.map(|(own, _)| rounded(own)),
            others_cores: usage.cores.map(|(_, others)| rounded(others)),
            backend: opened.backend.to_string(),
            device: opened.description.clone(),
            threads: opened.is_cpu().then_some(opened.workers.threads),
            instruction_set: instruction_set().ok().filter(|_| opened.backend == Backend::Flex),
            memory: memory_name(step.memory()).into(),
            loss: Some(step.loss()).filter(|loss| loss.is_finite()),
            gflop: gflop.map(rounded_finely),
            gflop_per_s: gflop_per_s.map(rounded_finely),
            share: usage.rates.map(|rates| Share {
                matrix_gflop_per_s: rounded(rates.large),
                shapes_gflop_per_s: rounded(rates.shapes),
                share: gflop_per_s.map(|rate| rounded_finely(rate / rates.large)),
                share_of_shapes: gflop_per_s.map(|rate| rounded_finely(rate / rates.shapes)),
            }),
            launches: None,
        }
    }
}

fn memory_name(memory: Option<Memory>) -> &'static str {
    match memory {
        Some(Memory::Store) => "store",
        Some(Memory::Snapshots(_)) => "snapshots",
        Some(Memory::Recompute) => "recompute",
        None => "none",
    }
}

/// Rounds to three decimals, the precision of the timings.
fn rounded(value: f64) -> f64 {
    (1e3 * value).round() / 1e3
}

/// Rounds to six decimals, for the small numbers of small networks.
fn rounded_finely(value: f64) -> f64 {
    (1e6 * value).round() / 1e6
}
