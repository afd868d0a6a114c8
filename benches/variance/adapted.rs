//! Adaptive step coins, adapted at one θ on changing tasks.

use crate::setting::Setting;
use crate::{EXPONENT, META_BATCH, Options};
use bilevel::estimator::{AdaptiveStepCoins, Coin, CostUnit, Estimator, Tuning, learn};
use bilevel::hypergradient::Memory;
use bilevel::rng::generator;
use bilevel::variance::Price;
use serde_json::Value;

/// The result of the adaptation.
pub struct AdaptedStepCoins {
    /// p_1 … p_r.
    pub p: Vec<f64>,
    /// Their estimate of 𝕍².
    pub exact: f64,
    /// Their estimate of Σ‖Δ_j‖².
    pub increments: f64,
}

impl AdaptedStepCoins {
    /// Runs `options.adapt_steps` outer steps at `setting`, with times computed from `price` instead of measured ones.
    pub fn new(options: &Options, setting: &Setting, curvature_floor: f64, price: Price) -> Self {
        let steps = options.steps;
        let tuning = Tuning { exponent: EXPONENT, beta: 0.99, floor: 0.05, costs: CostUnit::Measured };
        let mut estimator = AdaptiveStepCoins::new(Coin::Task, tuning, curvature_floor);
        for step in 0..options.adapt_steps {
            let draw = estimator.draw(&mut generator(2, "coin", step), META_BATCH, steps);
            let workers = &setting.learner.opened.workers;
            let problem = setting.adaptation_batch(step);
            let estimate = workers.estimate(&problem, &setting.theta, &draw, Memory::Store);
            let products = estimate.evaluations.products as f64;
            let seconds = META_BATCH as f64 * price.fixed + products * price.product;
            learn(&mut estimator, &draw, &estimate, seconds);
        }
        let metrics = estimator.metrics(META_BATCH, steps);
        let increments = metrics["step_second_moments"].as_array().into_iter().flatten();
        Self {
            p: estimator.probabilities(META_BATCH, steps),
            exact: metrics["exact_second_moment"].as_f64().unwrap_or_default(),
            increments: increments.filter_map(Value::as_f64).sum(),
        }
    }
}
