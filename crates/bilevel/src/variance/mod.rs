//! Error analysis of estimators at a given θ, and the cost of each at its own best setting.
//!
//! One exact backward walk for each task, with every g_k, gives all quantities in the variance formulas:
//!
//! ```text
//! 𝕍² = E‖g_r‖²,   𝔻²_K = E‖g_r − g_K‖²,   β_k = 𝔻²_{k−1} − 𝔻²_k,   ‖Δ_j‖² = ‖g_k − g_{k−1}‖² with k = r − j + 1
//! ```
//!
//! (docs/mathematics.md, "Estimators"). [`ErrorAnalysis`] holds their means over tasks, [`TunedEstimator`] is an
//! estimator at its best setting according to the formulas, and [`Trial`] measures the error of an estimator by Monte
//! Carlo.

mod mean;
mod monte_carlo;
mod systematic;
mod tuned;

pub use mean::Mean;
pub use monte_carlo::{Trial, TrialResult};
pub use tuned::{Price, TunedEstimator};

use crate::hypergradient::{Draw, Estimate, Memory, Workers};
use crate::params::Params;
use crate::problem::Bilevel;
use crate::readback::read;
use serde::{Deserialize, Serialize};
use systematic::squared_norm_of_expectation;

/// Number of tasks whose g_0 … g_r are held in memory at once.
const TASKS_AT_ONCE: usize = 16;

/// Size and error of the gradient at one θ, by truncation depth and by inner step: means over tasks.
///
/// ```
/// use bilevel::hypergradient::{Memory, Workers};
/// use bilevel::variance::{ErrorAnalysis, Price};
/// # use bilevel::{Bilevel, Dual, Params, Rates};
/// # use burn::tensor::{Device, Tensor};
/// # /// L_in = ½(φ − 3)², L_out = φ².
/// # struct Pull;
/// # impl Bilevel for Pull {
/// #     fn tasks(&self) -> usize { 1 }
/// #     fn inner_rates(&self, _: usize, _: &Params) -> Rates { Rates::Scalar(0.1) }
/// #     fn inner_loss(&self, _: usize, _: &[Dual<3>], fast: &[Dual<3>]) -> Dual<1> {
/// #         let target = Dual::constant(Tensor::full([1, 1, 1], 3.0, &Device::flex()));
/// #         (fast[0].clone() - target).squared_norm().scale(0.5)
/// #     }
/// #     fn outer_loss(&self, _: usize, _: &Params, fast: &Params) -> Tensor<1> { fast.clone().squared_norm() }
/// #     fn select(&self, _: &[usize]) -> Self { Self }
/// # }
/// # let problem = Pull;
/// let theta = Params::new(vec![Tensor::zeros([1, 1, 1], &Device::flex())]);
/// let analysis = ErrorAnalysis::of(&problem, &theta, 5, Workers::TOGETHER, Memory::Store);
/// // Error of the first-order gradient relative to the exact one; here every inner step contracts by 0.9.
/// let relative = analysis.truncations[0].relative.value;
/// assert!((relative - (1.0 / 0.9_f64.powi(5) - 1.0)).abs() < 1e-4);
/// // The estimator with the least predicted time to an accuracy, with costs in gradient evaluations.
/// let tuned = analysis.tuned_estimators(Price::counted(5), 2.0, 0.75);
/// let best = tuned.iter().min_by(|a, b| a.time.unwrap_or(f64::MAX).total_cmp(&b.time.unwrap_or(f64::MAX)));
/// assert!(best.is_some_and(|best| best.time <= Some(1.0)));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorAnalysis {
    /// T, the number of tasks.
    pub tasks: usize,
    /// 𝕍² = E‖g_r‖².
    pub exact: Mean,
    /// ‖E(g_r − g_0)‖², the part of the first-order error that is common to all tasks. `None` for one task.
    pub systematic: Option<Mean>,
    /// The gradient truncated to K inner steps at index K, 0 to r.
    pub truncations: Vec<Truncation>,
    /// Inner step j at index j − 1.
    pub steps: Vec<Step>,
}

/// Deviation of g_K from g_r.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Truncation {
    /// 𝔻²_K = E‖g_r − g_K‖².
    pub error: Mean,
    /// ‖g_r − g_K‖/‖g_r‖.
    pub relative: Mean,
    /// The cosine between g_K and g_r.
    pub cosine: Mean,
}

/// Contribution of inner step j to the gradient.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// ‖Δ_j‖² = ‖g_k − g_{k−1}‖², k = r − j + 1.
    pub increment: Mean,
    /// β_k, k = r − j + 1: the variance factor of this level of a telescope with a level for every inner step. May be
    /// negative.
    pub level: Mean,
    /// a_j = ‖α_jH_jv_j‖/‖v_j‖, a lower bound of inner rate × largest curvature.
    pub curvature: Mean,
    /// The largest a_j over tasks.
    pub largest_curvature: f64,
}

impl ErrorAnalysis {
    /// Analyses the gradient at θ = `outer` (one task), on all tasks of `problem` with `steps` inner steps.
    pub fn of<P: Bilevel>(
        problem: &P,
        outer: &Params,
        steps: usize,
        workers: Workers,
        memory: Memory,
    ) -> Self {
        let all: Vec<usize> = (0..problem.tasks()).collect();
        let mut samples =
            Samples { walks: Vec::new(), curvatures: vec![Vec::new(); steps], errors: Vec::new() };
        for tasks in all.chunks(TASKS_AT_ONCE) {
            let draw = Draw::every_depth(tasks.len(), steps);
            samples.add(workers.estimate(&problem.select(tasks), outer, &draw, memory), steps);
        }
        samples.analysis()
    }

    /// The number of inner steps, r.
    pub fn inner_steps(&self) -> usize {
        self.steps.len()
    }

    /// 𝔻² = E‖g_r − g_0‖², the error of the first-order gradient.
    pub fn error(&self) -> f64 {
        self.truncations[0].error.value
    }

    /// 𝔻² minus its systematic part: the error that remains with the best constant offset. 𝔻² if the systematic part
    /// is not known.
    pub fn tracked_error(&self) -> f64 {
        let systematic = self.systematic.map_or(0.0, |systematic| systematic.value.max(0.0));
        (self.error() - systematic).max(0.0)
    }
}

/// Values collected task by task.
struct Samples {
    /// Of each task, g_0 … g_r.
    walks: Vec<Vec<PartialGradient>>,
    /// a_j of the tasks, at index j − 1.
    curvatures: Vec<Vec<f64>>,
    /// g_r − g_0 of the tasks, in chunks.
    errors: Vec<Params>,
}

/// Norms and products of g_k for one task.
#[derive(Clone, Copy)]
struct PartialGradient {
    /// ‖g_k‖².
    square: f64,
    /// g_k·g_r.
    along: f64,
    /// ‖g_r − g_k‖².
    error: f64,
    /// ‖g_k − g_{k−1}‖².
    increment: f64,
}

impl Samples {
    fn add(&mut self, estimate: Estimate, steps: usize) {
        let exact = estimate.gradient.clone();
        let first = self.walks.len();
        self.walks.resize_with(first + exact.tasks(), Vec::new);
        let mut before: Option<Params> = None;
        for (_, gradient) in (0..=steps).filter_map(|depth| estimate.partial_gradient(depth)) {
            let error = exact.clone() - gradient.clone();
            if before.is_none() {
                self.errors.push(error.clone());
            }
            let increment = gradient.clone() - before.unwrap_or_else(|| gradient.clone());
            let along = read(gradient.clone().dot(exact.clone()));
            let squares = [gradient.clone(), error, increment].map(|params| read(params.squared_norm()));
            for (task, along) in along.into_iter().enumerate() {
                let [square, error, increment] = [0, 1, 2].map(|of| squares[of][task]);
                self.walks[first + task].push(PartialGradient { square, along, error, increment });
            }
            before = Some(gradient);
        }
        for increment in estimate.increments {
            // Not finite if v is zero.
            let curvatures =
                read(increment.curvature).into_iter().map(|a| if a.is_finite() { a } else { 0.0 });
            self.curvatures[increment.step - 1].extend(curvatures);
        }
    }

    fn analysis(self) -> ErrorAnalysis {
        let steps = self.curvatures.len();
        let mean = |value: &dyn Fn(&[PartialGradient]) -> f64| {
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
                // Empty if no task needs the product of this step.
                curvature: Mean::of(if curvatures.is_empty() { &[0.0] } else { curvatures }),
                largest_curvature: curvatures.iter().copied().fold(0.0, f64::max),
            }
        };
        ErrorAnalysis {
            tasks: self.walks.len(),
            exact: mean(&|walk| walk[steps].square),
            systematic: squared_norm_of_expectation(&Params::cat(self.errors.clone())),
            truncations: (0..=steps).map(truncation).collect(),
            steps: self.curvatures.iter().enumerate().map(step).collect(),
        }
    }
}

/// `a`/`b`; 0 if `b` is 0.
fn ratio(a: f64, b: f64) -> f64 {
    if b == 0.0 { 0.0 } else { a / b }
}
