//! Reptile: the displacement of the inner loop, used as a gradient.
//!
//! ```text
//! g = (∂V/∂θ)ᵀ (V(θ) − φ_r),   which is θ − φ_r if the inner loop starts at θ
//! ```
//!
//! With plain SGD as the outer optimiser, the outer rate is Reptile's ε: θ ← θ + ε(φ_r − θ). The outer loss is not
//! differentiated, so query images have no influence. The result is not MAML's gradient: for small α and r > 1 it
//! follows the inner loss and aligns the gradients of its steps (Nichol, Achiam & Schulman, *On first-order
//! meta-learning algorithms*, 2018, §5).

use super::{Estimator, OuterPart, Settings};
use crate::hypergradient::{Draw, Method};
use rand::Rng;
use serde::{Deserialize, Serialize};

/// The displacement of the inner loop.
///
/// No parameters. Needs no gradient of the outer loss and no Hessian-vector product. Best with plain SGD outside and
/// several inner steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reptile {}

impl Settings for Reptile {
    const KEYS: &'static [&'static str] = &[];

    fn build(&self) -> Box<dyn Estimator> {
        Box::new(*self)
    }

    fn ignores_losses(&self) -> Option<&'static str> {
        Some("it does not differentiate the outer loss")
    }

    fn cannot_learn(&self, part: OuterPart) -> Option<&'static str> {
        match part {
            OuterPart::InnerRates => {
                Some("it moves θ towards the end of the inner loop, which does not change the rates")
            }
            OuterPart::SharedWeights => Some("it moves no weight that the inner loop does not adapt"),
            OuterPart::StartOnly => None,
        }
    }
}

impl Estimator for Reptile {
    fn draw(&self, _coins: &mut dyn Rng, tasks: usize, steps: usize) -> Draw {
        Draw::without_walk(Method::Displacement, tasks, steps)
    }

    fn is_unbiased(&self, _steps: usize) -> bool {
        false
    }

    fn max_depth(&self, _steps: usize) -> usize {
        0
    }
}
