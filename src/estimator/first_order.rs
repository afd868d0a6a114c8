//! First-order (FOM, FOMAML): g = ∂_θ L_out + (∂V/∂θ)ᵀ v_r, no product at all; biased.
//!
//! Finn, Abbeel & Levine, *Model-agnostic meta-learning*, 2017, §5.2.

use super::Estimator;
use crate::hypergradient::Draw;
use rand::Rng;

/// The first-order estimator.
#[derive(Clone, Copy, Debug)]
pub struct FirstOrder;

impl Estimator for FirstOrder {
    fn draw(&self, _coins: &mut dyn Rng, tasks: usize, steps: usize) -> Draw {
        Draw::truncated(tasks, steps, 0)
    }

    fn is_unbiased(&self, _steps: usize) -> bool {
        false
    }
}
