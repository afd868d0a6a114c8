//! The one engine behind every unrolled estimator: run the inner loop, keep the iterates that the
//! draw needs, walk back, sum the vectors met on the way.
//!
//! ```text
//! v_r = ∇_φ L_out(θ, φ_r),      h_0 = ∂_θ L_out(θ, φ_r)
//! for k = 1..r, with j = r − k + 1 and f_j the draw's factor (0 skip, 1 take, 1/p reweight):
//!     h_k     = h_{k−1} − f_j α_j [∂²L_in/∂θ∂φ (θ, φ_{j−1})]ᵀ v_j
//!     v_{j−1} = v_j     − f_j α_j [∂²L_in/∂φ²  (θ, φ_{j−1})]  v_j
//! g_k = h_k + (∂V/∂θ)ᵀ v_{r−k},        the estimate is Σ_k w_k g_k
//! ```
//!
//! With every factor 1, g_k is the gradient truncated to the last k steps and g_r the exact one
//! (METHOD, "Exact gradient"; Likhosherstov et al., *Debiasing a first-order heuristic for
//! approximate bi-level optimization*, 2021). Both products of a step come from one first-order
//! `backward()` of the inner loss's tangent ([`crate::dual`]); no graph spans more than one step.

mod draw;
mod iterates;
mod parallel;

pub use draw::Draw;
pub use parallel::Workers;

use crate::{problem::Bilevel, stack::Stack};
use burn::tensor::Tensor;
use iterates::Iterates;
use serde::{Deserialize, Serialize};
use std::ops::AddAssign;

/// What one estimate cost, in gradient evaluations of one task's loss.
///
/// A Hessian-vector product counts as one, as in the reference code; its arithmetic is about three
/// gradients'.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evaluations {
    /// Gradients of inner losses.
    pub inner: u64,
    /// Gradients of outer losses.
    pub outer: u64,
    /// Hessian-vector products (with the mixed ones, which come along).
    pub products: u64,
}

impl Evaluations {
    /// All together.
    pub fn total(&self) -> u64 {
        self.inner + self.outer + self.products
    }
}

impl AddAssign for Evaluations {
    fn add_assign(&mut self, other: Self) {
        self.inner += other.inner;
        self.outer += other.outer;
        self.products += other.products;
    }
}

/// One inner step's product, as the walk met it. Read it late: on a GPU reading waits.
#[derive(Clone, Debug)]
pub struct Increment {
    /// j, 1 to r.
    pub step: usize,
    /// The tasks that took the product.
    pub tasks: Vec<usize>,
    /// ‖Δ_j‖² = ‖α_j H_j v_j‖² of those tasks.
    pub squared_norm: Tensor<1>,
    /// ‖H_j v_j‖/‖v_j‖ of those tasks: a lower bound of the largest curvature.
    pub curvature: Tensor<1>,
}

/// The estimate after some steps back, for the tasks that want it.
#[derive(Clone, Debug)]
pub struct Landmark {
    /// k: how many steps back.
    pub depth: usize,
    /// Those tasks.
    pub tasks: Vec<usize>,
    /// Their g_k.
    pub gradient: Stack,
}

/// One estimate of a meta-batch's gradient, task by task.
#[derive(Clone, Debug)]
pub struct Estimate {
    /// Σ_k w_k g_k of each task, in θ's shape: `[tasks, …]`.
    pub gradient: Stack,
    /// L_out(θ, φ_r) of each task, `[tasks]`.
    pub outer_loss: Tensor<1>,
    /// The g_k that the draw wants.
    pub landmarks: Vec<Landmark>,
    /// The products taken; empty unless the draw asked.
    pub increments: Vec<Increment>,
    /// What it cost.
    pub evaluations: Evaluations,
}

impl Estimate {
    /// The tasks that wanted g_k, k = `depth`, and their g_k; `None` if none did.
    pub fn landmark(&self, depth: usize) -> Option<(Vec<usize>, Stack)> {
        let found: Vec<&Landmark> =
            self.landmarks.iter().filter(|landmark| landmark.depth == depth).collect();
        let tasks: Vec<usize> = found.iter().flat_map(|landmark| landmark.tasks.iter().copied()).collect();
        let gradients: Vec<Stack> = found.iter().map(|landmark| landmark.gradient.clone()).collect();
        (!tasks.is_empty()).then(|| (tasks, Stack::cat(gradients)))
    }
}

/// Runs the inner loop: φ_r, and L_in at φ_0 … φ_{r−1} (each `[tasks]`).
///
/// `visit` sees (j, φ_{j−1}) before step j is taken. `outer` has the problem's task axis.
pub fn adapt<P: Bilevel + ?Sized>(
    problem: &P,
    outer: &Stack,
    steps: usize,
    mut visit: impl FnMut(usize, &Stack),
) -> (Stack, Vec<Tensor<1>>) {
    let outer_duals = outer.constant();
    let mut fast = problem.start(outer);
    let mut losses = Vec::with_capacity(steps);
    for step in 1..=steps {
        visit(step, &fast);
        let leaves = fast.tracked();
        let loss = problem.inner_loss(&outer_duals, &leaves.constant()).primal;
        losses.push(loss.clone().inner());
        let [gradient] = Stack::gradients([&leaves], loss.sum());
        if let Some(gradient) = gradient {
            let rate = problem.inner_rate(step);
            fast = fast.zip(gradient, |leaf, slope| leaf - slope.mul_scalar(rate));
        }
    }
    (fast, losses)
}

/// The estimate that `draw` asks for at θ = `outer` (a stack of one task), by one inner loop and
/// one walk back.
pub fn estimate<P: Bilevel>(problem: &P, outer: &Stack, draw: &Draw) -> Estimate {
    let steps = draw.steps();
    let outer = outer.repeat(problem.tasks());
    let mut iterates = Iterates::default();
    let (fast, _) = adapt(problem, &outer, steps, |step, fast| iterates.keep(step, fast, &draw.due(step)));
    let mut walk = Walk::begin(problem, &outer, &fast);
    let mut landmarks = Vec::new();
    let mut increments = Vec::new();
    for walked in 0..=steps {
        if walked > 0 {
            let step = steps - walked + 1;
            if let Some(at) = iterates.take(step) {
                let increment = walk.back(step, &draw.due(step), &at, draw);
                increments.extend(increment);
            }
        }
        let tasks = draw.wanted(walked);
        if !tasks.is_empty() {
            landmarks.push(Landmark { depth: walked, gradient: walk.landmark(&tasks), tasks });
        }
    }
    let gradient = landmarks.iter().fold(None, |sum: Option<Stack>, landmark| {
        let weights: Vec<f64> =
            landmark.tasks.iter().map(|task| draw.weight(landmark.depth, *task)).collect();
        let weighted = landmark.gradient.clone().scale(&weights);
        match sum {
            None if landmark.tasks.len() == draw.tasks() => Some(weighted),
            sum => Some(sum.unwrap_or_else(|| outer.zeros_like()).add_at(&landmark.tasks, weighted)),
        }
    });
    Estimate {
        gradient: gradient.unwrap_or_else(|| outer.zeros_like()),
        outer_loss: walk.outer_loss,
        landmarks,
        increments,
        evaluations: draw.cost(),
    }
}

/// Where the backward walk stands: v and h for every task.
struct Walk<'a, P> {
    problem: &'a P,
    outer: &'a Stack,
    /// v_{r−k}, in φ's shape.
    vector: Stack,
    /// h_k, in θ's shape; `None` while θ has entered no loss.
    direct: Option<Stack>,
    outer_loss: Tensor<1>,
}

impl<'a, P: Bilevel> Walk<'a, P> {
    fn begin(problem: &'a P, outer: &'a Stack, fast: &Stack) -> Self {
        let (theta, phi) = (outer.tracked(), fast.tracked());
        let loss = problem.outer_loss(&theta, &phi);
        let outer_loss = loss.clone().inner();
        let [direct, vector] = Stack::gradients([&theta, &phi], loss.sum());
        let vector = vector.unwrap_or_else(|| fast.zeros_like());
        Self { problem, outer, vector, direct, outer_loss }
    }

    /// Steps back over inner step `step` for the tasks `due`, whose φ_{step−1} is `at`.
    fn back(&mut self, step: usize, due: &[usize], at: &Stack, draw: &Draw) -> Option<Increment> {
        let problem = self.problem.select(due);
        let vector = self.vector.select(due);
        let (theta, phi) = (self.outer.select(due).tracked(), at.tracked());
        let slope = problem.inner_loss(&theta.constant(), &phi.moving(&vector)).tangent;
        let slope = slope.map_or_else(|| [None, None], |slope| Stack::gradients([&theta, &phi], slope.sum()));
        let [mixed, product] = slope;

        let rate = self.problem.inner_rate(step);
        let increment = product.as_ref().filter(|_| draw.observes()).map(|product| {
            let squared_norm = product.clone().squared_norm();
            let curvature = (squared_norm.clone() / vector.squared_norm()).sqrt();
            Increment {
                step,
                tasks: due.to_vec(),
                squared_norm: squared_norm.mul_scalar(rate * rate),
                curvature,
            }
        });
        let factors: Vec<f64> = due.iter().map(|task| -rate * draw.factor(step, *task)).collect();
        if let Some(product) = product {
            self.vector = self.vector.clone().add_at(due, product.scale(&factors));
        }
        if let Some(mixed) = mixed {
            let direct = self.direct.take().unwrap_or_else(|| self.outer.zeros_like());
            self.direct = Some(direct.add_at(due, mixed.scale(&factors)));
        }
        increment
    }

    /// g_k = h_k + (∂V/∂θ)ᵀ v_{r−k} of `tasks`.
    fn landmark(&self, tasks: &[usize]) -> Stack {
        let theta = self.outer.select(tasks).tracked();
        let along = self.problem.select(tasks).start(&theta).dot(self.vector.select(tasks));
        let [through_start] = Stack::gradients([&theta], along.sum());
        let direct = self.direct.as_ref().map(|direct| direct.select(tasks));
        match (direct, through_start) {
            (Some(direct), Some(through_start)) => direct + through_start,
            (direct, through_start) => direct.or(through_start).unwrap_or_else(|| theta.zeros_like()),
        }
    }
}
