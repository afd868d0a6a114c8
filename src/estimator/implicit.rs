//! Implicit: the gradient as if φ_r minimised the inner loss, whatever way led there.
//!
//! ```text
//! ∇_φ L_in(θ, φ*) = 0   ⇒   ∂φ*/∂θ = −[∂²L_in/∂φ²]⁻¹ [∂²L_in/∂φ∂θ]
//! g = ∂_θ L_out − [∂²L_in/∂θ∂φ]ᵀ w,   ([∂²L_in/∂φ²] + δI) w = ∂_φ L_out
//! ```
//!
//! w comes from a few steps of conjugate gradients, a Hessian-vector product each; δ is the damping.
//! θ must be in the inner loss: by a proximal term (iMAML: Rajeswaran et al., *Meta-learning with
//! implicit gradients*, 2019), as the body beneath a head that adapts, or as hyper-parameters
//! (Pedregosa, *Hyperparameter optimization with approximate gradient*, 2016). Cost and memory do not
//! grow with how many inner steps are differentiated, for none is. Biased as far as φ_r is not a minimum,
//! w not the solution, or δ not 0.

use super::Estimator;
use crate::hypergradient::{ConjugateGradient, Draw, Method};
use rand::Rng;

/// The implicit gradient.
#[derive(Clone, Copy, Debug)]
pub struct Implicit {
    /// How w is found.
    pub solver: ConjugateGradient,
}

impl Estimator for Implicit {
    fn draw(&self, _coins: &mut dyn Rng, tasks: usize, steps: usize) -> Draw {
        Draw::without_walk(Method::Implicit(self.solver), tasks, steps)
    }

    fn is_unbiased(&self, _steps: usize) -> bool {
        false
    }
}
