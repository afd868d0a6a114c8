//! Adaptive UFOM: UFOM whose q follows running estimates of what it depends on.
//!
//! Exact draws show ‖g_exact‖² and ‖g_exact − g_K‖²; exponential averages of them stand for 𝕍² and 𝔻²
//! in the closed form of [`best_q`](super::best_q()). Given the past, q is fixed before the coin
//! is tossed, so each estimate stays unbiased. Likhosherstov et al. 2021, §4, with β = 0.99 and the
//! same q, 0.05, before the first exact draw and as a floor; but 𝔻² is measured on the difference
//! itself, where their code has rescaled it already.
//!
//! The averages are kept at the level of the coin: of single tasks' gradients where each task has
//! a coin, of the meta-batch's mean where all share one.

use super::average::Average;
use super::best_q::{Costs, SecondMoments, best_q};
use super::price::Prices;
use super::{Estimator, Ufom};
use crate::config::{Coin, CostUnit};
use crate::hypergradient::{Draw, Estimate};
use crate::stack::Stack;
use rand::Rng;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// How adaptive UFOM behaves.
#[derive(Clone, Copy, Debug)]
pub struct AdaptiveUfom {
    /// K of the truncated base.
    pub depth: usize,
    /// Who shares a coin.
    pub coin: Coin,
    /// p, how the time to an accuracy grows with the second moment.
    pub exponent: f64,
    /// β, the share that the past keeps in the averages.
    pub beta: f64,
    /// The smallest q, and the q before the first exact draw; in (0, 1].
    pub floor: f64,
    /// In what costs are counted.
    pub unit: CostUnit,
    /// What it has learned.
    pub learned: Learned,
}

/// What adaptive UFOM has learned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Learned {
    exact: Average,
    error: Average,
    draws: u64,
    prices: Prices,
}

impl AdaptiveUfom {
    /// The probability of an exact draw as things stand, for `tasks` tasks of `steps` inner steps.
    pub fn q(&self, tasks: usize, steps: usize) -> f64 {
        match self.moments() {
            // Without products to save there is nothing to choose.
            _ if self.depth >= steps => 1.0,
            Some(moments) => best_q(moments, self.costs(tasks, steps), self.exponent).max(self.floor),
            None => self.floor,
        }
    }

    fn moments(&self) -> Option<SecondMoments> {
        Some(SecondMoments { exact: self.learned.exact.get()?, error: self.learned.error.get()? })
    }

    fn costs(&self, tasks: usize, steps: usize) -> Costs {
        self.learned.prices.costs(self.unit, [tasks, steps, self.depth.min(steps)])
    }

    /// 𝕍² and 𝔻² as this estimate shows them, at the level of the coin; `None` without exact draws.
    fn shown(&self, draw: &Draw, estimate: &Estimate) -> Option<SecondMoments> {
        let (tasks, exact) = estimate.landmark(draw.steps())?;
        let (_, truncated) = estimate.landmark(self.depth)?;
        let error = exact.clone() - truncated.select(&tasks);
        let second_moment = |gradients: Stack| {
            let at_coin = if self.coin == Coin::Step { gradients.mean() } else { gradients };
            at_coin.squared_norm().mean().into_scalar::<f64>()
        };
        Some(SecondMoments { exact: second_moment(exact), error: second_moment(error) })
    }
}

impl Estimator for AdaptiveUfom {
    fn draw(&self, coins: &mut dyn Rng, tasks: usize, steps: usize) -> Draw {
        Ufom { q: self.q(tasks, steps), depth: self.depth, coin: self.coin }
            .draw(coins, tasks, steps)
            .observed()
    }

    fn is_unbiased(&self, _steps: usize) -> bool {
        true
    }

    fn observe(&mut self, draw: &Draw, estimate: &Estimate, seconds: f64) {
        self.learned.prices.observe(estimate.evaluations.products as f64, seconds);
        if self.depth < draw.steps()
            && let Some(moments) = self.shown(draw, estimate)
        {
            self.learned.exact.add(moments.exact, self.beta);
            self.learned.error.add(moments.error, self.beta);
            self.learned.draws += 1;
        }
    }

    fn report(&self, tasks: usize, steps: usize) -> Map<String, Value> {
        let (moments, costs) = (self.moments(), self.costs(tasks, steps));
        let fields = [
            ("q", json!(self.q(tasks, steps))),
            ("exact_second_moment", json!(moments.map(|moments| moments.exact))),
            ("error_second_moment", json!(moments.map(|moments| moments.error))),
            ("cost_fixed", json!(costs.fixed)),
            ("cost_random", json!(costs.random)),
            ("exact_draws", json!(self.learned.draws)),
        ];
        fields.map(|(name, value)| (name.to_string(), value)).into_iter().collect()
    }

    fn state(&self) -> Value {
        json!(self.learned)
    }

    fn restore(&mut self, state: &Value) -> Result<(), String> {
        if *state != Value::Null {
            self.learned = Learned::deserialize(state).map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}
