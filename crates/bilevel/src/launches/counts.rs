//! What is counted while work runs: launches of each kernel, the bytes of their arguments, reads from the device.
//!
//! The runtime reports only the names of kernels. So our kernels add up the bytes that they will read and write as their arguments are
//! made ([`bound`]); the next launch of the thread is theirs.

use super::Phase;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

/// What [`count`] has counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counts {
    /// The launches of each kernel in each phase.
    pub kernels: BTreeMap<(Phase, String), Kernel>,
    /// Transfers from the device to the host, each of which waits for the work queued before it.
    pub read_backs: u64,
}

impl Counts {
    /// All launches, a graph counted as one.
    pub fn launches(&self) -> u64 {
        self.kernels.values().map(|kernel| kernel.launches).sum()
    }

    /// The launches of one phase.
    pub fn launches_of(&self, phase: Phase) -> u64 {
        let kernels = self.kernels.iter().filter(|((of, _), _)| *of == phase);
        kernels.map(|(_, kernel)| kernel.launches).sum()
    }
}

/// The launches of a kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kernel {
    /// Number of launches.
    pub launches: u64,
    /// Bytes that they read and write, each value counted once; 0 for kernels of Burn, which do not tell.
    pub bytes: u64,
}

/// Graphs replayed by this process.
static REPLAYED: AtomicU64 = AtomicU64::new(0);

/// Transfers to the host by this process.
static READ_BACKS: AtomicU64 = AtomicU64::new(0);

#[cfg(feature = "cube")]
thread_local! {
    /// Bytes of the arguments made for the next launch of this thread.
    static BYTES: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// Counts a graph as replayed.
pub(crate) fn replayed() {
    REPLAYED.fetch_add(1, Ordering::Relaxed);
}

/// Counts a transfer to the host.
pub(crate) fn read_back() {
    READ_BACKS.fetch_add(1, Ordering::Relaxed);
}

/// Adds an argument, of which a kernel uses these `bytes`, to the next launch of this thread.
#[cfg(feature = "cube")]
pub(crate) fn bound(bytes: usize) {
    BYTES.set(BYTES.get() + bytes as u64);
}

/// Runs `work`, which launches one kernel of Burn that uses these `bytes`, while arguments of another launch are being made.
#[cfg(feature = "cube")]
pub(crate) fn interposed<R>(bytes: usize, work: impl FnOnce() -> R) -> R {
    let others = BYTES.replace(bytes as u64);
    let result = work();
    BYTES.set(others);
    result
}

/// Runs `work` and counts the kernels that this process launches meanwhile, on all threads, and what it reads back. CPU backends
/// launch none.
#[cfg(feature = "cube")]
pub fn count<R>(work: impl FnOnce() -> R) -> (R, Counts) {
    use super::CURRENT;
    use burn_cubecl::cubecl::logging::{LaunchObservation, LaunchObserver};
    use std::collections::HashMap;
    use std::sync::{Arc, Mutex, PoisonError};

    #[derive(Default)]
    struct Counter(Mutex<HashMap<(Phase, &'static str), Kernel>>);

    impl LaunchObserver for Counter {
        fn launched(&self, kernel: &'static str) {
            let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let counted = counts.entry((CURRENT.get(), kernel)).or_default();
            counted.launches += 1;
            counted.bytes += BYTES.take();
        }
    }

    // What was launched before this was not observed.
    BYTES.set(0);
    let counter = Arc::new(Counter::default());
    let [replayed, read] = [&REPLAYED, &READ_BACKS].map(|total| total.load(Ordering::Relaxed));
    let observation = LaunchObservation::new(counter.clone());
    let result = work();
    drop(observation);
    let mut counts = Counts { read_backs: READ_BACKS.load(Ordering::Relaxed) - read, ..Counts::default() };
    let replays = REPLAYED.load(Ordering::Relaxed) - replayed;
    if replays > 0 {
        let graphs = Kernel { launches: replays, bytes: 0 };
        counts.kernels.insert((Phase::Replays, "graph".into()), graphs);
    }
    let observed = std::mem::take(&mut *counter.0.lock().unwrap_or_else(PoisonError::into_inner));
    for ((phase, kernel), counted) in observed {
        let all = counts.kernels.entry((phase, short_name(kernel))).or_default();
        all.launches += counted.launches;
        all.bytes += counted.bytes;
    }
    (result, counts)
}

/// Runs `work`; this build has no backend that launches kernels.
#[cfg(not(feature = "cube"))]
pub fn count<R>(work: impl FnOnce() -> R) -> (R, Counts) {
    let before = READ_BACKS.load(Ordering::Relaxed);
    let result = work();
    let read_backs = READ_BACKS.load(Ordering::Relaxed) - before;
    (result, Counts { read_backs, ..Counts::default() })
}

/// The name of a kernel's function, from the name of its type: `a::unary::Unary<x::Exp, f32>` → `Unary<Exp, f32>`.
#[cfg_attr(not(feature = "cube"), allow(dead_code))]
fn short_name(kernel: &str) -> String {
    let mut name = String::new();
    let mut word = String::new();
    for character in kernel.chars() {
        match character {
            // Forget the path so far.
            ':' => word.clear(),
            letter if letter.is_alphanumeric() || letter == '_' => word.push(letter),
            other => {
                name.push_str(&std::mem::take(&mut word));
                name.push(other);
            }
        }
    }
    name + &word
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::readback::read;
    use burn::tensor::{Device, Tensor};

    #[test]
    fn names_lose_their_paths() {
        let name = "burn::kernel::unary::Unary<burn::ops::Exp, (f32, a::b::C)>";
        assert_eq!(short_name(name), "Unary<Exp, (f32, C)>");
        assert_eq!(short_name("plain"), "plain");
    }

    #[test]
    fn a_cpu_launches_nothing() {
        let ones = Tensor::<1>::ones([3], &Device::flex());
        let (sum, counts) = count(|| read(ones.sum()));
        assert_eq!((&sum[..], counts.kernels.len()), (&[3.0][..], 0));
        // Other tests read meanwhile.
        assert!(counts.read_backs >= 1);
    }
}
