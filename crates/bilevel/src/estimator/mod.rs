//! Estimators of the hypergradient: which Hessian-vector products an outer step takes, and how it weights them.
//!
//! Before the inner loop runs, an estimator makes a [`Draw`] for the meta-batch: which products (Hessian-vector
//! products, one for each differentiated inner step) to take, and their weights. The engine in
//! [`crate::hypergradient`] carries it out, and an adaptive estimator updates its running estimates with the result
//! ([`Observation`]). Each file holds one estimator: formula and source, [`Settings`], [`Estimator`]. `registry.rs`
//! lists them all, and an [`EstimatorSchedule`] lets them take turns along a run.

mod adaptive_step_coins;
mod adaptive_telescoping;
mod adaptive_ufom;
pub mod allocation;
mod average;
mod best_q;
mod coin;
mod exact;
mod first_order;
mod implicit;
mod metrics;
mod observation;
mod price;
mod range;
mod registry;
mod reptile;
mod schedule;
mod state;
mod step_coins;
mod telescope;
mod telescoping;
mod tracker;
mod truncated;
mod tuning;
mod ufom;

pub use adaptive_step_coins::{AdaptiveStepCoins, PROBE_EVERY, WARM_UP};
pub use adaptive_telescoping::AdaptiveTelescoping;
pub use adaptive_ufom::{AdaptiveUfom, AdaptiveUfomSettings, Compat, Reference};
pub use best_q::{Costs, SecondMoments, best_q};
pub use coin::Coin;
pub use exact::Exact;
pub use first_order::FirstOrder;
pub use implicit::Implicit;
pub use observation::{Observation, Readings, Statistics, learn};
pub use price::CostUnit;
pub use registry::{EstimatorName, EstimatorSettings};
pub use reptile::Reptile;
pub use schedule::{EstimatorSchedule, Phase};
pub use state::State;
pub use step_coins::{Probabilities, StepCoins, StepCoinsSettings};
pub use telescoping::{LevelRule, Levels, Telescoping, TelescopingSettings};
pub use tracker::{Coefficient, Tracker, Tracking};
pub use truncated::Truncated;
pub use tuning::Tuning;
pub use ufom::{Base, Ufom, UfomSettings};

pub(crate) use telescoping::depths;

use crate::hypergradient::{Draw, Estimate};
use rand::Rng;
use serde_json::{Map, Value};
use std::any::Any;

/// An estimator of the hypergradient, with its running estimates if it is adaptive.
pub trait Estimator: Any + Send {
    /// Draws products and weights for `tasks` tasks of `steps` inner steps, with random numbers from `coins`, which
    /// is keyed to the outer step.
    fn draw(&self, coins: &mut dyn Rng, tasks: usize, steps: usize) -> Draw;

    /// Whether the expected value of the estimate is the exact gradient.
    fn is_unbiased(&self, steps: usize) -> bool;

    /// The largest number of the `steps` inner steps that it may differentiate; 0 without a backward walk.
    fn max_depth(&self, steps: usize) -> usize;

    /// The statistics of `estimate`, made with `draw`, that update an adaptive estimator; `None` if there are none.
    /// Called only if the draw [observes](Draw::observes). Does not read from the device.
    ///
    /// With several ranks, `draw` is that of the whole meta-batch and `estimate` covers this rank's share of the tasks. What
    /// is returned must follow from the draw, so that it is the same on all ranks: see [`Readings`].
    fn observe(&mut self, _draw: &Draw, _estimate: &Estimate) -> Option<Observation> {
        None
    }

    /// Running estimates and current probabilities, for the metrics of an outer step of `tasks` tasks and `steps` inner
    /// steps.
    fn metrics(&self, _tasks: usize, _steps: usize) -> Map<String, Value> {
        Map::new()
    }

    /// The state to save in a checkpoint.
    fn state(&self) -> State {
        State::default()
    }

    /// Restores a state returned by [`Self::state`].
    ///
    /// # Errors
    /// Returns an error if the state is of another estimator. The estimator is then unchanged.
    fn restore(&mut self, state: &State) -> Result<(), String> {
        state.refuse()
    }
}

/// The settings of an estimator.
pub trait Settings {
    /// The names of the settings in serialised form.
    const KEYS: &'static [&'static str];
    /// The settings without a default.
    const REQUIRED: &'static [&'static str] = &[];
    /// The setting that turns adaptation off. If it is absent, the estimator adapts with the settings for adaptation
    /// ([`Tuning::KEYS`], `curvature_floor`); if it is given, those have no
    /// meaning.
    const ADAPTS_WITHOUT: Option<&'static str> = None;

    /// A new estimator with these settings.
    ///
    /// # Panics
    /// Panics if a setting is outside of its range.
    fn build(&self) -> Box<dyn Estimator>;

    /// The reason why the estimator cannot use [outer losses along the inner loop](crate::OuterLosses::All), if it cannot.
    fn ignores_losses(&self) -> Option<&'static str> {
        None
    }

    /// The reason why the estimator gives `part` of θ a gradient of zero, if it does.
    fn cannot_learn(&self, _part: OuterPart) -> Option<&'static str> {
        None
    }
}

/// A part of θ for which some estimators give a gradient of zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OuterPart {
    /// Inner learning rates.
    InnerRates,
    /// Weights that enter the losses but are not adapted by the inner loop, such as the body of a network of which
    /// only the head adapts.
    SharedWeights,
    /// Parameters that enter only V, the start of the inner loop, and no loss.
    StartOnly,
}
