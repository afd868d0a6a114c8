//! Central differences of the outer objective: what the exact gradient of a new problem is held against.

use super::adapt;
use crate::{problem::Bilevel, stack::Stack};
use burn::tensor::{Tensor, TensorData};

/// M(θ): the mean over tasks of L_out after `steps` inner steps, at θ = `outer` (a stack of one task).
///
/// # Panics
/// If the device was lost; Burn reports that by panicking everywhere.
pub fn objective<P: Bilevel>(problem: &P, outer: &Stack, steps: usize) -> f64 {
    let outer = outer.repeat(problem.tasks());
    let (fast, _) = adapt(problem, &outer, steps);
    problem.outer_loss(&outer, &fast).mean().into_scalar::<f64>()
}

/// ∇M(θ) by (M(θ + h·e) − M(θ − h·e))/2h for every coordinate e, in θ's shape.
///
/// Two inner loops for every number in θ: for small problems. In float64, h = 10⁻⁵ gives about eight
/// digits; in float32, h = 10⁻² about two.
///
/// # Panics
/// As [`objective`].
pub fn differences<P: Bilevel>(problem: &P, outer: &Stack, steps: usize, h: f64) -> Stack {
    let slopes = outer.leaves().iter().enumerate().map(|(place, leaf)| {
        let (dims, options) = (leaf.dims(), (&leaf.device(), leaf.dtype()));
        let count: usize = dims.iter().product();
        let moved = |coordinate, by| {
            let mut step = vec![0.0; count];
            step[coordinate] = by;
            let mut leaves = outer.leaves().to_vec();
            leaves[place] = leaf.clone() + Tensor::from_data(TensorData::new(step, dims), options);
            objective(problem, &Stack::new(leaves), steps)
        };
        let slope = |coordinate| (moved(coordinate, h) - moved(coordinate, -h)) / (2.0 * h);
        let slopes: Vec<f64> = (0..count).map(slope).collect();
        Tensor::from_data(TensorData::new(slopes, dims), options)
    });
    Stack::new(slopes.collect())
}
