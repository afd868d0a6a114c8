//! Bias tracking: the base's past errors as a control variate.
//!
//! ```text
//! g = g_K + c b̂ + (ξ/q)(g_r − g_K − c b̂),   b̂ a running average of past g_r − g_K
//! ```
//!
//! b̂ and c depend on the past only, so the estimate stays unbiased, and its variance is (1/q − 1)·E‖g_r − g_K − c b̂‖²:
//! the spread of the truncation error over tasks and steps instead of its size. The best c is
//! E[(g_r − g_K)·b̂]/‖b̂‖². For problems whose error is mostly the same from step to step (one task: hyper-cleaning,
//! hyperparameters); over few-shot tasks about 1 % of it is (METHOD, "Bias tracking").

use super::average::Average;
use super::report::report;
use super::{State, ufom::at_coin};
use crate::config::Coin;
use crate::hypergradient::Draw;
use crate::interval::mean;
use crate::stack::Stack;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// c, the share of b̂ that corrects the base.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Coefficient {
    /// The best one by running averages over exact draws.
    Fitted,
    /// A number.
    Fixed(f64),
}

/// What is known of a base's error.
#[derive(Clone, Debug)]
pub struct Tracker {
    coefficient: Coefficient,
    /// Share that the past keeps in every average.
    beta: f64,
    /// Σ β^{n−i}(1 − β) e_i, in θ's shape; over 1 − βⁿ it is b̂.
    sum: Option<Stack>,
    learned: Learned,
}

/// The numbers of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Learned {
    /// 1 − βⁿ.
    weight: f64,
    /// ‖b̂‖².
    squared_norm: f64,
    /// (g_r − g_K)·b̂, each b̂ the one before the draw.
    along: Average,
    /// ‖b̂‖² at the same draws.
    length: Average,
    /// ‖g_r − g_K‖² at those.
    plain: Average,
    /// ‖g_r − g_K − c b̂‖² at those.
    tracked: Average,
}

impl Tracker {
    /// Knowing nothing yet; `beta` in [0, 1).
    pub fn new(coefficient: Coefficient, beta: f64) -> Self {
        Self { coefficient, beta, sum: None, learned: Learned::default() }
    }

    /// c as things stand.
    pub fn coefficient(&self) -> f64 {
        match self.coefficient {
            Coefficient::Fixed(coefficient) => coefficient,
            Coefficient::Fitted => match (self.learned.along.get(), self.learned.length.get()) {
                (Some(along), Some(length)) if length > 0.0 => along / length,
                _ => 0.0,
            },
        }
    }

    /// E‖g_r − g_K − c b̂‖²; `None` before there is a b̂.
    pub fn error(&self) -> Option<f64> {
        self.learned.tracked.get()
    }

    /// b̂, a stack of one in θ's shape.
    fn bias(&self) -> Option<Stack> {
        let sum = self.sum.clone()?;
        Some(sum.scale(&[1.0 / self.learned.weight]))
    }

    /// `draw`, of UFOM(q), with c b̂ (1 − ξ/q) added; `levels` are the tasks' ξ.
    pub fn correct(&self, mut draw: Draw, q: f64, levels: &[usize]) -> Draw {
        if let Some(bias) = self.bias() {
            let coefficient = self.coefficient();
            let weight = |level: &usize| coefficient * (1.0 - *level as f64 / q);
            draw.add_offset(bias, levels.iter().map(weight).collect());
        }
        draw.observed()
    }

    /// Takes the errors g_r − g_K of exact draws into b̂. What it shows: how they lay to the b̂ before, if there was
    /// one, and ‖b̂‖².
    pub fn look(&mut self, errors: &Stack, coin: Coin) -> Vec<Tensor<1>> {
        let mut shown = Vec::new();
        if let Some(bias) = self.bias() {
            let errors = at_coin(errors.clone(), coin);
            shown.extend([errors.clone().dot(bias.repeat(errors.tasks())), errors.squared_norm()]);
        }
        let news = errors.clone().mean().scale(&[1.0 - self.beta]);
        self.sum = Some(match self.sum.take() {
            Some(sum) => sum.scale(&[self.beta]) + news,
            None => news,
        });
        self.learned.weight = self.beta * self.learned.weight + (1.0 - self.beta);
        shown.extend(self.bias().map(Stack::squared_norm));
        shown
    }

    /// Learns from the values of what [`Self::look`] showed. It judges the errors by b̂ and c as they were drawn with.
    pub fn learn(&mut self, seen: &[Vec<f64>]) {
        let Some((squared_norm, judged)) = seen.split_last() else { return };
        if let [along, plain] = judged {
            let [along, plain] = [mean(along), mean(plain)];
            let (length, c) = (self.learned.squared_norm, self.coefficient());
            self.learned.along.add(along, self.beta);
            self.learned.length.add(length, self.beta);
            self.learned.plain.add(plain, self.beta);
            self.learned.tracked.add((plain - 2.0 * c * along + c * c * length).max(0.0), self.beta);
        }
        self.learned.squared_norm = squared_norm.iter().sum();
    }

    /// ‖b̂‖, c, and the tracked 𝔻² over the plain: what of the error is systematic is 1 minus that.
    pub fn report(&self) -> Map<String, Value> {
        let Learned { plain, tracked, squared_norm, .. } = self.learned;
        let ratio = plain.get().zip(tracked.get()).filter(|(plain, _)| *plain > 0.0);
        report([
            ("bias_norm", json!(squared_norm.sqrt())),
            ("bias_coefficient", json!(self.coefficient())),
            ("tracked_over_plain", json!(ratio.map(|(plain, tracked)| tracked / plain))),
        ])
    }

    /// For a checkpoint.
    pub fn state(&self) -> State {
        State { values: json!(self.learned), vector: self.sum.clone() }
    }

    /// Takes up a [`Self::state`].
    ///
    /// # Errors
    /// If it is not one.
    pub fn restore(&mut self, state: &State) -> Result<(), String> {
        self.learned = state.read()?.unwrap_or_default();
        if state.vector.is_some() != (self.learned.weight > 0.0) {
            return Err("the estimator's tracked error is missing, or is too much".into());
        }
        self.sum.clone_from(&state.vector);
        Ok(())
    }
}
