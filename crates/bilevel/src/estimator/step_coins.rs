//! Step coins: an independent coin for the product of each inner step.
//!
//! ```text
//! v_{j−1} = v_j − α_j (ξ_j/p_j) H_j v_j,   ξ_j ~ Bernoulli(p_j), all independent
//! ```
//!
//! Since E Π_j(I − α_j(ξ_j/p_j)H_j) = Π_j(I − α_jH_j), and likewise for the mixed terms, the estimate is unbiased,
//! also for θ ≠ φ, and needs no truncated base. UFOM's single coin scales the r increments Δ_j together: variance
//! (1/q − 1)‖ΣΔ_j‖². Independent coins leave about Σ_j(1/p_j − 1)‖Δ_j‖², up to r times less at the same cost
//! (docs/mathematics.md, "Estimators"; compare Tallec & Ollivier, *Unbiasing truncated backpropagation through time*,
//! 2017).
//!
//! Errors multiply: along a direction of curvature λ the second moment grows by the factor 1 − 2αλ + α²λ²/p in each
//! step, so a p below about αλ/2 gives heavy tails. Fixed probabilities suit small inner rates; [`AdaptiveStepCoins`]
//! follow the curvature.

use super::coin::uniforms;
use super::range::assert_probability;
use super::{AdaptiveStepCoins, Coin, Estimator, Settings, Tuning};
use crate::hypergradient::Draw;
use rand::Rng;
use serde::{Deserialize, Serialize};

/// Probabilities of the products of the inner steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Probabilities {
    /// The same for all inner steps, in (0, 1].
    Same(f64),
    /// That of inner step j at index j − 1, each in (0, 1]; inner steps beyond the list are always taken.
    Each(Vec<f64>),
}

/// Settings of step coins, with fixed or adaptive probabilities.
///
/// The default is adaptive: `coin` [`Coin::Task`], `tuning` [`Tuning::default`], `curvature_floor` ¾. Best for many
/// inner steps, where it was the cheapest unbiased estimator at every inner rate measured (docs/estimators.md). Fixed
/// probabilities are for small inner rates only: p below about half of inner rate × curvature gives heavy tails.
///
/// ```
/// use bilevel::estimator::{Settings, StepCoinsSettings};
/// use bilevel::rng::generator;
///
/// // Differentiate each of 10 inner steps with probability 0.2.
/// let estimator = StepCoinsSettings::fixed(0.2).build();
/// assert!(estimator.is_unbiased(10));
/// let products = estimator.draw(&mut generator(0, "coins", 0), 1000, 10).cost().products;
/// assert!((1800..2200).contains(&products));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum StepCoinsSettings {
    /// Fixed probabilities.
    Fixed {
        /// The probabilities of the products.
        p: Probabilities,
        /// How coins are drawn for the tasks of an outer step.
        coin: Coin,
    },
    /// Probabilities chosen from running estimates.
    Adaptive {
        /// How coins are drawn for the tasks of an outer step.
        coin: Coin,
        /// How the probabilities are chosen.
        #[serde(flatten)]
        tuning: Tuning,
        /// κ ≥ 0: p is at least κ × inner rate × the largest curvature observed.
        curvature_floor: f64,
    },
}

impl StepCoinsSettings {
    /// The same fixed p, in (0, 1], for every inner step, and independent coins for each task.
    pub fn fixed(p: f64) -> Self {
        Self::Fixed { p: Probabilities::Same(p), coin: Coin::Task }
    }
}

impl Default for StepCoinsSettings {
    /// Adaptive, with independent coins for each task and κ = ¾.
    fn default() -> Self {
        Self::Adaptive { coin: Coin::Task, tuning: Tuning::default(), curvature_floor: 0.75 }
    }
}

impl Settings for StepCoinsSettings {
    const KEYS: &'static [&'static str] =
        &["p", "coin", "exponent", "beta", "floor", "costs", "curvature_floor"];
    const ADAPTS_WITHOUT: Option<&'static str> = Some("p");

    fn build(&self) -> Box<dyn Estimator> {
        match self.clone() {
            Self::Fixed { p, coin } => {
                let coins = StepCoins { p, coin };
                coins.check();
                Box::new(coins)
            }
            Self::Adaptive { coin, tuning, curvature_floor } => {
                Box::new(AdaptiveStepCoins::new(coin, tuning, curvature_floor))
            }
        }
    }
}

/// Step coins with fixed probabilities.
#[derive(Clone, Debug)]
pub struct StepCoins {
    /// p_j, each in (0, 1].
    pub p: Probabilities,
    /// How coins are drawn for the tasks of an outer step.
    pub coin: Coin,
}

impl StepCoins {
    /// The same p for every inner step, and independent coins for each task.
    ///
    /// # Panics
    /// Panics unless p is in (0, 1].
    pub fn new(p: f64) -> Self {
        let coins = Self { p: Probabilities::Same(p), coin: Coin::Task };
        coins.check();
        coins
    }

    /// Panics unless every p_j is in (0, 1].
    fn check(&self) {
        let all = match &self.p {
            Probabilities::Same(p) => std::slice::from_ref(p),
            Probabilities::Each(p) => &p[..],
        };
        all.iter().for_each(|p| assert_probability("the probability of step coins", *p));
    }
}

impl Estimator for StepCoins {
    /// # Panics
    /// Panics unless every p_j is in (0, 1].
    fn draw(&self, coins: &mut dyn Rng, tasks: usize, steps: usize) -> Draw {
        self.check();
        let p = match &self.p {
            Probabilities::Same(p) => vec![*p; steps],
            Probabilities::Each(p) => (0..steps).map(|step| p.get(step).copied().unwrap_or(1.0)).collect(),
        };
        toss(self.coin, coins, tasks, &p)
    }

    fn is_unbiased(&self, _steps: usize) -> bool {
        true
    }

    fn max_depth(&self, steps: usize) -> usize {
        steps
    }
}

/// A draw for `tasks` tasks in which the product of inner step j is taken with probability `p[j − 1]`.
pub(super) fn toss(coin: Coin, coins: &mut dyn Rng, tasks: usize, p: &[f64]) -> Draw {
    let mut draw = Draw::truncated(tasks, p.len(), p.len());
    for (step, p) in (1..).zip(p) {
        for (task, uniform) in uniforms(coin, coins, tasks).into_iter().enumerate() {
            draw.set_factor(step, task, if uniform < *p { 1.0 / p } else { 0.0 });
        }
    }
    draw
}
