//! Curvature probes: the inner rate times the largest curvature at one inner step, by power iteration.
//!
//! ```text
//! u ← H_j α_j u/‖H_j α_j u‖,   ‖H_j α_j u‖ → α_j λ_max from below
//! ```
//!
//! starting from u = v_j (von Mises & Pollaczek-Geiringer 1929). The ratio ‖H_j α_j v_j‖/‖v_j‖ seen by the backward
//! walk itself is far smaller, since v_j usually has little weight along the direction of largest curvature until
//! noise adds some.

use super::products::curvature;
use crate::{params::Params, problem::Bilevel};
use burn::tensor::Tensor;

/// Power iterations of a probe, with one Hessian-vector product each.
pub const ITERATIONS: usize = 6;

/// The result of a curvature probe.
#[derive(Clone, Debug)]
pub struct Probe {
    /// j, 1 to r.
    pub step: usize,
    /// A lower bound of α_j λ_max, `[1]`.
    pub steepest: Tensor<1>,
}

impl Probe {
    /// Probes a problem of one task at θ = `outer` and φ_{step−1} = `at`, starting from u = `start`.
    pub fn new<P: Bilevel>(problem: &P, outer: &Params, step: usize, at: &Params, start: Params) -> Self {
        let rates = problem.inner_rates(step, outer);
        let mut direction = start;
        let mut steepest = direction.clone().squared_norm().zeros_like();
        for _ in 0..ITERATIONS {
            let Some(image) = curvature(problem, outer, step, at, &rates.times(&direction)) else { break };
            let square = image.clone().squared_norm();
            steepest = (square.clone() / direction.squared_norm()).sqrt();
            let length = square.sqrt().reshape([1, 1, 1]);
            direction = image.map(|leaf| leaf / length.clone());
        }
        Self { step, steepest }
    }
}
