//! The keys above all sections.

use crate::config::checker::Checker;
use crate::config::choice::choice;
use crate::config::key::{Fixed, Is, Open, Otherwise, keys};
use crate::config::kind::{Count, Flag, Long, OneOf, between, long, one_of};

keys! {
    /// Seed of every random draw: weights, splits, episodes, coins.
    SEED: Fixed<Long> = "seed", long(0), Is(|| 0);
    /// Where tensors are computed; "auto" takes the fastest that is there.
    BACKEND: Fixed<OneOf<Backend>> = "backend", one_of(), Is(|| Backend::Auto);
    /// Threads of a CPU that compute; they change no result.
    THREADS: Open<Count> = "threads", between(1, 1024), Otherwise("one for each core");
    /// Whether the same configuration must give the same bits on the same machine: costs are then counted,
    /// not measured, and a GPU, whose kernels are chosen by their times, is refused.
    DETERMINISTIC: Fixed<Flag> = "deterministic", Flag, Is(|| false);
}

choice! {
    /// Where tensors are computed.
    pub enum Backend {
        /// The fastest that was compiled in and finds its device.
        Auto = "auto",
        /// CPU: Burn's Flex.
        Flex = "flex",
        /// CPU: ndarray.
        Ndarray = "ndarray",
        /// GPU: WebGPU.
        Wgpu = "wgpu",
        /// GPU: Vulkan.
        Vulkan = "vulkan",
        /// GPU: CUDA.
        Cuda = "cuda",
    }
}

/// What stands above all sections; see [`Config`](crate::config::Config).
pub struct Root {
    pub seed: u64,
    pub backend: Backend,
    pub threads: Option<usize>,
    pub deterministic: bool,
}

/// The keys, checked.
pub fn check(checker: &mut Checker) -> Root {
    let (seed, threads) = (checker.get(&SEED), checker.find(&THREADS));
    let (backend, deterministic) = (checker.get(&BACKEND), checker.get(&DETERMINISTIC));
    if deterministic && matches!(backend, Backend::Wgpu | Backend::Vulkan | Backend::Cuda) {
        let reason = format!(
            "`deterministic` = true does not go with backend = \"{backend}\": kernels of a GPU are chosen by \
             their times, and another choice rounds otherwise; use \"flex\" or \"ndarray\""
        );
        checker.contradicts(&DETERMINISTIC, &BACKEND, reason);
    }
    // "auto" takes no GPU then.
    let backend = if deterministic && backend == Backend::Auto { Backend::Flex } else { backend };
    Root { seed, backend, threads, deterministic }
}
