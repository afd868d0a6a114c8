//! Estimators: laws for which Hessian-vector products to take.
//!
//! Before the inner loop runs, a law draws a [`Draw`] for the meta-batch; the engine in
//! [`crate::hypergradient`] does the rest and shows the law what it saw. One estimator a file, its
//! mathematics and source on top.

mod adaptive;
mod average;
mod best_q;
mod coin;
mod exact;
mod first_order;
mod implicit;
mod price;
mod reptile;
mod step_coins;
mod truncated;
mod ufom;

pub use adaptive::AdaptiveUfom;
pub use best_q::{Costs, SecondMoments, best_q};
pub use exact::Exact;
pub use first_order::FirstOrder;
pub use implicit::Implicit;
pub use reptile::Reptile;
pub use step_coins::StepCoins;
pub use truncated::Truncated;
pub use ufom::Ufom;

use crate::config;
use crate::hypergradient::{ConjugateGradient, Draw, Estimate};
use rand::Rng;
use serde_json::{Map, Value};

/// A law for which products to take.
pub trait Estimator: Send {
    /// Draws the products and weights for `tasks` tasks of `steps` inner steps, with `coins` keyed
    /// to this outer step.
    fn draw(&self, coins: &mut dyn Rng, tasks: usize, steps: usize) -> Draw;

    /// Whether the expected estimate is the exact gradient.
    fn is_unbiased(&self, steps: usize) -> bool;

    /// Learns from an estimate that its draw gave, in `seconds`. Laws that adapt override this and the
    /// next three.
    fn observe(&mut self, _draw: &Draw, _estimate: &Estimate, _seconds: f64) {}

    /// What the law knows and does, for the metrics, at `tasks` tasks of `steps` inner steps.
    fn report(&self, _tasks: usize, _steps: usize) -> Map<String, Value> {
        Map::new()
    }

    /// What a checkpoint must hold to go on; `Null` where there is nothing.
    fn state(&self) -> Value {
        Value::Null
    }

    /// Takes up a [`Self::state`].
    ///
    /// # Errors
    /// If it is not one of this law's.
    fn restore(&mut self, state: &Value) -> Result<(), String> {
        match state {
            Value::Null => Ok(()),
            _ => Err("this estimator keeps no state, but the checkpoint has some".into()),
        }
    }
}

/// The estimator that a configuration names.
pub fn from_config(config: &config::Estimator) -> Box<dyn Estimator> {
    match *config {
        config::Estimator::FirstOrder => Box::new(FirstOrder),
        config::Estimator::Truncated { truncate } => Box::new(Truncated { depth: truncate }),
        config::Estimator::Exact => Box::new(Exact),
        config::Estimator::Ufom { q, truncate, coin } => Box::new(Ufom { q, depth: truncate, coin }),
        config::Estimator::Adaptive { truncate, coin, exponent, beta, floor, costs } => {
            Box::new(AdaptiveUfom {
                depth: truncate,
                coin,
                exponent,
                beta,
                floor,
                unit: costs,
                learned: Default::default(),
            })
        }
        config::Estimator::StepCoins { p } => Box::new(StepCoins { p }),
        config::Estimator::Reptile => Box::new(Reptile),
        config::Estimator::Implicit { iterations, damping } => {
            Box::new(Implicit { solver: ConjugateGradient { iterations, damping } })
        }
    }
}
