//! UFOM(q): an unbiased estimate at little more than the price of a truncated one.
//!
//! ```text
//! g = g_K + (ξ/q)(g_r − g_K),   ξ ~ Bernoulli(q),   E g = g_r
//! ```
//!
//! ξ is drawn before the inner loop and independently of the task. Expected cost beyond the inner
//! loop: 1 + K + q(r − K). Likhosherstov et al., *Debiasing a first-order heuristic for approximate
//! bi-level optimization*, ICML 2021 (K = 0 there). The base may be corrected by its past errors
//! ([`Tracker`]).

use super::telescope::telescope;
use super::{Estimator, State, Tracker};
use crate::config::Coin;
use crate::hypergradient::{Draw, Estimate};
use crate::stack::Stack;
use burn::tensor::Tensor;
use rand::Rng;
use serde_json::{Map, Value};

/// Truncation debiased by a coin.
#[derive(Clone, Debug)]
pub struct Ufom {
    /// Probability of an exact draw, in (0, 1].
    pub q: f64,
    /// K of the truncated base.
    pub depth: usize,
    /// Who shares a coin.
    pub coin: Coin,
    /// What is known of the base's error, if that is tracked.
    pub tracker: Option<Tracker>,
}

impl Ufom {
    /// Without tracking.
    ///
    /// ```
    /// use metaburn::{config::Coin, random::generator};
    /// use metaburn::estimator::{Estimator, Ufom};
    ///
    /// // Of 1000 tasks with 5 inner steps each, a quarter is differentiated through all of them.
    /// let mut ufom = Ufom::new(0.25, 0, Coin::Stratified);
    /// let draw = ufom.draw(&mut generator(0, "coins", 0), 1000, 5);
    /// assert_eq!(draw.cost().products, 250 * 5);
    /// ```
    pub fn new(q: f64, depth: usize, coin: Coin) -> Self {
        Self { q, depth, coin, tracker: None }
    }
}

impl Estimator for Ufom {
    fn draw(&self, coins: &mut dyn Rng, tasks: usize, steps: usize) -> Draw {
        let depth = self.depth.min(steps);
        let (draw, levels) = telescope(self.coin, coins, [tasks, steps], &[depth, steps], &[self.q]);
        match &self.tracker {
            Some(tracker) => tracker.correct(draw, self.q, &levels),
            None => draw,
        }
    }

    fn is_unbiased(&self, _steps: usize) -> bool {
        true
    }

    fn look(&mut self, draw: &Draw, estimate: &Estimate) -> Vec<Tensor<1>> {
        match (&mut self.tracker, ExactDraws::of(estimate, self.depth, draw.steps())) {
            (Some(tracker), Some(exact)) => tracker.look(&exact.error, self.coin),
            _ => Vec::new(),
        }
    }

    fn learn(&mut self, _draw: &Draw, _estimate: &Estimate, seen: &[Vec<f64>], _seconds: f64) {
        if let Some(tracker) = &mut self.tracker {
            tracker.learn(seen);
        }
    }

    fn report(&self, _tasks: usize, _steps: usize) -> Map<String, Value> {
        self.tracker.as_ref().map(Tracker::report).unwrap_or_default()
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

/// What an estimate's exact draws show.
pub(super) struct ExactDraws {
    /// g_r of the exact tasks.
    pub exact: Stack,
    /// g_r − g_K of the same tasks.
    pub error: Stack,
}

impl ExactDraws {
    /// Those of `estimate`, with a base of `depth` of `steps` steps; `None` without any, or without an error.
    pub fn of(estimate: &Estimate, depth: usize, steps: usize) -> Option<Self> {
        if depth >= steps {
            return None;
        }
        let ((_, exact), (_, error)) = (estimate.landmark(steps)?, estimate.between(depth, steps)?);
        Some(Self { exact, error })
    }
}

/// `gradients` at the level of `coin`: one for each task that has its own, the mean of all that share one.
pub(super) fn at_coin(gradients: Stack, coin: Coin) -> Stack {
    if coin == Coin::Step { gradients.mean() } else { gradients }
}
