//! Reptile: the way the fast weights went, V(θ) − φ_r, taken for the outer loss's slope in φ.
//!
//! ```text
//! g = (∂V/∂θ)ᵀ (V(θ) − φ_r):   the gradient of ½‖V(θ) − φ_r‖², φ_r held
//! ```
//!
//! θ − φ_r where V is the identity; what of θ is not in V has a gradient of zero. Nichol, Achiam &
//! Schulman, *On first-order meta-learning algorithms*, 2018.

use super::walk::through_start;
use super::{Draw, Estimate, Method, adapt};
use crate::{problem::Bilevel, stack::Stack};

/// The displacement at θ = `outer` (with the problem's task axis).
pub fn estimate<P: Bilevel>(problem: &P, outer: &Stack, steps: usize) -> Estimate {
    let (fast, _) = adapt(problem, outer, steps);
    let way = problem.start(outer) - fast.clone();
    let gradient = through_start(problem, outer, way).unwrap_or_else(|| outer.zeros_like());
    let cost = Draw::without_walk(Method::Displacement, problem.tasks(), steps).cost();
    Estimate::without_walk(gradient, problem.outer_loss(outer, &fast), cost)
}
