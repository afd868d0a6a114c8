//! Adaptive step coins, taught at one θ on changing tasks.

use crate::place::{META_BATCH, Place};
use crate::{EXPONENT, Options};
use metaburn::config::{Coin, CostUnit, Tuning};
use metaburn::diagnosis::Price;
use metaburn::estimator::{AdaptiveStepCoins, Estimator};
use metaburn::random::generator;
use serde_json::Value;

/// What became of them.
pub struct Taught {
    /// p_1 … p_r.
    pub p: Vec<f64>,
    /// What they take 𝕍² for.
    pub exact: f64,
    /// What they take Σ‖Δ_j‖² for.
    pub increments: f64,
}

impl Taught {
    /// By `options.taught` outer steps at `place`, with products at `price`, as a clock without noise would show it.
    pub fn new(options: &Options, place: &Place, curvature_floor: f64, price: Price) -> Self {
        let steps = options.steps;
        let tuning = Tuning { exponent: EXPONENT, beta: 0.99, floor: 0.05, costs: CostUnit::Measured };
        let mut law = AdaptiveStepCoins::new(Coin::Task, tuning, curvature_floor);
        for lesson in 0..options.taught {
            let draw = law.draw(&mut generator(2, "coin", lesson), META_BATCH, steps);
            let workers = &place.learner.opened.workers;
            let estimate = workers.estimate(&place.lesson(lesson), &place.theta, &draw);
            let products = estimate.evaluations.products as f64;
            law.observe(&draw, &estimate, META_BATCH as f64 * price.fixed + products * price.product);
        }
        let report = law.report(META_BATCH, steps);
        let increments = report["step_second_moments"].as_array().into_iter().flatten();
        Self {
            p: law.probabilities(META_BATCH, steps),
            exact: report["exact_second_moment"].as_f64().unwrap_or_default(),
            increments: increments.filter_map(Value::as_f64).sum(),
        }
    }
}
