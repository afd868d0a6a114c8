//! What an estimator errs by in fact: E‖g − g_r‖² over tasks and draws, by Monte Carlo.

use super::Mean;
use crate::estimator::Estimator;
use crate::host::host;
use crate::hypergradient::{Draw, Workers};
use crate::problem::Bilevel;
use crate::random::generator;
use crate::stack::Stack;
use serde::{Deserialize, Serialize};

/// Estimators' trial at one θ on one meta-batch; for many draws on one task, `problem.select(&[0; N])`.
///
/// The exact gradient of every task is held: `[tasks, …]` in θ's shape.
pub struct Trial<'a, P> {
    problem: &'a P,
    outer: &'a Stack,
    steps: usize,
    workers: &'a Workers,
    exact: Stack,
}

/// What a trial found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// E‖g − g_r‖². Its standard error is between tasks, with all draws of a task as one value, so what the choice
    /// of tasks leaves open is in it. It is too small where the tails are heavy.
    pub variance: Mean,
    /// The largest share that one draw of one task has in the sum: near 0, unless the tails are heavy.
    pub largest_share: f64,
    /// The largest ‖α_jH_jv_j‖/‖v_j‖ met, inner step j's at place j − 1; 0 where no product was taken. Noise turns v towards
    /// large curvature, so this is nearer to inner rate × largest curvature than what exact walks meet.
    pub curvatures: Vec<f64>,
    /// Mean products of a task.
    pub products: f64,
}

impl<'a, P: Bilevel> Trial<'a, P> {
    /// At θ = `outer` (a stack of one task), on all tasks of `problem`, with `steps` inner steps.
    pub fn new(problem: &'a P, outer: &'a Stack, steps: usize, workers: &'a Workers) -> Self {
        let draw = Draw::truncated(problem.tasks(), steps, steps);
        let exact = workers.estimate(problem, outer, &draw).gradient;
        Self { problem, outer, steps, workers, exact }
    }

    /// `estimator` as it stands, drawn `draws` ≥ 1 times for all tasks, its coins keyed by `seed`. It learns nothing from it.
    pub fn run(&self, estimator: &dyn Estimator, draws: u64, seed: u64) -> Verdict {
        let tasks = self.problem.tasks();
        let (mut sums, mut largest, mut products) = (vec![0.0; tasks], 0.0_f64, 0);
        let mut curvatures = vec![0.0; self.steps];
        for index in 0..draws {
            let draw = estimator.draw(&mut generator(seed, "coin", index), tasks, self.steps).observed();
            let estimate = self.workers.estimate(self.problem, self.outer, &draw);
            products += estimate.evaluations.products;
            for increment in estimate.increments {
                let met: &mut f64 = &mut curvatures[increment.step - 1];
                *met = host(increment.curvature).into_iter().fold(*met, f64::max);
            }
            let squares = host((estimate.gradient - self.exact.clone()).squared_norm());
            for (sum, square) in sums.iter_mut().zip(squares) {
                *sum += square;
                largest = largest.max(square);
            }
        }
        let count = (draws * tasks as u64) as f64;
        let total: f64 = sums.iter().sum();
        let means: Vec<f64> = sums.into_iter().map(|sum| sum / draws as f64).collect();
        Verdict {
            variance: Mean::of(&means),
            largest_share: if total > 0.0 { largest / total } else { 0.0 },
            curvatures,
            products: products as f64 / count,
        }
    }
}
