//! Memory plans: how many iterates of the inner loop are stored for the backward walk.
//!
//! | plan | iterates stored | inner steps recomputed (exact gradient through r steps) |
//! |---|---|---|
//! | store | r | 0 |
//! | m snapshots | m | the proven minimum for r and m ([`revolve`](super::revolve)) |
//! | recompute | 1 | r(r − 1)/2 |
//!
//! All give the same gradient to the last bit if an inner step is deterministic. A draw that needs fewer iterates
//! stores and recomputes fewer: only those between the first and the last that it needs.

use super::revolve;
use serde::{Deserialize, Serialize};

/// The memory plan as configured, before the size of the problem is known.
///
/// ```
/// use bilevel::hypergradient::{IterateSize, Memory, MemoryPlan};
///
/// // 8 tasks, 100 inner steps, 4 MiB of fast weights per task: 3200 MiB to store every iterate.
/// let size = IterateSize { tasks: 8, depth: 100, bytes: 4 << 20 };
/// let memory = MemoryPlan::default().resolve(size);
/// assert_eq!(memory, Memory::Snapshots(10));
/// assert_eq!(size.kept(memory), 320 << 20);
/// assert!(memory.recomputed(100) < 200);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "plan", rename_all = "lowercase")]
pub enum MemoryPlan {
    /// Every iterate, or ⌈√r⌉ of each task if all would exceed the budget.
    Auto {
        /// MiB available for the iterates of a meta-batch, ≥ 1.
        budget: usize,
    },
    /// Every iterate.
    Store,
    /// A fixed number of iterates; the others are recomputed from these.
    Snapshots {
        /// Stored iterates per task, ≥ 1.
        snapshots: usize,
    },
    /// One; all others are recomputed from it.
    Recompute,
}

impl Default for MemoryPlan {
    /// `Auto` with a budget of 1 GiB.
    fn default() -> Self {
        Self::Auto { budget: 1024 }
    }
}

/// The size of the iterates of a meta-batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IterateSize {
    /// T, the number of tasks.
    pub tasks: usize,
    /// The most inner steps of a backward walk: [`Estimator::max_depth`](crate::estimator::Estimator::max_depth).
    pub depth: usize,
    /// Bytes of the fast weights of one task.
    pub bytes: u64,
}

impl IterateSize {
    /// Bytes of the iterates that `memory` stores for the whole meta-batch.
    pub fn kept(&self, memory: Memory) -> u64 {
        let iterates = memory.kept(self.depth).saturating_mul(self.tasks) as u64;
        iterates.saturating_mul(self.bytes)
    }
}

impl MemoryPlan {
    /// The plan for iterates of this `size`. It does not depend on the number of threads.
    pub fn resolve(self, size: IterateSize) -> Memory {
        match self {
            Self::Auto { budget } if size.kept(Memory::Store) > (budget as u64) << 20 => {
                Memory::square_root(size.depth)
            }
            Self::Auto { .. } | Self::Store => Memory::Store,
            Self::Snapshots { snapshots } => Memory::Snapshots(snapshots),
            Self::Recompute => Memory::Recompute,
        }
    }

    /// The same for `tasks` tasks and backward walks through at most `depth` inner steps. `bytes` gives the bytes of the fast
    /// weights of one task, and is called only if the plan depends on them.
    pub(crate) fn resolve_for(self, tasks: usize, depth: usize, bytes: impl FnOnce() -> u64) -> Memory {
        let bytes = match self {
            Self::Auto { .. } if depth > 0 => bytes(),
            _ => 0,
        };
        self.resolve(IterateSize { tasks, depth, bytes })
    }
}

/// How many iterates of each task are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// All iterates that the draw needs.
    Store,
    /// At most this many (≥ 1), including the first that the draw needs; the others are recomputed from these.
    Snapshots(usize),
    /// Only the first that the draw needs (for an exact gradient, φ_0).
    Recompute,
}

impl Memory {
    /// The most iterates stored at once.
    pub fn slots(self) -> usize {
        match self {
            Self::Store => usize::MAX,
            Self::Snapshots(slots) => slots.max(1),
            Self::Recompute => 1,
        }
    }

    /// The most iterates of a task that are stored at once in a backward walk through `steps` inner steps.
    pub fn kept(self, steps: usize) -> usize {
        self.slots().min(steps)
    }

    /// ⌈√r⌉ snapshots, r = `steps`. About 1.5 r inner steps are recomputed, and always fewer than 2 r.
    pub fn square_root(steps: usize) -> Self {
        let root = (steps as f64).sqrt().ceil();
        Self::Snapshots((root as usize).max(1))
    }

    /// The inner steps recomputed for an exact gradient through `steps` inner steps.
    pub fn recomputed(self, steps: usize) -> u64 {
        // The backward walk visits steps + 1 states; the first pass to φ_r is not a recomputation.
        revolve::advances(steps + 1, self.slots()) - steps as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_stores_all_iterates_within_its_budget_and_snapshots_beyond() {
        let size = IterateSize { tasks: 4, depth: 16, bytes: 1 << 14 };
        assert_eq!(size.kept(Memory::Store), 1 << 20);
        assert_eq!(MemoryPlan::Auto { budget: 1 }.resolve(size), Memory::Store);
        let larger = IterateSize { tasks: 5, ..size };
        assert_eq!(MemoryPlan::Auto { budget: 1 }.resolve(larger), Memory::Snapshots(4));
        assert_eq!(MemoryPlan::Store.resolve(larger), Memory::Store);
        assert_eq!(MemoryPlan::Recompute.resolve(size), Memory::Recompute);
    }
}
