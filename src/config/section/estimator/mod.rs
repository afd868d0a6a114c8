//! `[estimator]`: how much of each inner loop is differentiated.

mod keys;
mod kinds;

pub use keys::{Coin, Compat, CostUnit, KEYS, Tracking};
pub use kinds::{LevelRule, Levels, Probabilities};

pub(super) use keys::NAME;

use super::{inner, root};
use crate::config::checker::Checker;
use crate::config::choice::Choice;
use keys::{
    BETA, CLIP_PRODUCTS, COEFFICIENT, COIN, COMPAT, COSTS, CURVATURE_FLOOR, DAMPING, EXPONENT, FLOOR,
    ITERATIONS, LEVELS, Name, P, Q, SURVIVAL, TRACKING, TRUNCATE, refuse_unused,
};
use serde::Serialize;

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
        /// The rest.
        #[serde(flatten)]
        base: Base,
    },
    /// [`Self::Ufom`] with q from running estimates (Likhosherstov et al. 2021).
    Adaptive {
        /// What it debiases.
        #[serde(flatten)]
        base: Base,
        /// How q is chosen.
        #[serde(flatten)]
        tuning: Tuning,
        /// Whose behaviour it has.
        compat: Compat,
        /// Bound of every element of the vector walked back, > 0; with [`Compat::Reference`] only.
        #[serde(skip_serializing_if = "Option::is_none")]
        clip_products: Option<f64>,
    },
    /// A coin for every inner step's product, taken ones reweighted by 1/p.
    StepCoins {
        /// Probabilities of the products.
        p: Probabilities,
        /// What shares a coin.
        coin: Coin,
    },
    /// [`Self::StepCoins`] with probabilities from running estimates.
    #[serde(rename = "step-coins")]
    AdaptiveStepCoins {
        /// What shares a coin.
        coin: Coin,
        /// How the probabilities are chosen.
        #[serde(flatten)]
        tuning: Tuning,
        /// κ ≥ 0: p is at least κ × inner rate × the largest curvature seen.
        curvature_floor: f64,
    },
    /// Differentiates down to a random level, each level's increment reweighted by 1/P(it is reached).
    Telescoping {
        /// P(N ≥ l) = survivalˡ, in (0, 1].
        survival: f64,
        /// Where it may stop.
        levels: Levels,
        /// Last inner steps differentiated in any case, 0 to `inner.steps`.
        truncate: usize,
        /// What shares a draw.
        coin: Coin,
    },
    /// [`Self::Telescoping`] with the chances of every level from running estimates.
    #[serde(rename = "telescoping")]
    AdaptiveTelescoping {
        /// Where it may stop.
        levels: Levels,
        /// Last inner steps differentiated in any case, 0 to `inner.steps`.
        truncate: usize,
        /// What shares a draw.
        coin: Coin,
        /// How the chances are chosen.
        #[serde(flatten)]
        tuning: Tuning,
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

/// What UFOM debiases.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Base {
    /// Last inner steps differentiated in any case, 0 to `inner.steps`.
    pub truncate: usize,
    /// What shares a coin.
    pub coin: Coin,
    /// Whether the base is corrected by its past errors.
    pub tracking: Tracking,
    /// c of a [`Tracking::Fixed`], > 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coefficient: Option<f64>,
    /// Share that the past keeps in the tracked error where q is fixed, in [0, 1).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(rename = "beta")]
    pub tracking_beta: Option<f64>,
}

/// How an estimator chooses its probabilities while running.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Tuning {
    /// p, how the time to an accuracy grows with the second moment; > 0.
    pub exponent: f64,
    /// Share that the past keeps in the averages, in [0, 1).
    pub beta: f64,
    /// The smallest probability, in (0, 1].
    pub floor: f64,
    /// In what costs are counted.
    pub costs: CostUnit,
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
            Self::StepCoins { .. } | Self::AdaptiveStepCoins { .. } => Name::StepCoins,
            Self::Telescoping { .. } | Self::AdaptiveTelescoping { .. } => Name::Telescoping,
            Self::Reptile => Name::Reptile,
            Self::Implicit { .. } => Name::Implicit,
        };
        name.name()
    }
}

/// The section, checked, for `steps` inner steps; `deterministic` runs measure no times.
pub fn check(checker: &mut Checker, steps: usize, deterministic: bool) -> Estimator {
    let name = checker.get(&NAME);
    refuse_unused(checker, name);
    let coin = checker.get(&COIN);
    match name {
        Name::FirstOrder => Estimator::FirstOrder,
        Name::Exact => Estimator::Exact,
        Name::Reptile => Estimator::Reptile,
        Name::Implicit => {
            Estimator::Implicit { iterations: checker.get(&ITERATIONS), damping: checker.get(&DAMPING) }
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
        Name::Ufom => Estimator::Ufom { q: checker.get(&Q), base: base(checker, steps, true) },
        Name::Adaptive => {
            let compat = checker.get(&COMPAT);
            if compat == Compat::None {
                checker.unused(
                    &CLIP_PRODUCTS,
                    &COMPAT,
                    compat,
                    "clipping inside the walk biases the estimate",
                );
            }
            Estimator::Adaptive {
                base: base(checker, steps, false),
                tuning: tuning(checker, deterministic),
                compat,
                clip_products: checker.find(&CLIP_PRODUCTS),
            }
        }
        Name::StepCoins => match checker.find(&P) {
            Some(p) => Estimator::StepCoins { p: one_each(checker, p, steps), coin },
            None => Estimator::AdaptiveStepCoins {
                coin,
                tuning: tuning(checker, deterministic),
                curvature_floor: checker.get(&CURVATURE_FLOOR),
            },
        },
        Name::Telescoping => {
            let (levels, truncate) = (levels(checker, steps), truncate(checker, steps));
            match checker.find(&SURVIVAL) {
                Some(survival) => Estimator::Telescoping { survival, levels, truncate, coin },
                None => {
                    let tuning = tuning(checker, deterministic);
                    Estimator::AdaptiveTelescoping { levels, truncate, coin, tuning }
                }
            }
        }
    }
}

fn tuning(checker: &mut Checker, deterministic: bool) -> Tuning {
    Tuning {
        exponent: checker.get(&EXPONENT),
        beta: checker.get(&BETA),
        floor: checker.get(&FLOOR),
        costs: costs(checker, deterministic),
    }
}

/// Measured unless that would make of equal runs different ones.
fn costs(checker: &mut Checker, deterministic: bool) -> CostUnit {
    match checker.find(&COSTS) {
        Some(CostUnit::Measured) if deterministic => {
            let reason = "`estimator.costs` = \"measured\" does not go with deterministic = true: no two runs take \
                          the same time; use \"counted\"";
            checker.contradicts(&COSTS, &root::DETERMINISTIC, reason.into());
            CostUnit::Counted
        }
        Some(costs) => costs,
        None if deterministic => CostUnit::Counted,
        None => CostUnit::Measured,
    }
}

/// `fixed`: whether q is, so that only tracking needs β.
fn base(checker: &mut Checker, steps: usize, fixed: bool) -> Base {
    let tracking = checker.get(&TRACKING);
    if tracking != Tracking::Fixed {
        checker.unused(&COEFFICIENT, &TRACKING, tracking, "only a \"fixed\" tracking has a coefficient");
    }
    if fixed && tracking == Tracking::Off {
        checker.unused(&BETA, &TRACKING, tracking, "\"ufom\" averages nothing but what it tracks");
    }
    let coefficient = checker.find(&COEFFICIENT).unwrap_or(1.0);
    let beta = checker.get(&BETA);
    Base {
        truncate: truncate(checker, steps),
        coin: checker.get(&COIN),
        tracking,
        coefficient: (tracking == Tracking::Fixed).then_some(coefficient),
        tracking_beta: (fixed && tracking != Tracking::Off).then_some(beta),
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

fn one_each(checker: &mut Checker, p: Probabilities, steps: usize) -> Probabilities {
    if let Probabilities::Each(each) = &p
        && each.len() != steps
    {
        let reason = format!(
            "`estimator.p` must be one probability or a list of {steps} (inner.steps), got {}",
            each.len()
        );
        checker.contradicts(&P, &inner::STEPS, reason);
    }
    p
}

fn levels(checker: &mut Checker, steps: usize) -> Levels {
    let levels = checker.find(&LEVELS).unwrap_or(Levels::Rule(LevelRule::Powers));
    if let Levels::At(depths) = &levels
        && let Some(deep) = depths.iter().find(|depth| **depth > steps)
    {
        let reason = format!("`estimator.levels` must be depths from 1 to {steps} (inner.steps), got {deep}");
        checker.contradicts(&LEVELS, &inner::STEPS, reason);
    }
    levels
}
