//! Bias tracking: a running average of the past errors of the base as a control variate.
//!
//! ```text
//! g = g_K + c b̂ + (ξ/q)(g_r − g_K − c b̂),   b̂ a running average of past g_r − g_K
//! ```
//!
//! b̂ and c depend on the past only, so the estimate stays unbiased. Its variance is (1/q − 1)·E‖g_r − g_K − c b̂‖²:
//! the spread of the truncation error over tasks and steps instead of its size. The best c is
//! E[(g_r − g_K)·b̂]/‖b̂‖². Tracking is for problems whose error hardly changes from step to step (one task: hyper-cleaning,
//! hyperparameters); in few-shot learning only about 1 % of the error is systematic (docs/mathematics.md,
//! "Estimators").

use super::average::Average;
use super::coin::{AtCoin, Coin};
use super::metrics::metrics;
use super::range::assert_decay;
use super::ufom::ExactDraws;
use super::{Readings, State, Statistics};
use crate::choice;
use crate::hypergradient::{Draw, Estimate};
use crate::params::Params;
use crate::stats::mean;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

choice! {
    /// Whether the base is corrected by a running average of its past errors.
    pub enum Tracking {
        /// No correction.
        Off = "off",
        /// Correction with the coefficient fitted to past exact draws.
        Fitted = "fitted",
        /// Correction with a fixed coefficient.
        Fixed = "fixed",
    }
}

/// c, the coefficient of b̂ in the correction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Coefficient {
    /// The best coefficient according to running averages over exact draws.
    Fitted,
    /// A fixed number.
    Fixed(f64),
}

/// A running average of the error of a truncated gradient.
#[derive(Clone, Debug)]
pub struct Tracker {
    coefficient: Coefficient,
    /// Decay rate of every running average.
    beta: f64,
    /// Σ β^{n−i}(1 − β) e_i in the shape of θ (one task); divided by 1 − βⁿ it is b̂.
    sum: Option<Params>,
    estimates: TrackerEstimates,
}

/// Statistics of the exact draws of one outer step.
pub(super) struct TrackerStatistics<T> {
    /// The errors compared with the b̂ that was used in the draw, if there was one.
    pub before: Option<Alignment<T>>,
    /// ‖b̂‖² after the update with these errors, `[1]`.
    pub squared_norm: T,
    /// The sum behind b̂, and its weight, after the update. The tracker takes them only if the outer step is kept.
    sum: Params,
    weight: f64,
    /// The weight before it.
    weight_before: f64,
}

/// Errors compared with b̂, one value for each error.
pub(super) struct Alignment<T> {
    /// (g_r − g_K)·b̂.
    pub along: T,
    /// ‖g_r − g_K‖².
    pub plain: T,
}

impl Statistics for TrackerStatistics<Readings> {
    type Values = TrackerStatistics<Vec<f64>>;

    fn values(&self, read: &mut dyn FnMut(&Readings) -> Vec<f64>) -> Self::Values {
        let before = self
            .before
            .as_ref()
            .map(|before| Alignment { along: read(&before.along), plain: read(&before.plain) });
        let squared_norm = read(&self.squared_norm);
        TrackerStatistics {
            before,
            squared_norm,
            sum: self.sum.clone(),
            weight: self.weight,
            weight_before: self.weight_before,
        }
    }
}

/// The saved numbers of a tracker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct TrackerEstimates {
    /// 1 − βⁿ.
    weight: f64,
    /// ‖b̂‖².
    squared_norm: f64,
    /// (g_r − g_K)·b̂, with the b̂ used in the draw.
    along: Average,
    /// ‖b̂‖² in the same draws.
    length: Average,
    /// ‖g_r − g_K‖² in the same draws.
    plain: Average,
    /// ‖g_r − g_K − c b̂‖² in the same draws.
    tracked: Average,
}

impl Tracker {
    /// A tracker before its first error, with decay rate `beta` in [0, 1).
    ///
    /// # Panics
    /// Panics if `beta` is outside of its range.
    pub fn new(coefficient: Coefficient, beta: f64) -> Self {
        assert_decay(beta);
        Self { coefficient, beta, sum: None, estimates: TrackerEstimates::default() }
    }

    /// The current c.
    pub fn coefficient(&self) -> f64 {
        match self.coefficient {
            Coefficient::Fixed(coefficient) => coefficient,
            Coefficient::Fitted => match (self.estimates.along.get(), self.estimates.length.get()) {
                (Some(along), Some(length)) if length > 0.0 => along / length,
                _ => 0.0,
            },
        }
    }

    /// E‖g_r − g_K − c b̂‖²; `None` until it has been measured.
    pub fn error(&self) -> Option<f64> {
        self.estimates.tracked.get()
    }

    /// b̂, in the shape of θ (one task).
    fn bias(&self) -> Option<Params> {
        let sum = self.sum.clone()?;
        Some(sum.scale(&[1.0 / self.estimates.weight]))
    }

    /// Adds c b̂ (1 − ξ/q) to a `draw` of UFOM(q); `levels` are the ξ of the tasks.
    pub fn correct(&self, mut draw: Draw, q: f64, levels: &[usize]) -> Draw {
        if let Some(bias) = self.bias() {
            let coefficient = self.coefficient();
            let weight = |level: &usize| coefficient * (1.0 - *level as f64 / q);
            draw.add_offset(bias, levels.iter().map(weight).collect());
        }
        draw.observed()
    }

    /// The statistics of the errors g_r − g_K of the `exact` draws of `estimate`, for [`Self::update`].
    pub(super) fn statistics(
        &self,
        estimate: &Estimate,
        exact: &ExactDraws,
        coin: Coin,
    ) -> TrackerStatistics<Readings> {
        let before = self.bias().map(|bias| {
            let errors = AtCoin::new(estimate, &exact.tasks, exact.error.clone(), coin);
            Alignment { along: errors.along(&bias), plain: errors.squared_norms() }
        });
        let new = estimate.mean_of(&exact.tasks, exact.error.clone()).scale(&[1.0 - self.beta]);
        let sum = match self.sum.clone() {
            Some(sum) => sum.scale(&[self.beta]) + new,
            None => new,
        };
        let weight_before = self.estimates.weight;
        let weight = self.beta * weight_before + (1.0 - self.beta);
        let squared_norm = Readings::whole(sum.clone().scale(&[1.0 / weight]).squared_norm());
        TrackerStatistics { before, squared_norm, sum, weight, weight_before }
    }

    /// Adds the errors to b̂, and updates the running averages with the b̂ and c used in the draw.
    ///
    /// # Panics
    /// Panics if b̂ has changed since the statistics were made: that change would be lost.
    pub(super) fn update(&mut self, statistics: &TrackerStatistics<Vec<f64>>) {
        let TrackerStatistics { before, squared_norm, sum, weight, weight_before } = statistics;
        assert_eq!(
            self.estimates.weight, *weight_before,
            "an estimator that tracks its error must learn from an outer step before the next one is launched"
        );
        if let Some(Alignment { along, plain }) = before {
            let [along, plain] = [mean(along), mean(plain)];
            let (length, c) = (self.estimates.squared_norm, self.coefficient());
            self.estimates.along.add(along, self.beta);
            self.estimates.length.add(length, self.beta);
            self.estimates.plain.add(plain, self.beta);
            self.estimates.tracked.add((plain - 2.0 * c * along + c * c * length).max(0.0), self.beta);
        }
        self.estimates.squared_norm = squared_norm.iter().sum();
        (self.sum, self.estimates.weight) = (Some(sum.clone()), *weight);
    }

    /// ‖b̂‖, c, and E‖g_r − g_K − c b̂‖² relative to 𝔻²; 1 minus that ratio is the systematic fraction of the error.
    pub fn metrics(&self) -> Map<String, Value> {
        let TrackerEstimates { plain, tracked, squared_norm, .. } = self.estimates;
        let ratio = plain.get().zip(tracked.get()).filter(|(plain, _)| *plain > 0.0);
        metrics([
            ("bias_norm", json!(squared_norm.sqrt())),
            ("bias_coefficient", json!(self.coefficient())),
            ("tracked_over_plain", json!(ratio.map(|(plain, tracked)| tracked / plain))),
        ])
    }

    /// The state to save in a checkpoint.
    pub fn state(&self) -> State {
        State { values: json!(self.estimates), vector: self.sum.clone() }
    }

    /// Restores a state returned by [`Self::state`].
    ///
    /// # Errors
    /// Returns an error if the state is not one of a tracker.
    pub fn restore(&mut self, state: &State) -> Result<(), String> {
        let estimates: TrackerEstimates = state.read()?.unwrap_or_default();
        if state.vector.is_some() != (estimates.weight > 0.0) {
            return Err("the tracked error and its weight in the state of the estimator do not match".into());
        }
        (self.estimates, self.sum) = (estimates, state.vector.clone());
        Ok(())
    }
}
