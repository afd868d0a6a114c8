//! `[memory]`: how many iterates of each inner loop are kept for the way back.

use crate::config::checker::Checker;
use crate::config::choice::choice;
use crate::config::key::{Fixed, Is, Open, Otherwise, keys};
use crate::config::kind::{Count, OneOf, at_least, one_of};
use serde::Serialize;

keys! {
    /// Which iterates of an inner loop are kept for the way back: all ("store"), a number of them
    /// ("snapshots"), one ("recompute"), or, with "auto", all if they fit memory.budget, else
    /// ⌈√inner.steps⌉. The others are computed again; the gradient is the same to the last bit.
    PLAN: Fixed<OneOf<Name>> = "memory.plan", one_of(), Is(|| Name::Auto);
    /// Iterates that "snapshots" keeps of each task.
    SNAPSHOTS: Open<Count> = "memory.snapshots", at_least(1), Otherwise("⌈√inner.steps⌉");
    /// MiB that the stored iterates of the tasks at hand may take before "auto" keeps fewer.
    BUDGET: Fixed<Count> = "memory.budget", at_least(1), Is(|| 1024);
}

choice! {
    /// The names of [`MemoryPlan`]'s variants.
    pub enum Name {
        /// All if they fit.
        Auto = "auto",
        /// All.
        Store = "store",
        /// Some.
        Snapshots = "snapshots",
        /// One.
        Recompute = "recompute",
    }
}

/// How many iterates of each inner loop are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "plan", rename_all = "lowercase")]
pub enum MemoryPlan {
    /// All, or ⌈√r⌉ of each task where all would take more than the budget.
    Auto {
        /// MiB, ≥ 1.
        budget: usize,
    },
    /// All.
    Store,
    /// Some; the others are computed again from these.
    Snapshots {
        /// Of each task, ≥ 1.
        snapshots: usize,
    },
    /// One; each other is computed again from it.
    Recompute,
}

/// The section, checked, for `steps` inner steps.
pub fn check(checker: &mut Checker, steps: usize) -> MemoryPlan {
    let plan = checker.get(&PLAN);
    if plan != Name::Snapshots {
        checker.unused(&SNAPSHOTS, &PLAN, plan, "only \"snapshots\" keeps a number of them");
    }
    if plan != Name::Auto {
        checker.unused(&BUDGET, &PLAN, plan, "only \"auto\" goes by one");
    }
    match plan {
        Name::Auto => MemoryPlan::Auto { budget: checker.get(&BUDGET) },
        Name::Store => MemoryPlan::Store,
        Name::Snapshots => {
            let root = (steps as f64).sqrt().ceil() as usize;
            MemoryPlan::Snapshots { snapshots: checker.find(&SNAPSHOTS).unwrap_or(root) }
        }
        Name::Recompute => MemoryPlan::Recompute,
    }
}
