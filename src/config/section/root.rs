//! The top-level keys.

use crate::config::checker::Checker;
use crate::config::key::{Fixed, Is, Open, Otherwise, keys};
use crate::config::kind::{Count, Flag, Long, OneOf, between, long, one_of};
use bilevel::device::Backend;

keys! {
    /// Seed of all random draws: initial weights, splits, episodes, coins.
    SEED: Fixed<Long> = "seed", long(0), Is(|| 0);
    /// Compute backend; "auto" chooses the fastest one available.
    BACKEND: Fixed<OneOf<Backend>> = "backend", one_of(), Is(|| Backend::Auto);
    /// Number of CPU threads. It does not change results.
    THREADS: Open<Count> = "threads", between(1, 1024), Otherwise("one per core");
    /// Whether a GPU records the kernel launches of outer steps as graphs and replays them. This saves most of the host's
    /// time, but the memory of everything that a graph computes stays allocated. Results do not change.
    GRAPHS: Fixed<Flag> = "graphs", Flag, Is(|| true);
    /// Whether runs of the same configuration must give bit-identical results on the same machine. Costs are then counted
    /// instead of measured, and GPUs are refused, because their kernels are chosen by measured run times.
    DETERMINISTIC: Fixed<Flag> = "deterministic", Flag, Is(|| false);
}

/// The values of the top-level keys; see [`Config`](crate::config::Config).
pub struct Root {
    pub seed: u64,
    pub backend: Backend,
    pub threads: Option<usize>,
    pub graphs: bool,
    pub deterministic: bool,
}

/// Checks the top-level keys.
pub fn check(checker: &mut Checker) -> Root {
    let (seed, threads, graphs) = (checker.get(&SEED), checker.find(&THREADS), checker.get(&GRAPHS));
    let (backend, deterministic) = (checker.get(&BACKEND), checker.get(&DETERMINISTIC));
    if deterministic && matches!(backend, Backend::Wgpu | Backend::Vulkan | Backend::Cuda) {
        let reason = format!(
            "`deterministic` = true cannot be combined with backend = \"{backend}\": GPU kernels are chosen \
             by measured times, and different kernels round differently; use \"flex\" or \"ndarray\""
        );
        checker.contradicts(&DETERMINISTIC, &BACKEND, reason);
    }
    // Without this, "auto" could choose a GPU.
    let backend = if deterministic && backend == Backend::Auto { Backend::Flex } else { backend };
    Root { seed, backend, threads, graphs, deterministic }
}
