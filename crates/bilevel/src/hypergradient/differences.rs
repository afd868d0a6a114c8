//! Central differences of the outer objective, to check the exact gradient of a new problem.

use super::adapt;
use crate::{params::Params, problem::Bilevel};
use burn::tensor::{Tensor, TensorData};

/// M(θ): the mean over tasks of L_out after `steps` inner steps, at θ = `outer` (one task).
///
/// # Panics
/// Panics if the device was lost; Burn reports device errors by panicking.
pub fn objective<P: Bilevel>(problem: &P, outer: &Params, steps: usize) -> f64 {
    let outer = outer.repeat(problem.tasks());
    let (fast, _) = adapt(problem, &outer, steps);
    problem.outer_loss(&outer, &fast).mean().into_scalar::<f64>()
}

/// ∇M(θ) by (M(θ + h·e) − M(θ − h·e))/2h for every coordinate e, in θ's shape.
///
/// It runs two inner loops per element of θ, so it is meant for small problems. In float64, h = 10⁻⁵ gives about eight
/// digits; in float32, h = 10⁻² about two. For an example, see the [module](super).
///
/// # Panics
/// Panics in the cases of [`objective`].
pub fn differences<P: Bilevel>(problem: &P, outer: &Params, steps: usize, h: f64) -> Params {
    let slopes = outer.leaves().iter().enumerate().map(|(index, leaf)| {
        let (dims, options) = (leaf.dims(), (&leaf.device(), leaf.dtype()));
        let count: usize = dims.iter().product();
        let moved = |coordinate, by| {
            let mut step = vec![0.0; count];
            step[coordinate] = by;
            let mut leaves = outer.leaves().to_vec();
            leaves[index] = leaf.clone() + Tensor::from_data(TensorData::new(step, dims), options);
            objective(problem, &Params::new(leaves), steps)
        };
        let slope = |coordinate| (moved(coordinate, h) - moved(coordinate, -h)) / (2.0 * h);
        let slopes: Vec<f64> = (0..count).map(slope).collect();
        Tensor::from_data(TensorData::new(slopes, dims), options)
    });
    Params::new(slopes.collect())
}
