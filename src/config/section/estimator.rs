//! `[estimator]`: how much of each inner loop is differentiated.

use super::inner;
use crate::config::checker::Checker;
use crate::config::choice::{Choice, choice};
use crate::config::key::{Fixed, Is, Open, Otherwise, keys};
use crate::config::kind::{
    Count, Number, OneOf, at_least, decay, non_negative, one_of, positive, probability,
};
use serde::Serialize;

keys! {
    /// How the meta-gradient is estimated.
    NAME: Fixed<OneOf<Name>> = "estimator.name", one_of(), Is(|| Name::Exact);
    /// Probability with which "ufom" takes the exact gradient.
    Q: Fixed<Number> = "estimator.q", probability(), Is(|| 0.1);
    /// Probability with which "step-coins" takes each inner step's product.
    P: Fixed<Number> = "estimator.p", probability(), Is(|| 0.2);
    /// Last inner steps that are always differentiated, up to inner.steps.
    TRUNCATE: Open<Count> = "estimator.truncate", at_least(0), Otherwise("0 for ufom and adaptive; truncated needs one");
    /// Whether "ufom" and "adaptive" toss their coin for each task, once for an outer step's whole
    /// meta-batch, or for each task so that the number of exact ones varies by at most one.
    COIN: Fixed<OneOf<Coin>> = "estimator.coin", one_of(), Is(|| Coin::Task);
    /// How "adaptive" supposes that the time to an accuracy grows with the second moment: 2 for steps
    /// that shrink like 1/√k, 1 where only their product counts, 0.5 for steps that shrink like 1/k.
    EXPONENT: Fixed<Number> = "estimator.exponent", positive(), Is(|| 2.0);
    /// Share that the past keeps in "adaptive"'s running averages.
    BETA: Fixed<Number> = "estimator.beta", decay(), Is(|| 0.99);
    /// The smallest q of "adaptive", and its q before the first exact draw.
    FLOOR: Fixed<Number> = "estimator.floor", probability(), Is(|| 0.05);
    /// In what "adaptive" counts costs; only "counted" and "reference" resume to the same bits.
    COSTS: Fixed<OneOf<CostUnit>> = "estimator.costs", one_of(), Is(|| CostUnit::Measured);
    /// Steps of conjugate gradients of "implicit", a product each.
    ITERATIONS: Fixed<Count> = "estimator.iterations", at_least(1), Is(|| 5);
    /// Added to the inner loss's curvature by "implicit".
    DAMPING: Fixed<Number> = "estimator.damping", non_negative(), Is(|| 0.0);
}

choice! {
    /// The names of [`Estimator`]'s variants.
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
        /// The way that the inner loop went.
        Reptile = "reptile",
        /// As if the inner loop ended at a minimum.
        Implicit = "implicit",
    }
}

choice! {
    /// In what an adaptive estimator counts costs.
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

/// How the meta-gradient is estimated from r inner steps.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
pub enum Estimator {
    /// Differentiates no inner step (FOMAML, Finn et al. 2017): cheap and biased.
    FirstOrder,
    /// Differentiates the last inner steps only: biased unless these are all.
    Truncated {
        /// How many, 0 to `inner.steps`.
        truncate: usize,
    },
    /// Differentiates every inner step.
    Exact,
    /// Differentiates every inner step with probability q, reweighted by 1/q so that the average is
    /// exact (Likhosherstov et al. 2021).
    Ufom {
        /// Probability of the exact gradient, in (0, 1].
        q: f64,
        /// Last inner steps differentiated in any case, 0 to `inner.steps`.
        truncate: usize,
        /// What shares a coin.
        coin: Coin,
    },
    /// [`Self::Ufom`] with q from running estimates (Likhosherstov et al. 2021).
    Adaptive {
        /// Last inner steps differentiated in any case, 0 to `inner.steps`.
        truncate: usize,
        /// What shares a coin.
        coin: Coin,
        /// p, how the time to an accuracy grows with the second moment; > 0.
        exponent: f64,
        /// Share that the past keeps in the averages, in [0, 1).
        beta: f64,
        /// The smallest q, and q before the first exact draw; in (0, 1].
        floor: f64,
        /// In what costs are counted.
        costs: CostUnit,
    },
    /// A coin for every inner step's product, taken ones reweighted by 1/p.
    StepCoins {
        /// Probability of a product, in (0, 1].
        p: f64,
    },
    /// The way that the inner loop went, taken for a gradient (Nichol et al. 2018): biased.
    Reptile,
    /// The gradient as if the inner loop ended at a minimum (Rajeswaran et al. 2019): biased.
    Implicit {
        /// Steps of conjugate gradients, ≥ 1.
        iterations: usize,
        /// Added to the curvature, ≥ 0.
        damping: f64,
    },
}

impl Estimator {
    /// Its name in the file.
    pub fn name(&self) -> &'static str {
        let name = match self {
            Self::FirstOrder => Name::FirstOrder,
            Self::Truncated { .. } => Name::Truncated,
            Self::Exact => Name::Exact,
            Self::Ufom { .. } => Name::Ufom,
            Self::Adaptive { .. } => Name::Adaptive,
            Self::StepCoins { .. } => Name::StepCoins,
            Self::Reptile => Name::Reptile,
            Self::Implicit { .. } => Name::Implicit,
        };
        name.name()
    }
}

/// The section, checked, for `steps` inner steps.
pub fn check(checker: &mut Checker, steps: usize) -> Estimator {
    let name = checker.get(&NAME);
    if name != Name::Ufom {
        checker.unused(&Q, &NAME, name, "only \"ufom\" has a fixed q");
    }
    if name != Name::StepCoins {
        checker.unused(&P, &NAME, name, "only \"step-coins\" takes each step's product by chance");
    }
    if !matches!(name, Name::Ufom | Name::Adaptive) {
        checker.unused(&COIN, &NAME, name, "only \"ufom\" and \"adaptive\" toss such a coin");
    }
    if name != Name::Adaptive {
        for key in [&EXPONENT, &BETA, &FLOOR] {
            checker.unused(key, &NAME, name, "only \"adaptive\" adapts");
        }
        checker.unused(&COSTS, &NAME, name, "only \"adaptive\" adapts");
    }
    if name != Name::Implicit {
        checker.unused(&ITERATIONS, &NAME, name, "only \"implicit\" solves a system");
        checker.unused(&DAMPING, &NAME, name, "only \"implicit\" solves a system");
    }
    match name {
        Name::Reptile => {
            checker.unused(&TRUNCATE, &NAME, name, "it differentiates no inner step");
            Estimator::Reptile
        }
        Name::Implicit => {
            checker.unused(&TRUNCATE, &NAME, name, "it differentiates no inner step");
            Estimator::Implicit { iterations: checker.get(&ITERATIONS), damping: checker.get(&DAMPING) }
        }
        Name::FirstOrder => {
            checker.unused(&TRUNCATE, &NAME, name, "it differentiates no inner step");
            Estimator::FirstOrder
        }
        Name::Exact => {
            checker.unused(&TRUNCATE, &NAME, name, "it differentiates every inner step");
            Estimator::Exact
        }
        Name::Truncated => {
            if !checker.is_set(&TRUNCATE) {
                let reason = format!(
                    "`estimator.truncate` is missing: estimator.name = \"truncated\" needs a whole \
                     number from 0 to {steps} (inner.steps)"
                );
                checker.contradicts(&TRUNCATE, &NAME, reason);
            }
            Estimator::Truncated { truncate: truncate(checker, steps) }
        }
        Name::StepCoins => {
            checker.unused(&TRUNCATE, &NAME, name, "it needs no truncated base");
            Estimator::StepCoins { p: checker.get(&P) }
        }
        Name::Adaptive => Estimator::Adaptive {
            truncate: truncate(checker, steps),
            coin: checker.get(&COIN),
            exponent: checker.get(&EXPONENT),
            beta: checker.get(&BETA),
            floor: checker.get(&FLOOR),
            costs: checker.get(&COSTS),
        },
        Name::Ufom => Estimator::Ufom {
            q: checker.get(&Q),
            truncate: truncate(checker, steps),
            coin: checker.get(&COIN),
        },
    }
}

fn truncate(checker: &mut Checker, steps: usize) -> usize {
    let truncate = checker.find(&TRUNCATE).unwrap_or(0);
    if truncate > steps {
        let reason = format!(
            "`estimator.truncate` must be a whole number from 0 to {steps} (inner.steps), got {truncate}"
        );
        checker.contradicts(&TRUNCATE, &inner::STEPS, reason);
    }
    truncate
}
