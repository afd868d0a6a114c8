//! The error E‖g − g_r‖² of an estimator over tasks and draws, by Monte Carlo.

use super::Mean;
use crate::estimator::Estimator;
use crate::hypergradient::{Draw, Memory, Workers};
use crate::params::Params;
use crate::problem::Bilevel;
use crate::readback::read;
use crate::rng::generator;
use serde::{Deserialize, Serialize};

/// Measures the error of estimators at one θ on one meta-batch. For many draws on one task, use `problem.select(&[0;
/// N])`.
///
/// Holds the exact gradient of every task, `[tasks, …]` in the shape of θ.
pub struct Trial<'a, P> {
    problem: &'a P,
    outer: &'a Params,
    steps: usize,
    workers: Workers,
    memory: Memory,
    exact: Params,
}

/// The result of a [`Trial`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrialResult {
    /// E‖g − g_r‖². Its standard error is over tasks, with the mean over all draws of a task as one value, so it
    /// includes the variation between tasks. It is too small if the tails are heavy.
    pub variance: Mean,
    /// The largest fraction of the sum due to one draw of one task; near 0 unless the tails are heavy.
    pub largest_share: f64,
    /// The largest ‖α_jH_jv_j‖/‖v_j‖ of inner step j at index j − 1; 0 if no product was taken. Noise turns v towards
    /// directions of large curvature, so this is closer to inner rate × largest curvature than in exact walks.
    pub curvatures: Vec<f64>,
    /// Mean number of products a task, those of curvature probes included.
    pub products: f64,
}

impl<'a, P: Bilevel> Trial<'a, P> {
    /// A trial at θ = `outer` (one task), on all tasks of `problem`, with `steps` inner steps.
    pub fn new(problem: &'a P, outer: &'a Params, steps: usize, workers: Workers, memory: Memory) -> Self {
        let draw = Draw::truncated(problem.tasks(), steps, steps);
        let exact = workers.estimate(problem, outer, &draw, memory).gradient;
        Self { problem, outer, steps, workers, memory, exact }
    }

    /// Draws from `estimator` `draws` ≥ 1 times for all tasks, with coins keyed by `seed`. The estimator is not
    /// updated.
    pub fn run(&self, estimator: &dyn Estimator, draws: u64, seed: u64) -> TrialResult {
        let tasks = self.problem.tasks();
        let (mut sums, mut largest, mut products) = (vec![0.0; tasks], 0.0_f64, 0);
        let mut curvatures = vec![0.0; self.steps];
        for index in 0..draws {
            let draw = estimator.draw(&mut generator(seed, "coin", index), tasks, self.steps).observed();
            let estimate = self.workers.estimate(self.problem, self.outer, &draw, self.memory);
            products += estimate.evaluations.products;
            for increment in estimate.increments {
                let largest: &mut f64 = &mut curvatures[increment.step - 1];
                *largest = read(increment.curvature).into_iter().fold(*largest, f64::max);
            }
            let squares = read((estimate.gradient - self.exact.clone()).squared_norm());
            for (sum, square) in sums.iter_mut().zip(squares) {
                *sum += square;
                largest = largest.max(square);
            }
        }
        let count = (draws * tasks as u64) as f64;
        let total: f64 = sums.iter().sum();
        let means: Vec<f64> = sums.into_iter().map(|sum| sum / draws as f64).collect();
        TrialResult {
            variance: Mean::of(&means),
            largest_share: if total > 0.0 { largest / total } else { 0.0 },
            curvatures,
            products: products as f64 / count,
        }
    }
}
