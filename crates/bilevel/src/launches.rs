//! Kernel launches of GPU backends, counted by the part of an outer step that issues them.
//!
//! On a GPU the host's time for a launch, tens of microseconds, bounds an outer step of small kernels; so their number is
//! measured (`metaburn bench --launches`) and held by a test. The engine names its parts with [`Phase::run`], which costs
//! nothing measurable, and [`count`] asks the runtime which kernels are launched meanwhile.

use crate::choice;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

choice! {
    /// A part of an outer step.
    #[derive(PartialOrd, Ord, Hash)]
    pub enum Phase {
        /// Gradients of the inner loss, and the inner steps along them.
        Inner = "inner steps",
        /// Gradients of the outer loss.
        Outer = "outer gradient",
        /// Hessian-vector and mixed products, and the steps of the backward walk along them.
        Products = "products",
        /// The mean over tasks, clipping, and the optimiser.
        Update = "update",
        /// Graphs of recorded launches, each counted as one.
        Replays = "graph replays",
        /// Everything else.
        Rest = "rest",
    }
}

thread_local! {
    static CURRENT: Cell<Phase> = const { Cell::new(Phase::Rest) };
}

impl Phase {
    /// Runs `work` as this part of an outer step, on this thread.
    pub fn run<R>(self, work: impl FnOnce() -> R) -> R {
        /// Returns to the phase before, also after a panic.
        struct Back(Phase);

        impl Drop for Back {
            fn drop(&mut self) {
                CURRENT.set(self.0);
            }
        }

        let _back = Back(CURRENT.replace(self));
        work()
    }
}

/// The number of launches of each kernel in each phase.
pub type Launches = BTreeMap<(Phase, String), u64>;

/// Graphs replayed by this process.
static REPLAYED: AtomicU64 = AtomicU64::new(0);

/// Counts a graph as replayed.
pub(crate) fn replayed() {
    REPLAYED.fetch_add(1, Ordering::Relaxed);
}

/// Runs `work` and counts the kernels that this process launches meanwhile, on all threads. CPU backends launch none.
#[cfg(feature = "cube")]
pub fn count<R>(work: impl FnOnce() -> R) -> (R, Launches) {
    use burn_cubecl::cubecl::logging::{LaunchObservation, LaunchObserver};
    use std::collections::HashMap;
    use std::sync::{Arc, Mutex, PoisonError};

    #[derive(Default)]
    struct Counter(Mutex<HashMap<(Phase, &'static str), u64>>);

    impl LaunchObserver for Counter {
        fn launched(&self, kernel: &'static str) {
            let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            *counts.entry((CURRENT.get(), kernel)).or_default() += 1;
        }
    }

    let counter = Arc::new(Counter::default());
    let replayed = REPLAYED.load(Ordering::Relaxed);
    let observation = LaunchObservation::new(counter.clone());
    let result = work();
    drop(observation);
    let counts = std::mem::take(&mut *counter.0.lock().unwrap_or_else(PoisonError::into_inner));
    let mut launches = Launches::new();
    let replays = REPLAYED.load(Ordering::Relaxed) - replayed;
    if replays > 0 {
        launches.insert((Phase::Replays, "graph".into()), replays);
    }
    for ((phase, kernel), count) in counts {
        *launches.entry((phase, short_name(kernel))).or_default() += count;
    }
    (result, launches)
}

/// Runs `work`; this build has no backend that launches kernels.
#[cfg(not(feature = "cube"))]
pub fn count<R>(work: impl FnOnce() -> R) -> (R, Launches) {
    (work(), Launches::new())
}

/// Runs `work` with every launch prepared and queued as always, but dropped instead of run: so its time is the host's
/// alone. Afterwards tensors hold arbitrary values.
#[cfg(feature = "cube")]
pub fn without_device<R>(work: impl FnOnce() -> R) -> R {
    let _dry_run = burn_cubecl::cubecl::dry_run::DryRun::new();
    work()
}

/// Runs `work`; this build has no backend that launches kernels.
#[cfg(not(feature = "cube"))]
pub fn without_device<R>(work: impl FnOnce() -> R) -> R {
    work()
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

    #[test]
    fn names_lose_their_paths() {
        let name = "burn::kernel::unary::Unary<burn::ops::Exp, (f32, a::b::C)>";
        assert_eq!(short_name(name), "Unary<Exp, (f32, C)>");
        assert_eq!(short_name("plain"), "plain");
    }

    #[test]
    fn phases_nest_and_end_with_a_panic() {
        assert_eq!(CURRENT.get(), Phase::Rest);
        Phase::Products.run(|| {
            assert_eq!(Phase::Inner.run(|| CURRENT.get()), Phase::Inner);
            assert_eq!(CURRENT.get(), Phase::Products);
            let caught = std::panic::catch_unwind(|| Phase::Update.run(|| panic!("expected by the test")));
            assert!(caught.is_err());
            assert_eq!(CURRENT.get(), Phase::Products);
        });
        assert_eq!(CURRENT.get(), Phase::Rest);
    }

    #[test]
    fn a_cpu_launches_nothing() {
        let device = burn::tensor::Device::flex();
        let (sum, launches) =
            count(|| burn::tensor::Tensor::<1>::ones([3], &device).sum().into_scalar::<f32>());
        assert_eq!((sum, launches.len()), (3.0, 0));
    }
}
