//! What estimators err by at a given θ, and what each would cost at its own best setting.
//!
//! One exact walk a task, with every g_k on its way wanted, shows all that the variance formulas need:
//!
//! ```text
//! 𝕍² = E‖g_r‖²,   𝔻²_K = E‖g_r − g_K‖²,   β_k = 𝔻²_{k−1} − 𝔻²_k,   ‖Δ_j‖² = ‖g_k − g_{k−1}‖² with k = r − j + 1
//! ```
//!
//! (METHOD, "Estimators"). [`Diagnosis`] is these means over tasks, [`Contender`] an estimator at the setting that they call
//! best, and a [`Trial`] measures by Monte Carlo what an estimator errs by in fact.

mod contender;
mod mean;
mod systematic;
mod trial;

pub use contender::{Contender, Price};
pub use mean::Mean;
pub use trial::{Trial, Verdict};

use crate::host::host;
use crate::hypergradient::{Draw, Estimate, Workers};
use crate::problem::Bilevel;
use crate::stack::Stack;
use serde::{Deserialize, Serialize};
use systematic::squared_norm_of_expectation;

/// Tasks whose g_0 … g_r are held at once.
const TOGETHER: usize = 16;

/// What walks back from φ_r meet at one θ: means over tasks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// T, how many tasks it is made of.
    pub tasks: usize,
    /// 𝕍² = E‖g_r‖².
    pub exact: Mean,
    /// ‖E(g_r − g_0)‖²: what of first-order's error is the same for all tasks. `None` for one task.
    pub systematic: Option<Mean>,
    /// The gradient truncated to K steps at place K, 0 to r.
    pub truncations: Vec<Truncation>,
    /// Inner step j at place j − 1.
    pub steps: Vec<Step>,
}

/// How far g_K is from g_r.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Truncation {
    /// 𝔻²_K = E‖g_r − g_K‖².
    pub error: Mean,
    /// ‖g_r − g_K‖/‖g_r‖.
    pub relative: Mean,
    /// The cosine between g_K and g_r.
    pub cosine: Mean,
}

/// What inner step j adds on the way back.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// ‖Δ_j‖², in θ's shape.
    pub increment: Mean,
    /// β_k, k = r − j + 1: what a telescope of every step pays for at this level. May be negative.
    pub level: Mean,
    /// a_j = ‖α_jH_jv_j‖/‖v_j‖, a lower bound of inner rate × largest curvature.
    pub curvature: Mean,
    /// The largest a_j of a task.
    pub largest_curvature: f64,
}

impl Diagnosis {
    /// At θ = `outer` (a stack of one task), from all tasks of `problem` and `steps` inner steps.
    pub fn of<P: Bilevel>(problem: &P, outer: &Stack, steps: usize, workers: &Workers) -> Self {
        let all: Vec<usize> = (0..problem.tasks()).collect();
        let mut seen = Seen { walks: Vec::new(), curvatures: vec![Vec::new(); steps], errors: Vec::new() };
        for tasks in all.chunks(TOGETHER) {
            let draw = every_depth(tasks.len(), steps);
            seen.take_in(workers.estimate(&problem.select(tasks), outer, &draw), steps);
        }
        seen.diagnosis()
    }

    /// r.
    pub fn inner_steps(&self) -> usize {
        self.steps.len()
    }

    /// 𝔻² = E‖g_r − g_0‖², first-order's error.
    pub fn error(&self) -> f64 {
        self.truncations[0].error.value
    }

    /// What the best constant offset leaves of 𝔻²; 𝔻² where that is not known.
    pub fn tracked_error(&self) -> f64 {
        let systematic = self.systematic.map_or(0.0, |systematic| systematic.value.max(0.0));
        (self.error() - systematic).max(0.0)
    }
}

/// An exact walk for each of `tasks` tasks, every g_k on its way wanted.
fn every_depth(tasks: usize, steps: usize) -> Draw {
    let mut draw = Draw::new(tasks, steps);
    for task in 0..tasks {
        (0..steps).for_each(|depth| draw.add(task, depth, 0.0));
        draw.add(task, steps, 1.0);
    }
    draw.observed()
}

/// What has been seen, task by task.
struct Seen {
    walks: Vec<Vec<Landmark>>,
    /// a_j of the tasks, at place j − 1.
    curvatures: Vec<Vec<f64>>,
    /// g_r − g_0.
    errors: Vec<Stack>,
}

/// Norms of one task's g_k.
#[derive(Clone, Copy)]
struct Landmark {
    /// ‖g_k‖².
    square: f64,
    /// g_k·g_r.
    along: f64,
    /// ‖g_r − g_k‖².
    error: f64,
    /// ‖g_k − g_{k−1}‖².
    increment: f64,
}

impl Seen {
    fn take_in(&mut self, estimate: Estimate, steps: usize) {
        let exact = estimate.gradient.clone();
        let first = self.walks.len();
        self.walks.resize_with(first + exact.tasks(), Vec::new);
        let mut before: Option<Stack> = None;
        for (_, gradient) in (0..=steps).filter_map(|depth| estimate.landmark(depth)) {
            let error = exact.clone() - gradient.clone();
            if before.is_none() {
                self.errors.push(error.clone());
            }
            let increment = gradient.clone() - before.unwrap_or_else(|| gradient.clone());
            let along = host(gradient.clone().dot(exact.clone()));
            let squares = [gradient.clone(), error, increment].map(|stack| host(stack.squared_norm()));
            for (task, along) in along.into_iter().enumerate() {
                let [square, error, increment] = [0, 1, 2].map(|of| squares[of][task]);
                self.walks[first + task].push(Landmark { square, along, error, increment });
            }
            before = Some(gradient);
        }
        for increment in estimate.increments {
            // Where v is zero there is no curvature to see.
            let seen = host(increment.curvature).into_iter().map(|a| if a.is_finite() { a } else { 0.0 });
            self.curvatures[increment.step - 1].extend(seen);
        }
    }

    fn diagnosis(self) -> Diagnosis {
        let steps = self.curvatures.len();
        let mean = |value: &dyn Fn(&[Landmark]) -> f64| {
            Mean::of(&self.walks.iter().map(|walk| value(walk)).collect::<Vec<f64>>())
        };
        let truncation = |depth: usize| Truncation {
            error: mean(&|walk| walk[depth].error),
            relative: mean(&|walk| ratio(walk[depth].error, walk[steps].square).sqrt()),
            cosine: mean(&|walk| ratio(walk[depth].along, (walk[depth].square * walk[steps].square).sqrt())),
        };
        let step = |(at, curvatures): (usize, &Vec<f64>)| {
            let depth = steps - at;
            Step {
                increment: mean(&|walk| walk[depth].increment),
                level: mean(&|walk| walk[depth - 1].error - walk[depth].error),
                // A step without a product, which is due for no task, has none.
                curvature: Mean::of(if curvatures.is_empty() { &[0.0] } else { curvatures }),
                largest_curvature: curvatures.iter().copied().fold(0.0, f64::max),
            }
        };
        Diagnosis {
            tasks: self.walks.len(),
            exact: mean(&|walk| walk[steps].square),
            systematic: squared_norm_of_expectation(&Stack::cat(self.errors.clone())),
            truncations: (0..=steps).map(truncation).collect(),
            steps: self.curvatures.iter().enumerate().map(step).collect(),
        }
    }
}

/// `a`/`b`; 0 where both are.
fn ratio(a: f64, b: f64) -> f64 {
    if b == 0.0 { 0.0 } else { a / b }
}
