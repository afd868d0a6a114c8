//! Kernel launches of GPU backends, counted by the part of an outer step that issues them.
//!
//! On a GPU, small kernels are bound by the host's time for launching them (tens of microseconds each), large ones by the bytes
//! that they read and write. Both are measured (`metaburn bench --launches`), and limited by a test. The engine names its parts
//! with [`Phase::run`], which costs nothing measurable, and [`count`] asks the runtime which kernels are launched meanwhile.

mod counts;

pub use counts::{Counts, Kernel, count};
#[cfg(feature = "cube")]
pub(crate) use counts::{bound, interposed};
pub(crate) use counts::{read_back, replayed};

use crate::choice;
use std::cell::Cell;

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

#[cfg(test)]
mod tests {
    use super::*;

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
}
