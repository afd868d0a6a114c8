//! The implicit gradient: if φ_r minimises the inner loss, how it moves with θ needs no inner loop.
//!
//! ```text
//! g = ∂_θ L_out − [∂²L_in/∂θ∂φ]ᵀ w,   [∂²L_in/∂φ²] w = ∂_φ L_out,   all at φ_r
//! ```
//!
//! w comes from conjugate gradients, one Hessian-vector product an iteration, for all tasks at once
//! (Pedregosa 2016; Rajeswaran et al., *Meta-learning with implicit gradients*, 2019). With a
//! [`Proximal`](crate::problem::Proximal) inner loss the Hessian is H + λI, the mixed term is λw, and g is
//! iMAML's (I + H/λ)⁻¹ ∇L_out. Constant memory in r; biased as far as φ_r is not a minimum and w not the solution.

use super::walk::{Walk, products};
use super::{Draw, Estimate, Method, adapt};
use crate::{problem::Bilevel, stack::Stack};
use burn::tensor::Tensor;

/// How the linear system is solved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConjugateGradient {
    /// Products at most.
    pub iterations: usize,
    /// Added to the Hessian: ‖w‖ stays bounded where curvature is small. ≥ 0.
    pub damping: f64,
}

/// The implicit gradient at θ = `outer` (with the problem's task axis).
pub fn estimate<P: Bilevel>(solver: ConjugateGradient, problem: &P, outer: &Stack, steps: usize) -> Estimate {
    let (fast, _) = adapt(problem, outer, steps, |_, _| {});
    let walk = Walk::begin(problem, outer, &fast);
    let slope = walk.vector.clone();
    let curved = |vector: &Stack| {
        let [_, product] = products(problem, outer, &fast, |_| vector.clone());
        let damped = vector.clone().map(|leaf| leaf.mul_scalar(solver.damping));
        product.map_or_else(|| damped.clone(), |product| product + damped.clone())
    };
    let solution = solve(solver.iterations, curved, &slope);
    let [mixed, _] = products(problem, outer, &fast, |_| solution.clone());
    let gradient = match (walk.direct, mixed) {
        (Some(direct), Some(mixed)) => direct - mixed,
        (None, Some(mixed)) => mixed.map(|leaf| leaf.neg()),
        (direct, None) => direct.unwrap_or_else(|| outer.zeros_like()),
    };
    Estimate {
        gradient,
        outer_loss: walk.outer_loss,
        outer_slope: None,
        landmarks: Vec::new(),
        increments: Vec::new(),
        evaluations: Draw::without_walk(Method::Implicit(solver), problem.tasks(), steps).cost(),
        iterate_bytes: 0,
    }
}

/// w with `curved`(w) = `slope`, task by task, by conjugate gradients from w = 0 (Hestenes & Stiefel 1952).
///
/// A task stops where it is solved, or where a direction of no positive curvature comes up.
fn solve(iterations: usize, curved: impl Fn(&Stack) -> Stack, slope: &Stack) -> Stack {
    let tasks = slope.tasks();
    let times = |stack: &Stack, factor: &Tensor<1>| {
        let factor = factor.clone().reshape([tasks, 1, 1]);
        stack.clone().map(|leaf| leaf * factor.clone())
    };
    // 0 where the divisor is not positive: such a task no longer moves.
    let ratio = |above: &Tensor<1>, below: &Tensor<1>| {
        let stopped = below.clone().lower_equal_elem(0.0);
        let safe = below.clone().mask_fill(stopped.clone(), 1.0);
        (above.clone() / safe).mask_fill(stopped, 0.0)
    };
    let mut solution = slope.zeros_like();
    let (mut residual, mut direction) = (slope.clone(), slope.clone());
    let mut square = residual.clone().squared_norm();
    for _ in 0..iterations {
        let image = curved(&direction);
        let length = ratio(&square, &direction.clone().dot(image.clone()));
        solution = solution + times(&direction, &length);
        residual = residual - times(&image, &length);
        let next = residual.clone().squared_norm();
        let turn = ratio(&next, &square).mask_fill(length.equal_elem(0.0), 0.0);
        direction = residual.clone() + times(&direction, &turn);
        square = next;
    }
    solution
}
