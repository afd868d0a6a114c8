//! Memory plans: how many iterates of the inner loop are kept for the way back.
//!
//! | plan | iterates kept | inner steps taken again (if every iterate is needed) |
//! |---|---|---|
//! | store | r | 0 |
//! | m snapshots | m | the proven minimum for r and m ([`revolve`](super::revolve)) |
//! | recompute | 1 | r(r − 1)/2 |
//!
//! All give the same gradient to the last bit where an inner step does.

use super::revolve;

/// How many iterates are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// Every one that the draw needs.
    Store,
    /// At most so many (≥ 1), φ_0 included; the others are computed again from those.
    Snapshots(usize),
    /// Only φ_0.
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

    /// ⌈√r⌉ snapshots: less than one more sweep of `steps` inner steps.
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
