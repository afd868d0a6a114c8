//! Reptile: the displacement of the fast weights, V(θ) − φ_r, in place of the gradient of the outer loss.
//!
//! ```text
//! g = (∂V/∂θ)ᵀ (V(θ) − φ_r):   the gradient of ½‖V(θ) − φ_r‖² with φ_r held constant
//! ```
//!
//! If V is the identity, g = θ − φ_r. Parts of θ that V does not depend on have a gradient of zero. Nichol, Achiam &
//! Schulman, *On first-order meta-learning algorithms*, 2018.

use super::products::through_start;
use super::{Draw, Estimate, Method, inner_loop};
use crate::{params::Params, problem::Bilevel};

/// The displacement at θ = `outer` (with the problem's task axis).
pub fn estimate<P: Bilevel>(problem: &P, outer: &Params, steps: usize) -> Estimate {
    let (fast, _) = inner_loop::run(problem, outer, steps);
    let displacement = problem.start(outer) - fast.clone();
    let gradient = through_start(problem, outer, displacement).unwrap_or_else(|| outer.zeros_like());
    let cost = Draw::without_walk(Method::Displacement, problem.tasks(), steps).cost();
    Estimate::without_walk(gradient, problem.outer_loss(steps, outer, &fast), cost)
}
