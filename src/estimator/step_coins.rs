//! Step coins: each inner step's product has a coin of its own.
//!
//! ```text
//! v_{j−1} = v_j − α_j (ξ_j/p) H_j v_j,   ξ_j ~ Bernoulli(p), all independent
//! ```
//!
//! Since E Π_j(I − α_j(ξ_j/p)H_j) = Π_j(I − α_jH_j), and likewise for the mixed terms, the estimate
//! is unbiased, for θ ≠ φ too, without a truncated base. UFOM's one coin makes the r increments Δ_j err
//! together, variance (1/q − 1)‖ΣΔ_j‖²; independent coins leave about Σ_j(1/p − 1)‖Δ_j‖², up to r
//! times less at the same cost (METHOD, "Step coins"; compare Tallec & Ollivier, *Unbiasing truncated
//! backpropagation through time*, 2017).
//!
//! Errors multiply: along curvature λ the second moment grows by 1 − 2αλ + α²λ²/p a step, so a p
//! below about αλ/2 gives heavy tails. A fixed p is for small inner rates.

use super::Estimator;
use crate::hypergradient::Draw;
use rand::{Rng, RngExt};

/// Step coins with one probability.
#[derive(Clone, Copy, Debug)]
pub struct StepCoins {
    /// p, in (0, 1].
    pub p: f64,
}

impl Estimator for StepCoins {
    fn draw(&self, coins: &mut dyn Rng, tasks: usize, steps: usize) -> Draw {
        let mut draw = Draw::truncated(tasks, steps, steps);
        for task in 0..tasks {
            for step in 1..=steps {
                let taken = coins.random::<f64>() < self.p;
                draw.set_factor(step, task, if taken { 1.0 / self.p } else { 0.0 });
            }
        }
        draw
    }

    fn is_unbiased(&self, _steps: usize) -> bool {
        true
    }
}
