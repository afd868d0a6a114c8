//! Memory plans: how many iterates of the inner loop are kept for the way back.
//!
//! | plan | iterates kept | inner steps taken again (exact gradient through r steps) |
//! |---|---|---|
//! | store | r | 0 |
//! | m snapshots | m | the proven minimum for r and m ([`revolve`](super::revolve)) |
//! | recompute | 1 | r(r − 1)/2 |
//!
//! All give the same gradient to the last bit where an inner step does. A draw that needs fewer
//! iterates keeps and recomputes fewer: only what lies between the first and the last that it needs.

use super::revolve;

/// How many iterates of each task are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// Every one that the draw needs.
    Store,
    /// At most so many (≥ 1), the first that the draw needs included; the others are computed again
    /// from those.
    Snapshots(usize),
    /// Only the first that the draw needs, which in an exact one is φ_0.
    Recompute,
}

impl Memory {
    /// The most iterates kept at once.
    pub fn slots(self) -> usize {
        match self {
            Self::Store => usize::MAX,
            Self::Snapshots(slots) => slots.max(1),
            Self::Recompute => 1,
        }
    }

    /// The most iterates that the walk back through `steps` inner steps keeps of a task.
    pub fn kept(self, steps: usize) -> usize {
        self.slots().min(steps)
    }

    /// ⌈√r⌉ snapshots: about one and a half more sweeps of `steps` inner steps, and always fewer than two.
    pub fn square_root(steps: usize) -> Self {
        let root = (steps as f64).sqrt().ceil();
        Self::Snapshots((root as usize).max(1))
    }

    /// Inner steps taken again by the exact gradient through `steps` inner steps.
    pub fn recomputed(self, steps: usize) -> u64 {
        // Going back from φ_r visits steps + 1 states, and the way there is paid anyway.
        revolve::advances(steps + 1, self.slots()) - steps as u64
    }
}
