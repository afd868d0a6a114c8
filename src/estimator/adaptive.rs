//! Adaptive UFOM: UFOM whose q follows running estimates of what it depends on.
//!
//! Exact draws show ‖g_exact‖² and ‖g_exact − g_K‖²; exponential averages of them stand for 𝕍² and 𝔻²
//! in the closed form of [`best_q`](super::best_q()). Given the past, q is fixed before the coin
//! is tossed, so each estimate stays unbiased. Likhosherstov et al. 2021, §4, with β = 0.99 and the
//! same q, 0.05, before the first exact draw and as a floor; but 𝔻² is measured on the difference
//! itself, where their code has rescaled it already. If the base's error is tracked, 𝔻² is what
//! tracking leaves of it.
//!
//! The averages are kept at the level of the coin: of single tasks' gradients where each task has
//! a coin, of the meta-batch's mean where all share one.

use super::average::Average;
use super::best_q::{Costs, SecondMoments, Tradeoff};
use super::price::Prices;
use super::report::report;
use super::ufom::{ExactDraws, at_coin};
use super::{Estimator, State, Tracker, Ufom};
use crate::config::{Coin, Tuning};
use crate::hypergradient::{Draw, Estimate};
use crate::interval::mean;
use burn::tensor::Tensor;
use rand::Rng;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// How adaptive UFOM behaves.
#[derive(Clone, Debug)]
pub struct AdaptiveUfom {
    /// K of the truncated base.
    pub depth: usize,
    /// Who shares a coin.
    pub coin: Coin,
    /// How q is chosen; its floor is also the q before the first exact draw.
    pub tuning: Tuning,
    /// What is known of the base's error, if that is tracked.
    pub tracker: Option<Tracker>,
    /// The reference code's behaviour, if that is wanted.
    pub reference: Option<Reference>,
    learned: Learned,
}

/// Where the reference code departs from the method, so that its published curves can be compared.
///
/// It measures 𝔻² after the difference was rescaled by 1/q, and divides that by 10; and it bounds the
/// elements of the vector walked back, which makes the estimate biased (METHOD, "Choosing q").
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reference {
    /// Bound of the elements, if they are.
    pub clip: Option<f64>,
}

/// What adaptive UFOM has learned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Learned {
    exact: Average,
    error: Average,
    draws: u64,
    prices: Prices,
}

/// What a checkpoint holds of it.
#[derive(Serialize, Deserialize)]
struct Kept {
    #[serde(flatten)]
    learned: Learned,
    #[serde(default)]
    tracker: Value,
}

impl AdaptiveUfom {
    /// Knowing nothing yet, without tracking.
    pub fn new(depth: usize, coin: Coin, tuning: Tuning) -> Self {
        Self { depth, coin, tuning, tracker: None, reference: None, learned: Learned::default() }
    }

    /// The probability of an exact draw as things stand, for `tasks` tasks of `steps` inner steps.
    pub fn q(&self, tasks: usize, steps: usize) -> f64 {
        let Tuning { exponent, floor, .. } = self.tuning;
        match self.moments() {
            // Without products to save there is nothing to choose.
            _ if self.depth >= steps => 1.0,
            Some(moments) => Tradeoff { moments, costs: self.costs(tasks, steps), exponent }.best_q(floor),
            None => floor,
        }
    }

    fn moments(&self) -> Option<SecondMoments> {
        let tracked = self.tracker.as_ref().and_then(Tracker::error);
        Some(SecondMoments { exact: self.learned.exact.get()?, error: tracked.or(self.learned.error.get())? })
    }

    fn costs(&self, tasks: usize, steps: usize) -> Costs {
        self.learned.prices.costs(self.tuning.costs, [tasks, steps, self.depth.min(steps)])
    }
}

impl Estimator for AdaptiveUfom {
    fn draw(&self, coins: &mut dyn Rng, tasks: usize, steps: usize) -> Draw {
        let (depth, coin, tracker) = (self.depth, self.coin, self.tracker.clone());
        let ufom = Ufom { q: self.q(tasks, steps), depth, coin, tracker };
        let clip = self.reference.and_then(|reference| reference.clip);
        ufom.draw(coins, tasks, steps).observed().clipped(clip)
    }

    fn is_unbiased(&self, _steps: usize) -> bool {
        self.reference.is_none_or(|reference| reference.clip.is_none())
    }

    fn look(&mut self, draw: &Draw, estimate: &Estimate) -> Vec<Tensor<1>> {
        let Some(ExactDraws { exact, error }) = ExactDraws::of(estimate, self.depth, draw.steps()) else {
            return Vec::new();
        };
        let tracked = self.tracker.as_mut().map(|tracker| tracker.look(&error, self.coin));
        let squares = [exact, error].map(|gradients| at_coin(gradients, self.coin).squared_norm());
        squares.into_iter().chain(tracked.into_iter().flatten()).collect()
    }

    fn learn(&mut self, draw: &Draw, estimate: &Estimate, seen: &[Vec<f64>], seconds: f64) {
        let q = self.q(draw.tasks(), draw.steps());
        self.learned.prices.observe(estimate.evaluations.products as f64, seconds);
        let [exact, error, tracked @ ..] = seen else { return };
        let ([exact, error], beta) = ([mean(exact), mean(error)], self.tuning.beta);
        let error = if self.reference.is_some() { error / (q * q) / 10.0 } else { error };
        self.learned.exact.add(exact, beta);
        self.learned.error.add(error, beta);
        self.learned.draws += 1;
        if let Some(tracker) = &mut self.tracker {
            tracker.learn(tracked);
        }
    }

    fn report(&self, tasks: usize, steps: usize) -> Map<String, Value> {
        let (moments, costs) = (self.moments(), self.costs(tasks, steps));
        let mut fields = report([
            ("q", json!(self.q(tasks, steps))),
            ("exact_second_moment", json!(moments.map(|moments| moments.exact))),
            ("error_second_moment", json!(moments.map(|moments| moments.error))),
            ("cost_fixed", json!(costs.fixed)),
            ("cost_random", json!(costs.random)),
            ("exact_draws", json!(self.learned.draws)),
        ]);
        fields.extend(self.tracker.as_ref().map(Tracker::report).unwrap_or_default());
        fields
    }

    fn state(&self) -> State {
        let tracker = self.tracker.as_ref().map(Tracker::state).unwrap_or_default();
        let kept = Kept { learned: self.learned, tracker: tracker.values };
        State { values: json!(kept), vector: tracker.vector }
    }

    fn restore(&mut self, state: &State) -> Result<(), String> {
        let Some(kept) = state.read::<Kept>()? else { return Ok(()) };
        let tracked = State { values: kept.tracker, vector: state.vector.clone() };
        match &mut self.tracker {
            Some(tracker) => tracker.restore(&tracked)?,
            None => tracked.refuse()?,
        }
        self.learned = kept.learned;
        Ok(())
    }
}
