//! The keys of `[estimator]`, and which estimators each has a meaning for.

use super::kinds::{LevelsKind, ProbabilitiesKind};
use crate::config::checker::Checker;
use crate::config::choice::choice;
use crate::config::key::{AnyKey, Fixed, Is, Open, Otherwise, keys};
use crate::config::kind::{
    Count, Number, OneOf, at_least, decay, non_negative, one_of, positive, probability,
};

keys! {
    /// How the meta-gradient is estimated.
    NAME: Fixed<OneOf<Name>> = "estimator.name", one_of(), Is(|| Name::Exact);
    /// Probability with which "ufom" takes the exact gradient.
    Q: Fixed<Number> = "estimator.q", probability(), Is(|| 0.1);
    /// Probability with which "step-coins" takes each inner step's product: one for all, or one for each,
    /// the first inner step's first.
    P: Open<ProbabilitiesKind> = "estimator.p", ProbabilitiesKind, Otherwise("adapts while running");
    /// Probability with which "telescoping" goes on from each level to the next.
    SURVIVAL: Open<Number> = "estimator.survival", probability(), Otherwise("adapts while running");
    /// Depths at which "telescoping" may stop: every inner step, powers of two, or a list.
    LEVELS: Open<LevelsKind> = "estimator.levels", LevelsKind, Otherwise("\"powers\"");
    /// Last inner steps that are always differentiated, up to inner.steps.
    TRUNCATE: Open<Count> = "estimator.truncate", at_least(0),
        Otherwise("0 for ufom, adaptive and telescoping; truncated needs one");
    /// Whether coins are tossed for each task, once for an outer step's whole meta-batch, or for each task so
    /// that the number of tasks that come up varies by at most one.
    COIN: Fixed<OneOf<Coin>> = "estimator.coin", one_of(), Is(|| Coin::Task);
    /// Whether "ufom" and "adaptive" correct their base by a running average of its past errors, times a
    /// coefficient that is "fitted" to past exact draws or "fixed".
    TRACKING: Fixed<OneOf<Tracking>> = "estimator.tracking", one_of(), Is(|| Tracking::Off);
    /// The coefficient of a "fixed" tracking.
    COEFFICIENT: Open<Number> = "estimator.coefficient", positive(), Otherwise("1 for a fixed tracking");
    /// How an adapting estimator supposes that the time to an accuracy grows with the second moment: 2 for
    /// steps that shrink like 1/√k, 1 where only their product counts, 0.5 for steps that shrink like 1/k.
    EXPONENT: Fixed<Number> = "estimator.exponent", positive(), Is(|| 2.0);
    /// Share that the past keeps in an estimator's running averages.
    BETA: Fixed<Number> = "estimator.beta", decay(), Is(|| 0.99);
    /// The smallest probability that an adapting estimator takes.
    FLOOR: Fixed<Number> = "estimator.floor", probability(), Is(|| 0.05);
    /// In what an adapting estimator counts costs; only "counted" and "reference" resume to the same bits.
    COSTS: Open<OneOf<CostUnit>> = "estimator.costs", one_of(),
        Otherwise("\"measured\", or \"counted\" if deterministic");
    /// κ: adapting "step-coins" keep each probability above κ × inner rate × the largest curvature found.
    CURVATURE_FLOOR: Fixed<Number> = "estimator.curvature_floor", non_negative(), Is(|| 0.75);
    /// Whether "adaptive" behaves as the method's reference code does, which is biased if it clips.
    COMPAT: Fixed<OneOf<Compat>> = "estimator.compat", one_of(), Is(|| Compat::None);
    /// Bound of every element of the vector walked back, with compat "reference" only.
    CLIP_PRODUCTS: Open<Number> = "estimator.clip_products", positive(), Otherwise("no bound");
    /// Steps of conjugate gradients of "implicit", a product each.
    ITERATIONS: Fixed<Count> = "estimator.iterations", at_least(1), Is(|| 5);
    /// Added to the inner loss's curvature by "implicit".
    DAMPING: Fixed<Number> = "estimator.damping", non_negative(), Is(|| 0.0);
}

choice! {
    /// The names of [`Estimator`](super::Estimator)'s variants.
    pub enum Name {
        /// No inner step.
        FirstOrder = "first-order",
        /// The last inner steps.
        Truncated = "truncated",
        /// All inner steps.
        Exact = "exact",
        /// All, now and then.
        Ufom = "ufom",
        /// All, as often as it pays.
        Adaptive = "adaptive",
        /// Each, now and then.
        StepCoins = "step-coins",
        /// As many as a draw says, from the last.
        Telescoping = "telescoping",
        /// The way that the inner loop went.
        Reptile = "reptile",
        /// As if the inner loop ended at a minimum.
        Implicit = "implicit",
    }
}

choice! {
    /// In what an adapting estimator counts costs.
    pub enum CostUnit {
        /// Seconds of this machine and backend, learned while running.
        Measured = "measured",
        /// Gradient evaluations, a product being one.
        Counted = "counted",
        /// Gradient evaluations as the method's reference code counts them, which recomputes iterates.
        Reference = "reference",
    }
}

choice! {
    /// What shares a coin.
    pub enum Coin {
        /// Every task has its own: less variance.
        Task = "task",
        /// All tasks of an outer step share one: whole outer steps stay cheap.
        Step = "step",
        /// Each task has its own, but in step: the number of exact tasks varies by at most one.
        Stratified = "stratified",
    }
}

choice! {
    /// Whether a base is corrected by its past errors.
    pub enum Tracking {
        /// It is not.
        Off = "off",
        /// By as much as past exact draws say.
        Fitted = "fitted",
        /// By a fixed share.
        Fixed = "fixed",
    }
}

choice! {
    /// Whose behaviour adaptive UFOM has.
    pub enum Compat {
        /// Its own.
        None = "none",
        /// The reference code's.
        Reference = "reference",
    }
}

/// Refuses the keys that `name` has no use for.
pub fn refuse_unused(checker: &mut Checker, name: Name) {
    use Name::{Adaptive, StepCoins, Telescoping, Truncated, Ufom};
    let given: Option<&dyn AnyKey> = match name {
        StepCoins if checker.is_set(&P) => Some(&P),
        Telescoping if checker.is_set(&SURVIVAL) => Some(&SURVIVAL),
        _ => None,
    };
    let adapts = given.is_none() && matches!(name, Adaptive | StepCoins | Telescoping);
    let tracks = matches!(name, Ufom | Adaptive);
    let adapting = "only \"adaptive\", \"step-coins\" without p and \"telescoping\" without survival adapt";
    let rules: [(&dyn AnyKey, bool, &str); 17] = [
        (&Q, name == Ufom, "only \"ufom\" has a fixed q"),
        (&P, name == StepCoins, "only \"step-coins\" takes each step's product by chance"),
        (&SURVIVAL, name == Telescoping, "only \"telescoping\" goes on by chance"),
        (&LEVELS, name == Telescoping, "only \"telescoping\" has levels"),
        (
            &TRUNCATE,
            matches!(name, Truncated | Ufom | Adaptive | Telescoping),
            "only \"truncated\", \"ufom\", \"adaptive\" and \"telescoping\" have a truncated base",
        ),
        (
            &COIN,
            matches!(name, Ufom | Adaptive | StepCoins | Telescoping),
            "only \"ufom\", \"adaptive\", \"step-coins\" and \"telescoping\" toss coins",
        ),
        (&TRACKING, tracks, "only \"ufom\" and \"adaptive\" track their base's error"),
        (&COEFFICIENT, tracks, "only \"ufom\" and \"adaptive\" track their base's error"),
        (&EXPONENT, adapts, adapting),
        (&BETA, adapts || tracks, adapting),
        (&FLOOR, adapts, adapting),
        (&COSTS, adapts, adapting),
        (&CURVATURE_FLOOR, adapts && name == StepCoins, "only adapting \"step-coins\" have such a floor"),
        (&COMPAT, name == Adaptive, "only \"adaptive\" is in the reference code"),
        (&CLIP_PRODUCTS, name == Adaptive, "only \"adaptive\" with compat \"reference\" clips products"),
        (&ITERATIONS, name == Name::Implicit, "only \"implicit\" solves a system"),
        (&DAMPING, name == Name::Implicit, "only \"implicit\" solves a system"),
    ];
    for (key, _, reason) in rules.into_iter().filter(|(_, used, _)| !used) {
        match given {
            // What is given need not be the name's fault.
            Some(given) if checker.is_set(key) && is_adapting(key) => {
                let reason =
                    format!("`{}` has no meaning where `{}` is given: {reason}", key.name(), given.name());
                checker.unfit(key, given, reason);
            }
            _ => checker.unused(key, &NAME, name, reason),
        }
    }
}

/// Whether `key` is for an estimator that adapts.
fn is_adapting(key: &dyn AnyKey) -> bool {
    let keys: [&dyn AnyKey; 5] = [&EXPONENT, &BETA, &FLOOR, &COSTS, &CURVATURE_FLOOR];
    keys.iter().any(|adapting| adapting.name() == key.name())
}
