//! Reptile: the way the fast weights went, V(θ) − φ_r, taken for a gradient.
//!
//! With plain SGD outside, the outer rate is Reptile's ε: θ ← θ + ε(φ_r − θ). Nichol, Achiam & Schulman, *On
//! first-order meta-learning algorithms*, 2018. Only for problems whose V is the identity.

use super::{Draw, Estimate, Method, adapt};
use crate::{problem::Bilevel, stack::Stack};

/// The displacement at θ = `outer` (with the problem's task axis).
pub fn estimate<P: Bilevel>(problem: &P, outer: &Stack, steps: usize) -> Estimate {
    let (fast, _) = adapt(problem, outer, steps, |_, _| {});
    Estimate {
        outer_loss: problem.outer_loss(outer, &fast),
        gradient: outer.clone() - fast,
        outer_slope: None,
        landmarks: Vec::new(),
        increments: Vec::new(),
        evaluations: Draw::without_walk(Method::Displacement, problem.tasks(), steps).cost(),
        iterate_bytes: 0,
    }
}
