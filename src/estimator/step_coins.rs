//! Step coins: each inner step's product has a coin of its own.
//!
//! ```text
//! v_{j−1} = v_j − α_j (ξ_j/p_j) H_j v_j,   ξ_j ~ Bernoulli(p_j), all independent
//! ```
//!
//! Since E Π_j(I − α_j(ξ_j/p_j)H_j) = Π_j(I − α_jH_j), and likewise for the mixed terms, the estimate
//! is unbiased, for θ ≠ φ too, without a truncated base. UFOM's one coin makes the r increments Δ_j err
//! together, variance (1/q − 1)‖ΣΔ_j‖²; independent coins leave about Σ_j(1/p_j − 1)‖Δ_j‖², up to r
//! times less at the same cost (METHOD, "Step coins"; compare Tallec & Ollivier, *Unbiasing truncated
//! backpropagation through time*, 2017).
//!
//! Errors multiply: along curvature λ the second moment grows by 1 − 2αλ + α²λ²/p a step, so a p
//! below about αλ/2 gives heavy tails. A fixed p is for small inner rates.

use super::Estimator;
use super::coin::uniforms;
use crate::config::{Coin, Probabilities};
use crate::hypergradient::Draw;
use rand::Rng;

/// Step coins with fixed probabilities.
#[derive(Clone, Debug)]
pub struct StepCoins {
    /// p_j, each in (0, 1].
    pub p: Probabilities,
    /// Who shares a step's coin.
    pub coin: Coin,
}

impl StepCoins {
    /// The same p for every step, and coins for each task.
    pub fn new(p: f64) -> Self {
        Self { p: Probabilities::Same(p), coin: Coin::Task }
    }
}

impl Estimator for StepCoins {
    fn draw(&self, coins: &mut dyn Rng, tasks: usize, steps: usize) -> Draw {
        let p = match &self.p {
            Probabilities::Same(p) => vec![*p; steps],
            // Steps beyond the list are taken.
            Probabilities::Each(p) => (0..steps).map(|step| p.get(step).copied().unwrap_or(1.0)).collect(),
        };
        tossed(self.coin, coins, tasks, &p)
    }

    fn is_unbiased(&self, _steps: usize) -> bool {
        true
    }
}

/// A draw for `tasks` tasks in which inner step j's product is taken with probability `p[j − 1]`.
pub(super) fn tossed(coin: Coin, coins: &mut dyn Rng, tasks: usize, p: &[f64]) -> Draw {
    let mut draw = Draw::truncated(tasks, p.len(), p.len());
    for (step, p) in (1..).zip(p) {
        for (task, uniform) in uniforms(coin, coins, tasks).into_iter().enumerate() {
            draw.set_factor(step, task, if uniform < *p { 1.0 / p } else { 0.0 });
        }
    }
    draw
}
