//! First-order (FOM, FOMAML): g = ∂_θ L_out + (∂V/∂θ)ᵀ v_r, without any Hessian-vector product; biased if there is an
//! inner step.
//!
//! Finn, Abbeel & Levine, *Model-agnostic meta-learning*, 2017, §5.2.

use super::{Estimator, OuterPart, Settings};
use crate::hypergradient::Draw;
use rand::Rng;
use serde::{Deserialize, Serialize};

/// The first-order estimator.
///
/// No parameters. The cheapest estimator; its bias g_r − g_0 grows with the inner rates and the number of inner steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirstOrder {}

impl Settings for FirstOrder {
    const KEYS: &'static [&'static str] = &[];

    fn build(&self) -> Box<dyn Estimator> {
        Box::new(*self)
    }

    fn cannot_learn(&self, part: OuterPart) -> Option<&'static str> {
        (part == OuterPart::InnerRates)
            .then_some("the inner rates have no gradient if no inner step is differentiated")
    }
}

impl Estimator for FirstOrder {
    fn draw(&self, _coins: &mut dyn Rng, tasks: usize, steps: usize) -> Draw {
        Draw::truncated(tasks, steps, 0)
    }

    fn is_unbiased(&self, steps: usize) -> bool {
        steps == 0
    }

    fn max_depth(&self, _steps: usize) -> usize {
        0
    }
}
