//! Adaptive telescoping: a telescope with survival probabilities chosen from running estimates.
//!
//! A draw that reaches level m gives every product δ_k·δ_l with k, l ≤ m of the increments
//! δ_l = g_{K_l} − g_{K_{l−1}}. N is independent of the task, so averages over those draws are unbiased for E δ_k·δ_l, and
//!
//! ```text
//! β_l = E‖δ_l‖² + 2 Σ_{m > l} E δ_l·δ_m,   𝕍² = E‖g_r‖² over the draws that reach r
//! minimise  (C + Σ_l s_l c_l) · (𝕍² + Σ_l (1/s_l − 1) β_l)^p,   1 ≥ s_1 ≥ … ≥ s_L ≥ floor
//! ```
//!
//! by [`allocation::descending`]. Before the first draw that reaches r all survival probabilities are at the floor. One
//! level is adaptive UFOM.

use super::allocation::{self, Budget, Share};
use super::average::Average;
use super::coin::AtCoin;
use super::metrics::metrics;
use super::price::{Prices, Walks};
use super::telescope::telescope;
use super::telescoping::depths;
use super::{Coin, Estimator, Levels, Observation, Readings, State, Statistics, Tuning};
use crate::hypergradient::{Draw, Estimate, places};
use crate::params::Params;
use crate::stats::mean;
use rand::Rng;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// A telescope with survival probabilities chosen from running estimates.
#[derive(Clone, Debug)]
pub struct AdaptiveTelescoping {
    /// Depths at which the telescope may stop.
    pub levels: Levels,
    /// K_0, the number of last inner steps that are always differentiated.
    pub depth: usize,
    /// How depths are drawn for the tasks of an outer step.
    pub coin: Coin,
    /// How the survival probabilities are chosen.
    pub tuning: Tuning,
    estimates: RunningEstimates,
}

/// Running estimates.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct RunningEstimates {
    /// 𝕍².
    exact: Average,
    /// E δ_k·δ_l at index (l, k), k ≤ l, both from 0.
    products: Vec<Vec<Average>>,
    /// Number of outer steps in which r was reached.
    draws: u64,
    prices: Prices,
}

impl AdaptiveTelescoping {
    /// Adaptive telescoping before its first draw.
    ///
    /// # Panics
    /// Panics if a setting of `tuning` is outside of its range.
    pub fn new(levels: Levels, depth: usize, coin: Coin, tuning: Tuning) -> Self {
        Self { levels, depth, coin, tuning: tuning.checked(), estimates: RunningEstimates::default() }
    }

    /// The current s_1 … s_L for `tasks` tasks of `steps` inner steps.
    pub fn survival(&self, tasks: usize, steps: usize) -> Vec<f64> {
        let depths = depths(&self.levels, self.depth, steps);
        let Tuning { exponent, floor, costs, .. } = self.tuning;
        // A checkpoint may have been written with other levels.
        let variances = self.variances().filter(|variances| variances.len() + 1 == depths.len());
        let (Some(exact), Some(variances)) = (self.estimates.exact.get(), variances) else {
            return vec![floor; depths.len() - 1];
        };
        let costs = self.estimates.prices.costs(costs, Walks { tasks, steps, depth: depths[0] });
        let each = costs.random / (steps - depths[0]).max(1) as f64;
        let spans = depths.windows(2).map(|pair| (pair[1] - pair[0]) as f64);
        let shares: Vec<Share> = spans
            .zip(variances)
            .map(|(span, variance)| Share { variance, cost: each * span, floor })
            .collect();
        allocation::descending(&shares, Budget { exact, fixed: costs.fixed, exponent })
    }

    /// β_1 … β_L; `None` before the first draw that reaches r.
    fn variances(&self) -> Option<Vec<f64>> {
        let products = &self.estimates.products;
        let product = |k: usize, l: usize| products[k.max(l)][k.min(l)].get();
        let levels = products.len();
        (0..levels)
            .map(|l| {
                let beyond: Option<f64> = (l + 1..levels).map(|m| product(l, m)).sum();
                Some(product(l, l)? + 2.0 * beyond?)
            })
            .collect()
    }

    /// Statistics of `estimate`, made with `draw`.
    fn statistics(&self, draw: &Draw, estimate: &Estimate) -> TelescopeStatistics<Readings> {
        let steps = draw.steps();
        let depths = depths(&self.levels, self.depth, steps);
        let levels: Vec<Level> = depths
            .windows(2)
            .map(|pair| Level { tasks: draw.summed(pair[1]), own: estimate.between(pair[0], pair[1]) })
            .take_while(|level| !level.tasks.is_empty())
            .collect();
        let row = |(l, level): (usize, &Level)| {
            let at_coin = |own: Option<Params>| AtCoin::new(estimate, &level.tasks, own, self.coin);
            let increment = at_coin(level.own.as_ref().map(|(_, increment)| increment.clone()));
            let product = |earlier: &Level| {
                let both = level.own.as_ref().zip(earlier.own.as_ref());
                let selected = both.map(|((tasks, _), (all, earlier))| earlier.select(&places(tasks, all)));
                at_coin(selected).products(&increment)
            };
            levels[..=l].iter().map(product).collect()
        };
        // A draw that reaches r passes every level.
        let exact = draw.summed(steps);
        let squares = || {
            let own = estimate.partial_gradient(steps).map(|(_, exact)| exact);
            AtCoin::new(estimate, &exact, own, self.coin).squared_norms()
        };
        TelescopeStatistics {
            products: levels.iter().enumerate().map(row).collect(),
            exact: (depths.len() > 1 && !exact.is_empty()).then(squares),
        }
    }

    /// Updates the running estimates with the statistics of an estimate for `steps` inner steps.
    fn update(&mut self, steps: usize, statistics: &TelescopeStatistics<Vec<f64>>) {
        let beta = self.tuning.beta;
        let levels = depths(&self.levels, self.depth, steps).len() - 1;
        self.estimates.products.resize_with(levels, Vec::new);
        for (row, products) in self.estimates.products.iter_mut().enumerate() {
            products.resize(row + 1, Average::default());
        }
        for (products, means) in self.estimates.products.iter_mut().zip(&statistics.products) {
            products.iter_mut().zip(means).for_each(|(product, values)| product.add(mean(values), beta));
        }
        if let Some(exact) = &statistics.exact {
            self.estimates.exact.add(mean(exact), beta);
            self.estimates.draws += 1;
        }
    }
}

/// A level of the telescope.
struct Level {
    /// The tasks of the whole meta-batch that reach it.
    tasks: Vec<usize>,
    /// Those that the estimate covers, if any, and their δ_l.
    own: Option<(Vec<usize>, Params)>,
}

/// Statistics of an estimate, one value for each coin.
struct TelescopeStatistics<T> {
    /// δ_k·δ_l at index (l, k), k ≤ l, both from 0, for the levels reached.
    products: Vec<Vec<T>>,
    /// ‖g_r‖², if r was reached.
    exact: Option<T>,
}

impl Statistics for TelescopeStatistics<Readings> {
    type Values = TelescopeStatistics<Vec<f64>>;

    fn values(&self, read: &mut dyn FnMut(&Readings) -> Vec<f64>) -> Self::Values {
        TelescopeStatistics { products: self.products.values(read), exact: self.exact.values(read) }
    }
}

impl Estimator for AdaptiveTelescoping {
    fn draw(&self, coins: &mut dyn Rng, tasks: usize, steps: usize) -> Draw {
        let depths = depths(&self.levels, self.depth, steps);
        let survival = self.survival(tasks, steps);
        telescope(self.coin, coins, tasks, steps, &depths, &survival).0.observed()
    }

    fn is_unbiased(&self, _steps: usize) -> bool {
        true
    }

    fn max_depth(&self, steps: usize) -> usize {
        steps
    }

    fn observe(&mut self, draw: &Draw, estimate: &Estimate) -> Option<Observation> {
        let (tasks, steps, cost) = (draw.tasks(), draw.steps(), estimate.evaluations);
        let statistics = self.statistics(draw, estimate);
        Some(Observation::new(statistics, move |telescoping: &mut Self, statistics, seconds| {
            telescoping.estimates.prices.observe(cost, tasks, seconds);
            telescoping.update(steps, &statistics);
        }))
    }

    fn metrics(&self, tasks: usize, steps: usize) -> Map<String, Value> {
        let walks = Walks { tasks, steps, depth: self.depth.min(steps) };
        let costs = self.estimates.prices.costs(self.tuning.costs, walks);
        metrics([
            ("depths", json!(depths(&self.levels, self.depth, steps))),
            ("survival", json!(self.survival(tasks, steps))),
            ("exact_second_moment", json!(self.estimates.exact.get())),
            ("level_variances", json!(self.variances())),
            ("cost_fixed", json!(costs.fixed)),
            ("cost_random", json!(costs.random)),
            ("exact_draws", json!(self.estimates.draws)),
        ])
    }

    fn state(&self) -> State {
        State::of(json!(self.estimates))
    }

    fn restore(&mut self, state: &State) -> Result<(), String> {
        let estimates: RunningEstimates = state.read()?.unwrap_or_default();
        if estimates.products.iter().enumerate().any(|(row, products)| products.len() != row + 1) {
            return Err("the state of the estimator has the wrong number of products for its levels".into());
        }
        self.estimates = estimates;
        Ok(())
    }
}
