//! The kernels that an outer step launches on a GPU backend, the host's time for them, and the memory that they use.

use super::usage::thread_ms;
use super::{Error, OuterStep, Timed};
use bilevel::Choice;
use bilevel::launches::{self, Counts, Phase};
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
    /// Bytes that metaburn's own kernels read and write, each value counted once per launch. Those of Burn's kernels are unknown.
    pub bytes: f64,
    /// Transfers from the device to the host; each waits for the work queued before it.
    pub read_backs: f64,
    /// Device memory, if the backend reports it.
    pub memory: Option<DeviceMemory>,
    /// The parts of a step that launch anything.
    pub phases: Vec<PhaseCounts>,
    /// The same step with recorded graphs, unless they are turned off or the device cannot record them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub with_graphs: Option<GraphCounts>,
}

/// Memory of a device, in megabytes (10⁶ bytes).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeviceMemory {
    /// Reserved by this process after the steps.
    pub reserved_mb: f64,
    /// Reserved in addition by each step: 0 if a step finds room in what earlier ones have released.
    pub allocated_mb: f64,
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
    /// Device memory, if the backend reports it. A graph keeps its own.
    pub memory: Option<DeviceMemory>,
}

/// The launches of one part of an outer step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PhaseCounts {
    /// Name of the part.
    pub phase: String,
    /// Its launches.
    pub total: f64,
    /// Bytes that metaburn's own kernels read and write.
    pub bytes: f64,
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
    /// Bytes that they read and write; absent for kernels of Burn, which do not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<f64>,
}

impl LaunchCounts {
    /// Counts the launches of `step`, which has been taken before, so that kernels are tuned. `None` if the backend
    /// launches no kernels. Afterwards θ has arbitrary values.
    pub(super) fn measure(step: &mut OuterStep) -> Result<Option<Self>, Error> {
        if step.learner().opened.is_cpu() {
            return Ok(None);
        }
        step.record_graphs(false);
        let (counts, memory) = count(step)?;
        let host_ms =
            (0..TIMED).map(|_| launches::without_device(|| step.queue())).collect::<Result<Vec<_>, _>>()?;
        let with_graphs = if step.wants_graphs() { GraphCounts::measure(step)? } else { None };
        let phases = Phase::ALL.iter().map(|phase| PhaseCounts::new(*phase, &counts));
        let phases: Vec<_> = phases.filter(|phase| phase.total > 0.0).collect();
        Ok(Some(Self {
            total: phases.iter().map(|phase| phase.total).sum(),
            host_ms: median(&host_ms),
            bytes: phases.iter().map(|phase| phase.bytes).sum(),
            read_backs: per_step(counts.read_backs),
            memory,
            phases,
            with_graphs,
        }))
    }
}

impl PhaseCounts {
    /// What belongs to `phase` of all that was counted.
    fn new(phase: Phase, counts: &Counts) -> Self {
        let own = counts.kernels.iter().filter(|((of, _), _)| *of == phase);
        let mut kernels: Vec<KernelCount> = own
            .map(|((_, kernel), counted)| KernelCount {
                kernel: kernel.clone(),
                total: per_step(counted.launches),
                bytes: (counted.bytes > 0).then(|| per_step(counted.bytes)),
            })
            .collect();
        kernels.sort_by(|a, b| b.total.total_cmp(&a.total));
        Self {
            phase: phase.to_string(),
            total: kernels.iter().map(|kernel| kernel.total).sum(),
            bytes: kernels.iter().filter_map(|kernel| kernel.bytes).sum(),
            kernels,
        }
    }
}

/// The mean over the counted steps.
fn per_step(count: u64) -> f64 {
    count as f64 / COUNTED as f64
}

/// What [`COUNTED`] steps launch, and the device's memory after them.
fn count(step: &mut OuterStep) -> Result<(Counts, Option<DeviceMemory>), Error> {
    let device = step.learner().opened.device.clone();
    let reserved = || device.memory_pool_usage().map(|usage| usage.bytes_reserved);
    let before = reserved();
    let (taken, counts) = launches::count(|| (0..COUNTED).try_for_each(|_| step.take().map(|_| ())));
    taken?;
    let memory = before.zip(reserved()).map(|(before, after)| DeviceMemory {
        reserved_mb: after as f64 / 1e6,
        allocated_mb: per_step(after.saturating_sub(before)) / 1e6,
    });
    Ok((counts, memory))
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
        let (counts, memory) = count(step)?;
        let [total, graphs] = [counts.launches(), counts.launches_of(Phase::Replays)].map(per_step);
        let mut used = Vec::with_capacity(TIMED);
        for _ in 0..TIMED {
            let before = thread_ms();
            step.queue()?;
            used.extend(before.zip(thread_ms()).map(|(before, after)| after - before));
        }
        let host_ms = (used.len() == TIMED).then(|| median(&used));
        Ok(Some(Self { total, graphs, host_ms, memory }))
    }
}
