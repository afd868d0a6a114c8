//! Estimators: laws for which Hessian-vector products to take.
//!
//! Before the inner loop runs, a law draws a [`Draw`] for the meta-batch; the engine in
//! [`crate::hypergradient`] does the rest and shows the law what it saw. One estimator a file, its
//! mathematics and source on top.

mod adaptive;
mod adaptive_step_coins;
mod adaptive_telescoping;
pub mod allocation;
mod average;
mod best_q;
mod coin;
mod exact;
mod first_order;
mod implicit;
mod price;
mod report;
mod reptile;
mod state;
mod step_coins;
mod telescope;
mod telescoping;
mod tracker;
mod truncated;
mod ufom;

pub use adaptive::{AdaptiveUfom, Reference};
pub use adaptive_step_coins::{AdaptiveStepCoins, PROBE_EVERY, WARM_UP};
pub use adaptive_telescoping::AdaptiveTelescoping;
pub use best_q::{Costs, SecondMoments, best_q};
pub use exact::Exact;
pub use first_order::FirstOrder;
pub use implicit::Implicit;
pub use reptile::Reptile;
pub use state::State;
pub use step_coins::StepCoins;
pub use telescoping::Telescoping;
pub use tracker::{Coefficient, Tracker};
pub use truncated::Truncated;
pub use ufom::Ufom;

pub(crate) use telescoping::depths;

use crate::config::{self, Compat, Tracking};
use crate::host::host_together;
use crate::hypergradient::{ConjugateGradient, Draw, Estimate};
use burn::tensor::Tensor;
use rand::Rng;
use serde_json::{Map, Value};

/// A law for which products to take.
pub trait Estimator: Send {
    /// Draws the products and weights for `tasks` tasks of `steps` inner steps, with `coins` keyed
    /// to this outer step.
    fn draw(&self, coins: &mut dyn Rng, tasks: usize, steps: usize) -> Draw;

    /// Whether the expected estimate is the exact gradient.
    fn is_unbiased(&self, steps: usize) -> bool;

    /// What the law wants to see of an estimate that its draw gave, not read yet. Laws that adapt override
    /// this and the next four.
    fn look(&mut self, _draw: &Draw, _estimate: &Estimate) -> Vec<Tensor<1>> {
        Vec::new()
    }

    /// Learns from an estimate that its draw gave in `seconds`, and from the values of what it looked at.
    fn learn(&mut self, _draw: &Draw, _estimate: &Estimate, _seen: &[Vec<f64>], _seconds: f64) {}

    /// Looks and learns at once; on a GPU this waits.
    fn observe(&mut self, draw: &Draw, estimate: &Estimate, seconds: f64) {
        let seen = host_together(self.look(draw, estimate));
        self.learn(draw, estimate, &seen, seconds);
    }

    /// What the law knows and does, for the metrics, at `tasks` tasks of `steps` inner steps.
    fn report(&self, _tasks: usize, _steps: usize) -> Map<String, Value> {
        Map::new()
    }

    /// What a checkpoint must hold to go on.
    fn state(&self) -> State {
        State::default()
    }

    /// Takes up a [`Self::state`].
    ///
    /// # Errors
    /// If it is not one of this law's.
    fn restore(&mut self, state: &State) -> Result<(), String> {
        state.refuse()
    }
}

/// The estimator that a configuration names.
pub fn from_config(config: &config::Estimator) -> Box<dyn Estimator> {
    match config.clone() {
        config::Estimator::FirstOrder => Box::new(FirstOrder),
        config::Estimator::Truncated { truncate } => Box::new(Truncated { depth: truncate }),
        config::Estimator::Exact => Box::new(Exact),
        config::Estimator::Ufom { q, base } => {
            let mut ufom = Ufom::new(q, base.truncate, base.coin);
            ufom.tracker = tracker(&base, base.tracking_beta.unwrap_or_default());
            Box::new(ufom)
        }
        config::Estimator::Adaptive { base, tuning, compat, clip_products } => {
            let mut ufom = AdaptiveUfom::new(base.truncate, base.coin, tuning);
            ufom.tracker = tracker(&base, tuning.beta);
            ufom.reference = (compat == Compat::Reference).then_some(Reference { clip: clip_products });
            Box::new(ufom)
        }
        config::Estimator::StepCoins { p, coin } => Box::new(StepCoins { p, coin }),
        config::Estimator::AdaptiveStepCoins { coin, tuning, curvature_floor } => {
            Box::new(AdaptiveStepCoins::new(coin, tuning, curvature_floor))
        }
        config::Estimator::Telescoping { survival, levels, truncate, coin } => {
            Box::new(Telescoping { survival, levels, depth: truncate, coin })
        }
        config::Estimator::AdaptiveTelescoping { levels, truncate, coin, tuning } => {
            Box::new(AdaptiveTelescoping::new(levels, truncate, coin, tuning))
        }
        config::Estimator::Reptile => Box::new(Reptile),
        config::Estimator::Implicit { iterations, damping } => {
            Box::new(Implicit { solver: ConjugateGradient { iterations, damping } })
        }
    }
}

fn tracker(base: &config::Base, beta: f64) -> Option<Tracker> {
    let coefficient = match base.tracking {
        Tracking::Off => return None,
        Tracking::Fitted => Coefficient::Fitted,
        Tracking::Fixed => Coefficient::Fixed(base.coefficient.unwrap_or(1.0)),
    };
    Some(Tracker::new(coefficient, beta))
}
