//! The one engine behind every estimator: run the inner loop, keep the iterates that the draw needs,
//! walk back, sum the vectors met on the way.
//!
//! ```text
//! v_r = ∇_φ L_out(θ, φ_r),      h_0 = ∂_θ L_out(θ, φ_r)
//! for k = 1..r, with j = r − k + 1 and f_j the draw's factor (0 skip, 1 take, 1/p reweight):
//!     h_k     = h_{k−1} − f_j [∂²L_in/∂θ∂φ (θ, φ_{j−1})]ᵀ α_j v_j
//!     v_{j−1} = v_j     − f_j [∂²L_in/∂φ²  (θ, φ_{j−1})]  α_j v_j
//! g_k = h_k + (∂V/∂θ)ᵀ v_{r−k},        the estimate is Σ_k w_k g_k
//! ```
//!
//! With every factor 1, g_k is the gradient truncated to the last k steps and g_r the exact one
//! (METHOD, "Exact gradient"; Likhosherstov et al., *Debiasing a first-order heuristic for
//! approximate bi-level optimization*, 2021). Both products of a step come from one first-order
//! `backward()` of the inner loss's tangent along α_j v_j ([`crate::dual`]), and so does the slope in
//! rates that are part of θ; no graph spans more than one step.
//!
//! Two methods do not walk: Reptile's displacement and the implicit gradient; a [`Draw`] asks for
//! those too.

mod differences;
mod displacement;
mod draw;
mod evaluations;
mod implicit;
mod inner_loop;
mod iterates;
mod lane;
mod memory;
mod parallel;
mod probe;
mod revolve;
mod walk;

pub use differences::{differences, objective};
pub use draw::{Draw, Method, Offset};
pub use evaluations::Evaluations;
pub use implicit::ConjugateGradient;
pub use inner_loop::adapt;
pub use memory::Memory;
pub use parallel::Workers;
pub use probe::Probe;

use crate::{problem::Bilevel, stack::Stack};
use burn::tensor::Tensor;

/// One inner step's product, as the walk met it. Read it late: on a GPU reading waits.
#[derive(Clone, Debug)]
pub struct Increment {
    /// j, 1 to r.
    pub step: usize,
    /// The tasks that took the product.
    pub tasks: Vec<usize>,
    /// ‖Δ_j‖² = ‖H_j α_j v_j‖² of those tasks, before the draw's factor.
    pub squared_norm: Tensor<1>,
    /// ‖[∂²L_in/∂θ∂φ]ᵀ α_j v_j‖² of those tasks; `None` where θ is not in the inner loss.
    pub direct: Option<Tensor<1>>,
    /// ‖Δ_j‖/‖v_j‖ of those tasks: a lower bound of inner rate × largest curvature.
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
    /// The estimate of each task, in θ's shape: `[tasks, …]`.
    pub gradient: Stack,
    /// L_out(θ, φ_r) of each task, `[tasks]`.
    pub outer_loss: Tensor<1>,
    /// ‖v_r‖² of each task, `[tasks]`; only if the draw asked.
    pub outer_slope: Option<Tensor<1>>,
    /// The curvatures that the draw wants probed.
    pub probes: Vec<Probe>,
    /// The g_k that the draw wants; empty unless it asked.
    pub landmarks: Vec<Landmark>,
    /// The products taken; empty unless the draw asked.
    pub increments: Vec<Increment>,
    /// What it cost.
    pub evaluations: Evaluations,
    /// Most bytes of iterates that one worker kept at once.
    pub iterate_bytes: u64,
}

impl Estimate {
    /// One that no walk led to.
    fn without_walk(gradient: Stack, outer_loss: Tensor<1>, evaluations: Evaluations) -> Self {
        Self {
            gradient,
            outer_loss,
            outer_slope: None,
            probes: Vec::new(),
            landmarks: Vec::new(),
            increments: Vec::new(),
            evaluations,
            iterate_bytes: 0,
        }
    }

    /// The tasks that wanted g_l, l = `to`, and their g_l − g_k, k = `from`, which they wanted too; `None` if
    /// none did.
    pub fn between(&self, from: usize, to: usize) -> Option<(Vec<usize>, Stack)> {
        let (all, shallow) = self.landmark(from)?;
        let (tasks, deep) = self.landmark(to)?;
        let difference = deep - shallow.select(&places(&tasks, &all));
        Some((tasks, difference))
    }

    /// The tasks that wanted g_k, k = `depth`, and their g_k; `None` if none did.
    pub fn landmark(&self, depth: usize) -> Option<(Vec<usize>, Stack)> {
        let found: Vec<&Landmark> =
            self.landmarks.iter().filter(|landmark| landmark.depth == depth).collect();
        let tasks: Vec<usize> = found.iter().flat_map(|landmark| landmark.tasks.iter().copied()).collect();
        let gradients: Vec<Stack> = found.iter().map(|landmark| landmark.gradient.clone()).collect();
        (!tasks.is_empty()).then(|| (tasks, Stack::cat(gradients)))
    }
}

/// Where each of `tasks` stands in `all`.
pub fn places(tasks: &[usize], all: &[usize]) -> Vec<usize> {
    tasks.iter().filter_map(|task| all.iter().position(|at| at == task)).collect()
}

/// The estimate that `draw` asks for at θ = `outer` (a stack of one task), every iterate stored.
pub fn estimate<P: Bilevel>(problem: &P, outer: &Stack, draw: &Draw) -> Estimate {
    estimate_within(Memory::Store, problem, outer, draw)
}

/// The estimate that `draw` asks for at θ = `outer` (a stack of one task), with the iterates that
/// `memory` allows.
pub fn estimate_within<P: Bilevel>(memory: Memory, problem: &P, outer: &Stack, draw: &Draw) -> Estimate {
    let outer = outer.repeat(problem.tasks());
    let mut estimate = match draw.method() {
        Method::Unroll => walk::estimate(memory, problem, &outer, draw),
        Method::Displacement => displacement::estimate(problem, &outer, draw.steps()),
        Method::Implicit(solver) => implicit::estimate(solver, problem, &outer, draw.steps()),
    };
    if let Some(Offset { vector, weights }) = draw.offset() {
        estimate.gradient = estimate.gradient + vector.repeat(weights.len()).scale(weights);
    }
    estimate
}
