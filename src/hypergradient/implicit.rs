//! The implicit gradient: if φ_r minimises the inner loss, how it moves with θ needs no inner loop.
//!
//! ```text
//! g = ∂_θ L_out − [∂²L_in/∂θ∂φ]ᵀ w,   [∂²L_in/∂φ²] w = ∂_φ L_out,   all at φ_r
//! ```
//!
//! w comes from conjugate gradients, one Hessian-vector product an iteration, for all tasks at once
//! (Pedregosa 2016; Rajeswaran et al., *Meta-learning with implicit gradients*, 2019). With a
//! [`Proximal`](crate::problem::Proximal) inner loss the Hessian is H + λI, the mixed term is λw, and g is
//! iMAML's (I + H/λ)⁻¹ ∇L_out. Memory is constant in r. The estimate is biased as far as φ_r is not a
//! minimum and w not the solution.

use super::walk::{Walk, curvature, products};
use super::{Draw, Estimate, Method, adapt};
use crate::{problem::Bilevel, stack::Stack};
use burn::tensor::{Bool, Tensor};

/// How the linear system is solved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConjugateGradient {
    /// Steps, a product each.
    pub iterations: usize,
    /// Added to the Hessian: ‖w‖ stays bounded where curvature is small. ≥ 0.
    pub damping: f64,
}

/// The implicit gradient at θ = `outer` (with the problem's task axis).
pub fn estimate<P: Bilevel>(solver: ConjugateGradient, problem: &P, outer: &Stack, steps: usize) -> Estimate {
    let (fast, _) = adapt(problem, outer, steps);
    let walk = Walk::begin(problem, outer, &fast);
    let slope = walk.vector.clone();
    let curved = |vector: &Stack| {
        let damped = vector.clone().map(|leaf| leaf.mul_scalar(solver.damping));
        match curvature(problem, outer, &fast, vector) {
            Some(product) => product + damped,
            None => damped,
        }
    };
    let solution = solve(solver.iterations, curved, &slope);
    let [mixed, _] = products(problem, outer, &fast, |_| solution);
    let direct = walk.direct.unwrap_or_else(|| outer.zeros_like());
    let gradient = match mixed {
        Some(mixed) => direct - mixed,
        None => direct,
    };
    let cost = Draw::without_walk(Method::Implicit(solver), problem.tasks(), steps).cost();
    Estimate::without_walk(gradient, walk.outer_loss, cost)
}

/// w with `curved`(w) = `slope`, task by task, by conjugate gradients from w = 0 (Hestenes & Stiefel 1952).
///
/// A task stops, its direction zero from then on, where its residual is rounding, or where its
/// direction's curvature is not positive beyond rounding beside the steepest one met: w is then what was
/// found so far. A stopped task's products are still taken, beside the others', and counted.
fn solve(iterations: usize, curved: impl Fn(&Stack) -> Stack, slope: &Stack) -> Stack {
    let mut solution = slope.zeros_like();
    let (mut residual, mut direction) = (slope.clone(), slope.clone());
    let mut square = residual.clone().squared_norm();
    let rounding = square.dtype().finfo().map_or(0.0, |float| float.epsilon);
    let solved = square.clone().mul_scalar(rounding * rounding);
    let mut steepest = square.zeros_like();
    for _ in 0..iterations {
        let image = curved(&direction);
        let curvature = direction.clone().dot(image.clone());
        let length = direction.clone().squared_norm();
        let moves = length.clone().greater_elem(0);
        steepest = steepest.max_pair(ratio(&moves, image.clone().squared_norm(), length.clone()).sqrt());
        let runs = curvature.clone().greater(steepest.clone() * length * rounding);
        let step = ratio(&runs, square.clone(), curvature);
        solution = solution + times(&direction, &step);
        residual = residual - times(&image, &step);
        let next = residual.clone().squared_norm();
        let runs = runs.bool_and(next.clone().greater(solved.clone()));
        let turned = residual.clone() + times(&direction, &ratio(&runs, next.clone(), square));
        // Bool → Int → the residual's type: `float()` would take the device's default type.
        direction = times(&turned, &runs.int().float().cast(next.dtype()));
        square = next;
    }
    solution
}

/// `above`/`below` for the tasks that run, 0 for the others, whatever theirs are.
fn ratio(runs: &Tensor<1, Bool>, above: Tensor<1>, below: Tensor<1>) -> Tensor<1> {
    let stopped = runs.clone().bool_not();
    (above / below.mask_fill(stopped.clone(), 1)).mask_fill(stopped, 0)
}

/// Every task's leaves times its own factor.
fn times(stack: &Stack, factors: &Tensor<1>) -> Stack {
    let factors = factors.clone().reshape([factors.dims()[0], 1, 1]);
    stack.clone().map(|leaf| leaf * factors.clone())
}
