//! Reptile: the way that the inner loop went, taken for a gradient.
//!
//! ```text
//! g = (∂V/∂θ)ᵀ (V(θ) − φ_r),   which is θ − φ_r where the inner loop starts at θ
//! ```
//!
//! With plain SGD outside, the outer rate is Reptile's ε: θ ← θ + ε(φ_r − θ). No outer loss is
//! differentiated: query images teach nothing. Another gradient than MAML's, one that for small α and r > 1
//! follows the inner loss and makes its steps agree (Nichol, Achiam & Schulman, *On first-order
//! meta-learning algorithms*, 2018, §5).

use super::Estimator;
use crate::hypergradient::{Draw, Method};
use rand::Rng;

/// The inner loop's displacement.
#[derive(Clone, Copy, Debug)]
pub struct Reptile;

impl Estimator for Reptile {
    fn draw(&self, _coins: &mut dyn Rng, tasks: usize, steps: usize) -> Draw {
        Draw::without_walk(Method::Displacement, tasks, steps)
    }

    fn is_unbiased(&self, _steps: usize) -> bool {
        false
    }
}
