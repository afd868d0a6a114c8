//! Adaptive telescoping: a telescope whose chances follow running estimates of what they depend on.
//!
//! Draws that reach level m show every product δ_k·δ_l with k, l ≤ m of the increments δ_l = g_{K_l} − g_{K_{l−1}}. N is
//! independent of the task, so plain averages over those draws are unbiased for E δ_k·δ_l, and
//!
//! ```text
//! β_l = E‖δ_l‖² + 2 Σ_{m > l} E δ_l·δ_m,   𝕍² = E‖g_r‖² over the draws that reach r
//! minimise  (C + Σ_l s_l c_l) · (𝕍² + Σ_l (1/s_l − 1) β_l)^p,   1 ≥ s_1 ≥ … ≥ s_L ≥ floor
//! ```
//!
//! by [`allocation::descending`]. Before the first draw that reaches r all chances are the floor. With one level this is
//! adaptive UFOM.

use super::allocation::{self, Budget, Share};
use super::average::Average;
use super::price::Prices;
use super::report::report;
use super::telescope::telescope;
use super::telescoping::depths;
use super::ufom::at_coin;
use super::{Estimator, State};
use crate::config::{Coin, Levels, Tuning};
use crate::hypergradient::{Draw, Estimate, places};
use crate::stack::Stack;
use burn::tensor::Tensor;
use rand::Rng;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// A telescope whose law adapts.
#[derive(Clone, Debug)]
pub struct AdaptiveTelescoping {
    /// Where it may stop.
    pub levels: Levels,
    /// K_0, taken in any case.
    pub depth: usize,
    /// Who shares a draw.
    pub coin: Coin,
    /// How the chances are chosen.
    pub tuning: Tuning,
    learned: Learned,
}

/// What it has learned.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Learned {
    /// 𝕍².
    exact: Average,
    /// E δ_k·δ_l at place (l, k), k ≤ l, counted from 0.
    products: Vec<Vec<Average>>,
    /// How often r was reached.
    draws: u64,
    prices: Prices,
}

impl AdaptiveTelescoping {
    /// Knowing nothing yet.
    pub fn new(levels: Levels, depth: usize, coin: Coin, tuning: Tuning) -> Self {
        Self { levels, depth, coin, tuning, learned: Learned::default() }
    }

    /// s_1 … s_L as things stand, for `tasks` tasks of `steps` inner steps.
    pub fn survival(&self, tasks: usize, steps: usize) -> Vec<f64> {
        let depths = depths(&self.levels, self.depth, steps);
        let Tuning { exponent, floor, costs, .. } = self.tuning;
        // A checkpoint may know of other levels.
        let variances = self.variances().filter(|variances| variances.len() + 1 == depths.len());
        let (Some(exact), Some(variances)) = (self.learned.exact.get(), variances) else {
            return vec![floor; depths.len() - 1];
        };
        let costs = self.learned.prices.costs(costs, [tasks, steps, depths[0]]);
        let each = costs.random / (steps - depths[0]).max(1) as f64;
        let spans = depths.windows(2).map(|pair| (pair[1] - pair[0]) as f64);
        let shares: Vec<Share> = spans
            .zip(variances)
            .map(|(span, variance)| Share { variance, cost: each * span, floor })
            .collect();
        allocation::descending(&shares, Budget { exact, fixed: costs.fixed, exponent })
    }

    /// β_1 … β_L; `None` before r was reached.
    fn variances(&self) -> Option<Vec<f64>> {
        let products = &self.learned.products;
        let product = |k: usize, l: usize| products[k.max(l)][k.min(l)].get();
        let levels = products.len();
        (0..levels)
            .map(|l| {
                let beyond: Option<f64> = (l + 1..levels).map(|m| product(l, m)).sum();
                Some(product(l, l)? + 2.0 * beyond?)
            })
            .collect()
    }
}

impl Estimator for AdaptiveTelescoping {
    fn draw(&self, coins: &mut dyn Rng, tasks: usize, steps: usize) -> Draw {
        let depths = depths(&self.levels, self.depth, steps);
        let survival = self.survival(tasks, steps);
        telescope(self.coin, coins, [tasks, steps], &depths, &survival).0.observed()
    }

    fn is_unbiased(&self, _steps: usize) -> bool {
        true
    }

    fn look(&mut self, draw: &Draw, estimate: &Estimate) -> Vec<Tensor<1>> {
        let depths = depths(&self.levels, self.depth, draw.steps());
        let reached = depths.windows(2).map_while(|pair| estimate.between(pair[0], pair[1]));
        let increments: Vec<(Vec<usize>, Stack)> = reached.collect();
        let mut means: Vec<Tensor<1>> = Vec::new();
        for (l, (tasks, increment)) in increments.iter().enumerate() {
            let increment = at_coin(increment.clone(), self.coin);
            for (all, earlier) in &increments[..=l] {
                let earlier = at_coin(earlier.select(&places(tasks, all)), self.coin);
                means.push(earlier.dot(increment.clone()).mean());
            }
        }
        // Who reaches r has passed every level.
        if let Some((_, exact)) = estimate.landmark(draw.steps()).filter(|_| depths.len() > 1) {
            means.push(at_coin(exact, self.coin).squared_norm().mean());
        }
        means
    }

    fn learn(&mut self, draw: &Draw, estimate: &Estimate, seen: &[Vec<f64>], seconds: f64) {
        let beta = self.tuning.beta;
        self.learned.prices.observe(estimate.evaluations.products as f64, seconds);
        let levels = depths(&self.levels, self.depth, draw.steps()).len() - 1;
        self.learned.products.resize_with(levels, Vec::new);
        for (row, products) in self.learned.products.iter_mut().enumerate() {
            products.resize(row + 1, Average::default());
        }
        let mut means = seen.iter().flatten();
        for (product, mean) in self.learned.products.iter_mut().flatten().zip(means.by_ref()) {
            product.add(*mean, beta);
        }
        if let Some(exact) = means.next() {
            self.learned.exact.add(*exact, beta);
            self.learned.draws += 1;
        }
    }

    fn report(&self, tasks: usize, steps: usize) -> Map<String, Value> {
        let costs = self.learned.prices.costs(self.tuning.costs, [tasks, steps, self.depth.min(steps)]);
        report([
            ("depths", json!(depths(&self.levels, self.depth, steps))),
            ("survival", json!(self.survival(tasks, steps))),
            ("exact_second_moment", json!(self.learned.exact.get())),
            ("level_variances", json!(self.variances())),
            ("cost_fixed", json!(costs.fixed)),
            ("cost_random", json!(costs.random)),
            ("exact_draws", json!(self.learned.draws)),
        ])
    }

    fn state(&self) -> State {
        State::of(json!(self.learned))
    }

    fn restore(&mut self, state: &State) -> Result<(), String> {
        let learned: Learned = state.read()?.unwrap_or_default();
        if learned.products.iter().enumerate().any(|(row, products)| products.len() != row + 1) {
            return Err("the estimator's products of levels are not as many as its levels have".into());
        }
        self.learned = learned;
        Ok(())
    }
}
