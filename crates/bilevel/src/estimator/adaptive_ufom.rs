//! Adaptive UFOM: UFOM with q chosen from running estimates.
//!
//! Exact draws give ‖g_exact‖² and ‖g_exact − g_K‖². Exponential moving averages of them estimate 𝕍² and 𝔻² in the
//! closed form of [`best_q`](super::best_q()). Given the past, q is fixed before the coin is drawn, so each estimate
//! is unbiased. Likhosherstov et al. 2021, §4, with β = 0.99 and q = 0.05 before the first exact draw and as a lower
//! bound, as there; but 𝔻² is measured on the difference itself, while their code measures it after rescaling. If the
//! error of the base is tracked, 𝔻² is the error that remains after tracking.
//!
//! The averages are kept at the level at which coins are drawn: of the gradients of single tasks if each task has a
//! coin, of the mean over the meta-batch if all tasks share one.

use super::average::Average;
use super::best_q::{Costs, SecondMoments, Tradeoff};
use super::coin::AtCoin;
use super::metrics::metrics;
use super::price::{Prices, Walks};
use super::tracker::TrackerStatistics;
use super::ufom::{Base, ExactDraws};
use super::{Coin, Estimator, Observation, Readings, Settings, State, Statistics, Tracker, Tuning, Ufom};
use crate::choice;
use crate::hypergradient::{Draw, Estimate};
use crate::stats::mean;
use rand::Rng;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

choice! {
    /// Which variant of adaptive UFOM is used.
    pub enum Compat {
        /// The method as described in the paper.
        None = "none",
        /// The reference code of Likhosherstov et al.: see [`Reference`].
        Reference = "reference",
    }
}

/// Settings of adaptive UFOM.
///
/// Defaults: `base` first-order with a coin for each task and no tracking, `tuning` [`Tuning::default`], `compat`
/// [`Compat::None`], no `clip_products`. Best with fitted `base.tracking` for one task, or for tasks that hardly differ
/// (hyper-cleaning, hyperparameters).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdaptiveUfomSettings {
    /// The truncated gradient to debias.
    #[serde(flatten)]
    pub base: Base,
    /// How q is chosen.
    #[serde(flatten)]
    pub tuning: Tuning,
    /// Which variant is used.
    pub compat: Compat,
    /// Bound on every element of the vector of the backward walk, > 0; with [`Compat::Reference`] only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip_products: Option<f64>,
}

impl Default for AdaptiveUfomSettings {
    /// The method as described in the paper, on the first-order gradient.
    fn default() -> Self {
        Self { base: Base::default(), tuning: Tuning::default(), compat: Compat::None, clip_products: None }
    }
}

impl Settings for AdaptiveUfomSettings {
    const KEYS: &'static [&'static str] = &[
        "truncate",
        "coin",
        "tracking",
        "coefficient",
        "exponent",
        "beta",
        "floor",
        "costs",
        "compat",
        "clip_products",
    ];

    fn build(&self) -> Box<dyn Estimator> {
        let mut ufom = AdaptiveUfom::new(self.base.truncate, self.base.coin, self.tuning);
        ufom.tracker = self.base.tracker(self.tuning.beta);
        ufom.reference = (self.compat == Compat::Reference).then_some(Reference { clip: self.clip_products });
        Box::new(ufom)
    }
}

/// UFOM with q chosen from running estimates.
#[derive(Clone, Debug)]
pub struct AdaptiveUfom {
    /// K of the truncated base.
    pub depth: usize,
    /// How coins are drawn for the tasks of an outer step.
    pub coin: Coin,
    /// How q is chosen; its floor is also q before the first exact draw.
    pub tuning: Tuning,
    /// The running average of the base's error, if it is tracked.
    pub tracker: Option<Tracker>,
    /// The behaviour of the reference code, if it is to be reproduced.
    pub reference: Option<Reference>,
    estimates: RunningEstimates,
}

/// The differences of the reference code from the method, for comparison with its published curves.
///
/// It measures 𝔻² after the difference has been rescaled by 1/q, and divides it by 10. It also clips the elements of
/// the vector of the backward walk, which makes the estimate biased (docs/mathematics.md, "Choosing q").
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reference {
    /// The bound on the elements; `None` turns clipping off.
    pub clip: Option<f64>,
}

/// Statistics of the exact draws of one outer step, one value for each coin.
struct UfomStatistics<T> {
    /// ‖g_exact‖².
    exact: T,
    /// ‖g_exact − g_K‖².
    error: T,
    /// Statistics for the tracker, if there is one.
    tracked: Option<TrackerStatistics<T>>,
}

impl Statistics for UfomStatistics<Readings> {
    type Values = UfomStatistics<Vec<f64>>;

    fn values(&self, read: &mut dyn FnMut(&Readings) -> Vec<f64>) -> Self::Values {
        UfomStatistics {
            exact: read(&self.exact),
            error: read(&self.error),
            tracked: self.tracked.values(read),
        }
    }
}

/// Running estimates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct RunningEstimates {
    /// 𝕍².
    exact: Average,
    /// 𝔻² without tracking.
    error: Average,
    /// Number of outer steps with an exact draw.
    draws: u64,
    prices: Prices,
}

/// The state saved in a checkpoint.
#[derive(Serialize, Deserialize)]
struct SavedState {
    #[serde(flatten)]
    estimates: RunningEstimates,
    #[serde(default)]
    tracker: Value,
}

impl AdaptiveUfom {
    /// Adaptive UFOM without tracking, before its first draw.
    ///
    /// # Panics
    /// Panics if a setting of `tuning` is outside of its range.
    pub fn new(depth: usize, coin: Coin, tuning: Tuning) -> Self {
        let (tuning, estimates) = (tuning.checked(), RunningEstimates::default());
        Self { depth, coin, tuning, tracker: None, reference: None, estimates }
    }

    /// The current probability of an exact draw for `tasks` tasks of `steps` inner steps.
    pub fn q(&self, tasks: usize, steps: usize) -> f64 {
        let Tuning { exponent, floor, .. } = self.tuning;
        match self.moments() {
            // The base is exact.
            _ if self.depth >= steps => 1.0,
            Some(moments) => Tradeoff { moments, costs: self.costs(tasks, steps), exponent }.best_q(floor),
            None => floor,
        }
    }

    /// Statistics of the exact draws of `estimate`; `None` if there are none.
    fn statistics(&self, draw: &Draw, estimate: &Estimate) -> Option<UfomStatistics<Readings>> {
        let draws = ExactDraws::of(draw, estimate, self.depth)?;
        let tracked = self.tracker.as_ref().map(|tracker| tracker.statistics(estimate, &draws, self.coin));
        let [exact, error] = [draws.exact, draws.error]
            .map(|own| AtCoin::new(estimate, &draws.tasks, own, self.coin).squared_norms());
        Some(UfomStatistics { exact, error, tracked })
    }

    /// Updates the running estimates with the statistics of draws made with probability `q`.
    fn update(&mut self, q: f64, statistics: &UfomStatistics<Vec<f64>>) {
        let ([exact, error], beta) = ([mean(&statistics.exact), mean(&statistics.error)], self.tuning.beta);
        let error = if self.reference.is_some() { error / (q * q) / 10.0 } else { error };
        self.estimates.exact.add(exact, beta);
        self.estimates.error.add(error, beta);
        self.estimates.draws += 1;
        if let (Some(tracker), Some(tracked)) = (&mut self.tracker, &statistics.tracked) {
            tracker.update(tracked);
        }
    }

    fn moments(&self) -> Option<SecondMoments> {
        let tracked = self.tracker.as_ref().and_then(Tracker::error);
        Some(SecondMoments {
            exact: self.estimates.exact.get()?,
            error: tracked.or(self.estimates.error.get())?,
        })
    }

    fn costs(&self, tasks: usize, steps: usize) -> Costs {
        self.estimates.prices.costs(self.tuning.costs, Walks { tasks, steps, depth: self.depth.min(steps) })
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

    fn max_depth(&self, steps: usize) -> usize {
        steps
    }

    fn observe(&mut self, draw: &Draw, estimate: &Estimate) -> Option<Observation> {
        let statistics = self.statistics(draw, estimate);
        let (tasks, steps, cost) = (draw.tasks(), draw.steps(), estimate.evaluations);
        Some(Observation::new(statistics, move |ufom: &mut Self, statistics, seconds| {
            let q = ufom.q(tasks, steps);
            ufom.estimates.prices.observe(cost, tasks, seconds);
            if let Some(statistics) = statistics {
                ufom.update(q, &statistics);
            }
        }))
    }

    fn metrics(&self, tasks: usize, steps: usize) -> Map<String, Value> {
        let (moments, costs) = (self.moments(), self.costs(tasks, steps));
        let mut fields = metrics([
            ("q", json!(self.q(tasks, steps))),
            ("exact_second_moment", json!(moments.map(|moments| moments.exact))),
            ("error_second_moment", json!(moments.map(|moments| moments.error))),
            ("cost_fixed", json!(costs.fixed)),
            ("cost_random", json!(costs.random)),
            ("exact_draws", json!(self.estimates.draws)),
        ]);
        fields.extend(self.tracker.as_ref().map(Tracker::metrics).unwrap_or_default());
        fields
    }

    fn state(&self) -> State {
        let tracker = self.tracker.as_ref().map(Tracker::state).unwrap_or_default();
        let saved = SavedState { estimates: self.estimates, tracker: tracker.values };
        State { values: json!(saved), vector: tracker.vector }
    }

    fn restore(&mut self, state: &State) -> Result<(), String> {
        let Some(saved) = state.read::<SavedState>()? else { return Ok(()) };
        let tracked = State { values: saved.tracker, vector: state.vector.clone() };
        match &mut self.tracker {
            Some(tracker) => tracker.restore(&tracked)?,
            None => tracked.refuse()?,
        }
        self.estimates = saved.estimates;
        Ok(())
    }
}
