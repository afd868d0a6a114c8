//! The implicit gradient: if φ_r minimises the inner loss, its derivative with respect to θ follows from the implicit
//! function theorem, without a backward walk.
//!
//! ```text
//! g = ∂_θ L_out − [∂²L_in/∂θ∂φ]ᵀ w,   [∂²L_in/∂φ²] w = ∂_φ L_out,   all at φ_r
//! ```
//!
//! w is computed by conjugate gradients, with one Hessian-vector product per iteration, for all tasks at once
//! (Pedregosa 2016; Rajeswaran et al., *Meta-learning with implicit gradients*, 2019). With a
//! [`Proximal`](crate::problem::Proximal) inner loss the Hessian is H + λI, the mixed term is λw, and g is iMAML's
//! (I + H/λ)⁻¹ ∇L_out. Memory is constant in r. The estimate is biased to the extent that φ_r is not a minimum and w is
//! not the solution. Without inner steps there is no inner loss; then φ_0 = V(θ), and g is the exact gradient.

use super::outer_gradient::OuterGradient;
use super::products::{curvature, products};
use super::{Draw, Estimate, Method, inner_loop};
use crate::{params::Params, problem::Bilevel};
use burn::tensor::{Bool, Tensor};
use serde::{Deserialize, Serialize};

/// Settings of the conjugate gradient method.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConjugateGradient {
    /// Iterations, with one Hessian-vector product each.
    pub iterations: usize,
    /// Added to the diagonal of the Hessian, ≥ 0: it bounds ‖w‖ where the curvature is small.
    pub damping: f64,
}

/// The implicit gradient at θ = `outer` (with the problem's task axis).
pub fn estimate<P: Bilevel>(
    solver: ConjugateGradient,
    problem: &P,
    outer: &Params,
    steps: usize,
) -> Estimate {
    let (fast, _) = inner_loop::run(problem, outer, steps);
    let (gradient, outer_loss) = OuterGradient::at(problem, outer, steps, &fast, 1.0);
    let cost = Draw::without_walk(Method::Implicit(solver), problem.tasks(), steps).cost();
    if steps == 0 {
        return Estimate::without_walk(gradient.in_theta(problem, outer), outer_loss, cost);
    }
    let OuterGradient { fast: slope, direct } = gradient;
    let hessian = |vector: &Params| {
        let damped = vector.clone().map(|leaf| leaf.mul_scalar(solver.damping));
        match curvature(problem, outer, steps, &fast, vector) {
            Some(product) => product + damped,
            None => damped,
        }
    };
    let solution = solve(solver.iterations, hessian, &slope);
    let [mixed, _] = products(problem, outer, steps, &fast, |_| solution);
    let direct = direct.unwrap_or_else(|| outer.zeros_like());
    let gradient = match mixed {
        Some(mixed) => direct - mixed,
        None => direct,
    };
    Estimate::without_walk(gradient, outer_loss, cost)
}

/// Solves `hessian`(w) = `slope` per task, by conjugate gradients from w = 0 (Hestenes & Stiefel 1952).
///
/// A task stops, with the w found so far, when its residual is at rounding level, or when the curvature along its
/// direction is not positive, up to rounding relative to the largest curvature found so far. Its direction is then
/// zero. The products of a stopped task are still computed together with the others, and counted.
fn solve(iterations: usize, hessian: impl Fn(&Params) -> Params, slope: &Params) -> Params {
    let mut solution = slope.zeros_like();
    let (mut residual, mut direction) = (slope.clone(), slope.clone());
    let mut square = residual.clone().squared_norm();
    let rounding = square.dtype().finfo().map_or(0.0, |float| float.epsilon);
    let solved = square.clone().mul_scalar(rounding * rounding);
    let mut steepest = square.zeros_like();
    for _ in 0..iterations {
        let image = hessian(&direction);
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
        let conjugate = residual.clone() + times(&direction, &ratio(&runs, next.clone(), square));
        // `float()` alone gives the device's default float type, so it is cast to that of the residual.
        direction = times(&conjugate, &runs.int().float().cast(next.dtype()));
        square = next;
    }
    solution
}

/// `above`/`below` for the tasks in `runs`; 0 for the others, even if their quotient is NaN or infinite.
fn ratio(runs: &Tensor<1, Bool>, above: Tensor<1>, below: Tensor<1>) -> Tensor<1> {
    let stopped = runs.clone().bool_not();
    (above / below.mask_fill(stopped.clone(), 1)).mask_fill(stopped, 0)
}

/// Multiplies the parameters of each task by its factor.
fn times(params: &Params, factors: &Tensor<1>) -> Params {
    let factors = factors.clone().reshape([factors.dims()[0], 1, 1]);
    params.clone().map(|leaf| leaf * factors.clone())
}
