//! The keys above all sections.

use crate::config::checker::Checker;
use crate::config::choice::choice;
use crate::config::key::{Fixed, Is, Open, Otherwise, keys};
use crate::config::kind::{Count, Long, OneOf, between, long, one_of};

keys! {
    /// Seed of every random draw: weights, splits, episodes, coins.
    SEED: Fixed<Long> = "seed", long(0), Is(|| 0);
    /// Where tensors are computed; "auto" takes the fastest that is there.
    BACKEND: Fixed<OneOf<Backend>> = "backend", one_of(), Is(|| Backend::Auto);
    /// Threads of a CPU that compute; they change no result.
    THREADS: Open<Count> = "threads", between(1, 1024), Otherwise("one for each core");
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

/// The seed, the backend and its threads.
pub fn check(checker: &mut Checker) -> (u64, Backend, Option<usize>) {
    (checker.get(&SEED), checker.get(&BACKEND), checker.find(&THREADS))
}
