//! UFOM(q): an unbiased estimate at little more than the cost of a truncated one.
//!
//! ```text
//! g = g_K + (ξ/q)(g_r − g_K),   ξ ~ Bernoulli(q),   E g = g_r
//! ```
//!
//! ξ is drawn before the inner loop and independently of the task. The expected cost beyond the inner loop is
//! 1 + K + q(r − K) gradient evaluations. Likhosherstov et al., *Debiasing a first-order heuristic for approximate bi-level
//! optimization*, ICML 2021 (K = 0 there). The base can be corrected by a running average of its past errors
//! ([`Tracker`]).

use super::range::assert_probability;
use super::telescope::telescope;
use super::tracker::TrackerStatistics;
use super::{Coefficient, Coin, Estimator, Observation, Readings, Settings, State, Tracker, Tracking};
use crate::hypergradient::{Draw, Estimate};
use crate::params::Params;
use rand::Rng;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The truncated gradient that UFOM debiases.
///
/// Defaults: `truncate` 0 (first-order), `coin` [`Coin::Task`], `tracking` [`Tracking::Off`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Base {
    /// K, the number of last inner steps that are always differentiated.
    pub truncate: usize,
    /// How coins are drawn for the tasks of an outer step.
    pub coin: Coin,
    /// Whether the base is corrected by a running average of its past errors.
    pub tracking: Tracking,
    /// c for [`Tracking::Fixed`], > 0; `None` is 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coefficient: Option<f64>,
}

impl Default for Base {
    /// The first-order gradient, a coin for each task, no tracking.
    fn default() -> Self {
        Self { truncate: 0, coin: Coin::Task, tracking: Tracking::Off, coefficient: None }
    }
}

impl Base {
    /// The tracker of the error of the base, if tracking is on; `beta` is the decay rate of its running averages.
    pub(super) fn tracker(&self, beta: f64) -> Option<Tracker> {
        let coefficient = match self.tracking {
            Tracking::Off => return None,
            Tracking::Fitted => Coefficient::Fitted,
            Tracking::Fixed => Coefficient::Fixed(self.coefficient.unwrap_or(1.0)),
        };
        Some(Tracker::new(coefficient, beta))
    }
}

/// Settings of UFOM with a fixed q.
///
/// Defaults: `q` 0.1, `base` first-order with a coin for each task and no tracking, `beta` 0 (used for tracking only).
/// Best if the truncation error is small compared to the gradient, so that a small q suffices, and q is known;
/// [`AdaptiveUfomSettings`](super::AdaptiveUfomSettings) chooses q while running.
///
/// ```
/// use bilevel::estimator::{Base, Settings, UfomSettings};
/// use bilevel::rng::generator;
///
/// // Always differentiate the last step, and all 10 steps with probability ½.
/// let settings = UfomSettings { q: 0.5, base: Base { truncate: 1, ..Base::default() }, beta: None };
/// let draw = settings.build().draw(&mut generator(0, "coins", 0), 100, 10);
/// assert!((100..=1000).contains(&draw.cost().products));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UfomSettings {
    /// Probability of the exact gradient, in (0, 1].
    pub q: f64,
    /// The truncated gradient to debias.
    #[serde(flatten)]
    pub base: Base,
    /// Decay rate of the running averages of tracking, in [0, 1); `None` is 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beta: Option<f64>,
}

impl Default for UfomSettings {
    /// q = 0.1, first-order base.
    fn default() -> Self {
        Self { q: 0.1, base: Base::default(), beta: None }
    }
}

impl Settings for UfomSettings {
    const KEYS: &'static [&'static str] = &["q", "truncate", "coin", "tracking", "coefficient", "beta"];

    fn build(&self) -> Box<dyn Estimator> {
        let tracker = self.base.tracker(self.beta.unwrap_or_default());
        Box::new(Ufom { tracker, ..Ufom::new(self.q, self.base.truncate, self.base.coin) })
    }
}

/// UFOM: a truncated gradient, debiased by exact draws with probability q.
#[derive(Clone, Debug)]
pub struct Ufom {
    /// Probability of an exact draw, in (0, 1].
    pub q: f64,
    /// K of the truncated base.
    pub depth: usize,
    /// How coins are drawn for the tasks of an outer step.
    pub coin: Coin,
    /// The running average of the base's error, if it is tracked.
    pub tracker: Option<Tracker>,
}

impl Ufom {
    /// UFOM without tracking.
    ///
    /// ```
    /// use bilevel::estimator::{Coin, Estimator, Ufom};
    /// use bilevel::rng::generator;
    ///
    /// // A quarter of 1000 tasks with 5 inner steps each is differentiated through all steps.
    /// let ufom = Ufom::new(0.25, 0, Coin::Stratified);
    /// let draw = ufom.draw(&mut generator(0, "coins", 0), 1000, 5);
    /// assert_eq!(draw.cost().products, 250 * 5);
    /// ```
    ///
    /// # Panics
    /// Panics unless q is in (0, 1].
    pub fn new(q: f64, depth: usize, coin: Coin) -> Self {
        let ufom = Self { q, depth, coin, tracker: None };
        ufom.check();
        ufom
    }

    /// Panics unless q is in (0, 1].
    fn check(&self) {
        assert_probability("UFOM's probability of an exact draw", self.q);
    }
}

impl Estimator for Ufom {
    /// # Panics
    /// Panics unless q is in (0, 1].
    fn draw(&self, coins: &mut dyn Rng, tasks: usize, steps: usize) -> Draw {
        self.check();
        let depth = self.depth.min(steps);
        let (draw, levels) = telescope(self.coin, coins, tasks, steps, &[depth, steps], &[self.q]);
        match &self.tracker {
            Some(tracker) => tracker.correct(draw, self.q, &levels),
            None => draw,
        }
    }

    fn is_unbiased(&self, _steps: usize) -> bool {
        true
    }

    fn max_depth(&self, steps: usize) -> usize {
        steps
    }

    fn observe(&mut self, draw: &Draw, estimate: &Estimate) -> Option<Observation> {
        let exact = ExactDraws::of(draw, estimate, self.depth)?;
        let statistics: TrackerStatistics<Readings> =
            self.tracker.as_ref()?.statistics(estimate, &exact, self.coin);
        Some(Observation::new(statistics, |ufom: &mut Self, statistics, _seconds| {
            ufom.tracker.iter_mut().for_each(|tracker| tracker.update(&statistics));
        }))
    }

    fn metrics(&self, _tasks: usize, _steps: usize) -> Map<String, Value> {
        self.tracker.as_ref().map(Tracker::metrics).unwrap_or_default()
    }

    fn state(&self) -> State {
        self.tracker.as_ref().map(Tracker::state).unwrap_or_default()
    }

    fn restore(&mut self, state: &State) -> Result<(), String> {
        match &mut self.tracker {
            Some(tracker) => tracker.restore(state),
            None => state.refuse(),
        }
    }
}

/// Gradients of the tasks with an exact draw.
pub(super) struct ExactDraws {
    /// Those tasks of the whole meta-batch.
    pub tasks: Vec<usize>,
    /// g_r of those that the estimate covers; `None` if there are none.
    pub exact: Option<Params>,
    /// g_r − g_K of the same.
    pub error: Option<Params>,
}

impl ExactDraws {
    /// The exact draws of `estimate`, made with `draw`, for a base truncated to `depth` inner steps; `None` if the whole draw has
    /// none, or if the base is exact itself.
    pub fn of(draw: &Draw, estimate: &Estimate, depth: usize) -> Option<Self> {
        let steps = draw.steps();
        let tasks = draw.summed(steps);
        (depth < steps && !tasks.is_empty()).then(|| Self {
            tasks,
            exact: estimate.partial_gradient(steps).map(|(_, exact)| exact),
            error: estimate.between(depth, steps).map(|(_, error)| error),
        })
    }
}
