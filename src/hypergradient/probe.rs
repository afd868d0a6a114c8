//! A curvature probe: inner rate × largest curvature at one inner step, by power iterations.
//!
//! ```text
//! u ← H_j α_j u/‖H_j α_j u‖,   ‖H_j α_j u‖ → α_j λ_max from below
//! ```
//!
//! from u = v_j (von Mises & Pollaczek-Geiringer 1929). Along the walk itself ‖H_j α_j v_j‖/‖v_j‖ is far smaller: v_j is mostly
//! elsewhere, until noise turns it there.

use super::walk::curvature;
use crate::{problem::Bilevel, stack::Stack};
use burn::tensor::Tensor;

/// Products of a probe.
pub const ITERATIONS: usize = 6;

/// What a probe found.
#[derive(Clone, Debug)]
pub struct Probe {
    /// j, 1 to r.
    pub step: usize,
    /// α_j λ_max from below: `[1]`.
    pub steepest: Tensor<1>,
}

impl Probe {
    /// At θ = `outer` and φ_{step−1} = `at` of a problem of one task, from u = `start`.
    pub fn new<P: Bilevel>(problem: &P, outer: &Stack, step: usize, at: &Stack, start: Stack) -> Self {
        let rates = problem.inner_rates(step, outer);
        let mut direction = start;
        let mut steepest = direction.clone().squared_norm().zeros_like();
        for _ in 0..ITERATIONS {
            let Some(image) = curvature(problem, outer, at, &rates.times(&direction)) else { break };
            let square = image.clone().squared_norm();
            steepest = (square.clone() / direction.squared_norm()).sqrt();
            let length = square.sqrt().reshape([1, 1, 1]);
            direction = image.map(|leaf| leaf / length.clone());
        }
        Self { step, steepest }
    }
}
