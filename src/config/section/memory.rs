//! `[memory]`: how many iterates of each inner loop are stored for the backward pass.

use crate::config::checker::Checker;
use crate::config::key::{Fixed, Is, Open, Otherwise, keys};
use crate::config::kind::{Count, OneOf, at_least, one_of};
use bilevel::choice;
use bilevel::hypergradient::MemoryPlan;

keys! {
    /// How many iterates of an inner loop are stored for the backward pass: all ("store"), a fixed number ("snapshots"),
    /// one ("recompute"), or, with "auto", all if they fit into memory.budget, otherwise ⌈√inner.steps⌉. The others are
    /// recomputed. The gradient is bit-identical with every plan.
    PLAN: Fixed<OneOf<Name>> = "memory.plan", one_of(), Is(|| Name::Auto);
    /// Number of iterates per task that "snapshots" stores.
    SNAPSHOTS: Open<Count> = "memory.snapshots", at_least(1), Otherwise("⌈√inner.steps⌉");
    /// Maximum memory that the stored iterates of a meta-batch may take with "auto", in MiB.
    BUDGET: Fixed<Count> = "memory.budget", at_least(1), Is(|| 1024);
}

choice! {
    /// The names of [`MemoryPlan`]'s variants.
    pub enum Name {
        /// All iterates if they fit into the budget.
        Auto = "auto",
        /// All iterates.
        Store = "store",
        /// A fixed number of iterates.
        Snapshots = "snapshots",
        /// One iterate.
        Recompute = "recompute",
    }
}

/// Checks the section, for `steps` inner steps.
pub fn check(checker: &mut Checker, steps: usize) -> MemoryPlan {
    let plan = checker.get(&PLAN);
    if plan != Name::Snapshots {
        checker.unused(&SNAPSHOTS, &PLAN, plan, "only \"snapshots\" stores a fixed number of iterates");
    }
    if plan != Name::Auto {
        checker.unused(&BUDGET, &PLAN, plan, "only \"auto\" has a budget");
    }
    match plan {
        Name::Auto => MemoryPlan::Auto { budget: checker.get(&BUDGET) },
        Name::Store => MemoryPlan::Store,
        Name::Snapshots => {
            // Without inner steps the root is 0, which the key does not accept.
            let root = ((steps as f64).sqrt().ceil() as usize).max(1);
            MemoryPlan::Snapshots { snapshots: checker.find(&SNAPSHOTS).unwrap_or(root) }
        }
        Name::Recompute => MemoryPlan::Recompute,
    }
}
