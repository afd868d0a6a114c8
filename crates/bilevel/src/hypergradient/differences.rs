//! Central differences of the outer objective, to check the exact gradient of a new problem.

use super::LossWeights;
use super::inner_loop::descend;
use crate::{params::Params, problem::Bilevel};
use burn::tensor::{Tensor, TensorData};

/// M(θ): the mean over tasks of Σ_j w_j L_out(θ, φ_j), at θ = `outer` (one task). `losses` are the weights w_0 … w_r, and
/// so determine the number of inner steps.
///
/// # Panics
/// Panics if the device was lost; Burn reports device errors by panicking.
pub fn objective<P: Bilevel>(problem: &P, outer: &Params, losses: &LossWeights) -> f64 {
    let outer = outer.repeat(problem.tasks());
    let mut fast = problem.start(&outer);
    let mut sum = 0.0;
    for step in 0..=losses.steps() {
        if step > 0 {
            fast = descend(problem, &outer, step, fast).0;
        }
        let weight = losses.get(step);
        if weight != 0.0 {
            sum += weight * problem.outer_loss(step, &outer, &fast).mean().into_scalar::<f64>();
        }
    }
    sum
}

/// ∇M(θ) by (M(θ + h·e) − M(θ − h·e))/2h for every coordinate e, in θ's shape.
///
/// It runs two inner loops per element of θ, so it is meant for small problems. In float64, h = 10⁻⁵ gives about eight
/// digits; in float32, h = 10⁻² about two. For an example, see the [module](super).
///
/// # Panics
/// Panics in the cases of [`objective`].
pub fn differences<P: Bilevel>(problem: &P, outer: &Params, losses: &LossWeights, h: f64) -> Params {
    let slopes = outer.leaves().iter().enumerate().map(|(index, leaf)| {
        let (dims, options) = (leaf.dims(), (&leaf.device(), leaf.dtype()));
        let count: usize = dims.iter().product();
        let moved = |coordinate, by| {
            let mut step = vec![0.0; count];
            step[coordinate] = by;
            let mut leaves = outer.leaves().to_vec();
            leaves[index] = leaf.clone() + Tensor::from_data(TensorData::new(step, dims), options);
            objective(problem, &Params::new(leaves), losses)
        };
        let slope = |coordinate| (moved(coordinate, h) - moved(coordinate, -h)) / (2.0 * h);
        let slopes: Vec<f64> = (0..count).map(slope).collect();
        Tensor::from_data(TensorData::new(slopes, dims), options)
    });
    Params::new(slopes.collect())
}
