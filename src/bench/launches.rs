//! The kernels that an outer step launches on a GPU backend, and the host's time for them.

use super::usage::thread_ms;
use super::{Error, OuterStep, Timed};
use bilevel::Choice;
use bilevel::launches::{self, Launches, Phase};
use bilevel::stats::median;
use serde::{Deserialize, Serialize};

/// Outer steps that are counted: both meta-batches.
const COUNTED: usize = 2;

/// Outer steps whose host time is taken.
const TIMED: usize = 5;

/// The launches of an outer step. Counts are means over steps: they differ from step to step if an estimator draws coins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LaunchCounts {
    /// Launches of a step.
    pub total: f64,
    /// Median time in which the host prepares and queues them, in milliseconds, measured without the device's work.
    pub host_ms: f64,
    /// The parts of a step that launch anything.
    pub phases: Vec<PhaseCounts>,
    /// The same step with recorded graphs, unless they are turned off or the device cannot record them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub with_graphs: Option<GraphCounts>,
}

/// The launches of an outer step that replays graphs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct GraphCounts {
    /// Launches of a step, a graph counted as one.
    pub total: f64,
    /// Graphs among them.
    pub graphs: f64,
    /// Median CPU time of the thread that issues them, in milliseconds; `None` if unknown. A graph cannot be queued without being
    /// run, so waiting for the device is not counted.
    pub host_ms: Option<f64>,
}

/// The launches of one part of an outer step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PhaseCounts {
    /// Name of the part.
    pub phase: String,
    /// Its launches.
    pub total: f64,
    /// Its kernels, the most frequent first.
    pub kernels: Vec<KernelCount>,
}

/// The launches of one kernel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KernelCount {
    /// Name of the kernel.
    pub kernel: String,
    /// Its launches.
    pub total: f64,
}

impl LaunchCounts {
    /// Counts the launches of `step`, which has been taken before, so that kernels are tuned. `None` if the backend
    /// launches no kernels. Afterwards θ has arbitrary values.
    pub(super) fn measure(step: &mut OuterStep) -> Result<Option<Self>, Error> {
        if step.learner().opened.is_cpu() {
            return Ok(None);
        }
        step.record_graphs(false);
        let counts = Self::count(step)?;
        let host_ms =
            (0..TIMED).map(|_| launches::without_device(|| step.queue())).collect::<Result<Vec<_>, _>>()?;
        let with_graphs = if step.wants_graphs() { GraphCounts::measure(step)? } else { None };
        let phases = Phase::ALL.iter().map(|phase| {
            let own = counts.iter().filter(|((of, _), _)| of == phase);
            let mut kernels: Vec<KernelCount> = own
                .map(|((_, kernel), count)| KernelCount {
                    kernel: kernel.clone(),
                    total: *count as f64 / COUNTED as f64,
                })
                .collect();
            kernels.sort_by(|a, b| b.total.total_cmp(&a.total));
            let total = kernels.iter().map(|kernel| kernel.total).sum();
            PhaseCounts { phase: phase.to_string(), total, kernels }
        });
        let phases: Vec<_> = phases.filter(|phase| phase.total > 0.0).collect();
        let total = phases.iter().map(|phase| phase.total).sum();
        Ok(Some(Self { total, host_ms: median(&host_ms), phases, with_graphs }))
    }

    /// The launches of [`COUNTED`] steps.
    fn count(step: &mut OuterStep) -> Result<Launches, Error> {
        let (taken, counts) = launches::count(|| (0..COUNTED).try_for_each(|_| step.take().map(|_| ())));
        taken.map(|()| counts)
    }
}

impl GraphCounts {
    /// `None` if the device cannot record graphs.
    fn measure(step: &mut OuterStep) -> Result<Option<Self>, Error> {
        step.record_graphs(true);
        // The first asks, the second records and replays.
        for _ in 0..2 {
            step.take()?;
        }
        if step.graphs_refused() {
            return Ok(None);
        }
        let counts = LaunchCounts::count(step)?;
        let per_step = |count: u64| count as f64 / COUNTED as f64;
        let replays = counts.iter().filter(|((phase, _), _)| *phase == Phase::Replays);
        let graphs = per_step(replays.map(|(_, count)| count).sum());
        let mut used = Vec::with_capacity(TIMED);
        for _ in 0..TIMED {
            let before = thread_ms();
            step.queue()?;
            used.extend(before.zip(thread_ms()).map(|(before, after)| after - before));
        }
        let host_ms = (used.len() == TIMED).then(|| median(&used));
        Ok(Some(Self { total: per_step(counts.values().sum()), graphs, host_ms }))
    }
}
