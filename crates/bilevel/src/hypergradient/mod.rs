//! The engine behind every estimator: run the inner loop, store the iterates that the draw needs, walk backwards
//! through them, and sum the gradients truncated at the depths that the draw asks for.
//!
//! ```text
//! v_r = ∇_φ L_out(θ, φ_r),      h_0 = ∂_θ L_out(θ, φ_r)
//! for k = 1..r, with j = r − k + 1 and f_j the draw's factor (0 skip, 1 take, 1/p reweight):
//!     h_k     = h_{k−1} − f_j [∂²L_in/∂θ∂φ (θ, φ_{j−1})]ᵀ α_j v_j
//!     v_{j−1} = v_j     − f_j [∂²L_in/∂φ²  (θ, φ_{j−1})]  α_j v_j
//! g_k = h_k + (∂V/∂θ)ᵀ v_{r−k},        the estimate is Σ_k w_k g_k
//! ```
//!
//! The outer objective may have losses along the inner loop, Σ_j w_j L_out(θ, φ_j) with [`LossWeights`] w. Then v_r is
//! weighted by w_r, and the walk adds w_{j−1} ∇_φ L_out(θ, φ_{j−1}) to v_{j−1}, and its θ part to h_k, in passing. The
//! walk is linear in v, so estimates keep their expectation. Losses that the walk has not reached at depth k enter g_k
//! without products, so that g_k − g_{k−1} comes from the products alone:
//!
//! ```text
//! g_k = h_k + (∂V/∂θ)ᵀ v_{r−k} + Σ_{i<r−k} w_i [∂_θ L_out(θ, φ_i) + (∂V/∂θ)ᵀ ∇_φ L_out(θ, φ_i)]
//! ```
//!
//! With every factor 1, g_k is the gradient truncated to the last k steps and g_r the exact one (docs/mathematics.md,
//! "Exact gradient"; Likhosherstov et al., *Debiasing a first-order heuristic for approximate bi-level optimization*,
//! 2021). One first-order `backward()` of the inner loss's tangent along α_j v_j ([`crate::dual`]) gives both
//! products of a step, and the derivative with respect to rates that are part of θ. No graph spans more than one
//! step.
//!
//! Reptile's displacement and the implicit gradient need no backward walk; a [`Draw`] can ask for them too.
//!
//! The exact gradient of M(θ) = ½(φ_r − 1)² with L_in = ½φ², whose inner step is φ ← 0.9 φ, and its check by central
//! differences:
//!
//! ```
//! use bilevel::hypergradient::{Draw, LossWeights, Memory, differences, estimate};
//! use bilevel::{Bilevel, Dual, Params, Rates};
//! use burn::tensor::{DType, Device, Tensor};
//!
//! struct Decay;
//!
//! impl Bilevel for Decay {
//!     fn tasks(&self) -> usize {
//!         1
//!     }
//!     fn inner_rates(&self, _step: usize, _outer: &Params) -> Rates {
//!         Rates::Scalar(0.1)
//!     }
//!     fn inner_loss(&self, _step: usize, _outer: &[Dual<3>], fast: &[Dual<3>]) -> Dual<1> {
//!         fast[0].clone().squared_norm().scale(0.5)
//!     }
//!     fn outer_loss(&self, _step: usize, _outer: &Params, fast: &Params) -> Tensor<1> {
//!         fast.clone().map(|leaf| leaf - 1).squared_norm().mul_scalar(0.5)
//!     }
//!     fn select(&self, _tasks: &[usize]) -> Self {
//!         Self
//!     }
//! }
//!
//! let theta = Params::new(vec![Tensor::full([1, 1, 1], 2.0, (&Device::flex(), DType::F64))]);
//! let value = |gradient: Params| gradient.leaves()[0].clone().into_scalar::<f64>();
//!
//! let exact = estimate(&Decay, &theta, &Draw::truncated(1, 3, 3), Memory::Store);
//! let factor = 0.9_f64.powi(3);
//! assert!((value(exact.gradient) - factor * (2.0 * factor - 1.0)).abs() < 1e-12);
//! assert_eq!(exact.evaluations.products, 3);
//!
//! let numerical = differences(&Decay, &theta, &LossWeights::last(3), 1e-5);
//! assert!((value(numerical) - factor * (2.0 * factor - 1.0)).abs() < 1e-8);
//! ```

mod constants;
mod differences;
mod displacement;
mod draw;
mod evaluations;
mod implicit;
mod inner_loop;
mod iterates;
mod loss_weights;
mod memory;
mod outer_gradient;
mod parallel;
mod pool;
mod probe;
mod products;
mod recording;
mod revolve;
mod start_size;
mod walk;
mod weighted_sum;

pub use differences::{differences, objective};
pub use draw::{Draw, Method, Offset};
pub use evaluations::Evaluations;
pub use implicit::ConjugateGradient;
pub use inner_loop::{adapt, descend};
pub use loss_weights::LossWeights;
pub use memory::{IterateSize, Memory, MemoryPlan};
pub use parallel::Workers;
pub use probe::Probe;
pub use recording::Recordings;
pub(crate) use start_size::{StartSize, bytes_of_start};

use crate::{params::Params, problem::Bilevel, ranks::Share};
use burn::tensor::Tensor;
use constants::Constants;

/// Norms of one inner step's products. On a GPU, read them late: a read waits for the queued work.
#[derive(Clone, Debug)]
pub struct Increment {
    /// j, 1 to r.
    pub step: usize,
    /// The tasks for which the products were computed.
    pub tasks: Vec<usize>,
    /// ‖Δ_j‖² = ‖H_j α_j v_j‖² of those tasks, before the draw's factor; zeros if the inner loss has no curvature.
    pub squared_norm: Tensor<1>,
    /// ‖[∂²L_in/∂θ∂φ]ᵀ α_j v_j‖² of those tasks; `None` if the inner loss does not depend on θ.
    pub direct: Option<Tensor<1>>,
    /// ‖Δ_j‖/‖v_j‖ of those tasks: a lower bound of the inner rate times the largest curvature.
    pub curvature: Tensor<1>,
}

/// g_k, the gradient after k backward steps, for the tasks that the draw asks for.
#[derive(Clone, Debug)]
pub struct PartialGradient {
    /// k: the number of backward steps.
    pub depth: usize,
    /// The tasks.
    pub tasks: Vec<usize>,
    /// Their g_k.
    pub gradient: Params,
}

/// One estimate of a meta-batch's gradient, task by task. With several ranks, `evaluations` and `iterate_bytes` are those of all;
/// everything else is of the tasks in this rank's share, by their numbers in the meta-batch.
#[derive(Clone, Debug)]
pub struct Estimate {
    /// The tasks that it covers.
    pub share: Share,
    /// The estimate of each task, in θ's shape: `[tasks, …]`.
    pub gradient: Params,
    /// L_out(θ, φ_r) of each task, `[tasks]`, whatever the weights of the losses.
    pub outer_loss: Tensor<1>,
    /// ‖Σ_j w_j ∇_φ L_out(θ, φ_j)‖² of each task, `[tasks]`, which is ‖v_r‖² without losses along the way; only for
    /// [observed](Draw::observed) draws.
    pub outer_slope: Option<Tensor<1>>,
    /// The curvature probes that the draw asks for.
    pub probes: Vec<Probe>,
    /// The g_k that the draw sums; only for [observed](Draw::observed) draws.
    pub partial_gradients: Vec<PartialGradient>,
    /// Norms of the products; only for [observed](Draw::observed) draws.
    pub increments: Vec<Increment>,
    /// The cost.
    pub evaluations: Evaluations,
    /// The most bytes of iterates that one worker stored at once.
    pub iterate_bytes: u64,
}

impl Estimate {
    /// An estimate computed without a backward walk.
    fn without_walk(gradient: Params, outer_loss: Tensor<1>, evaluations: Evaluations) -> Self {
        Self {
            share: Share::all(gradient.tasks()),
            gradient,
            outer_loss,
            outer_slope: None,
            probes: Vec::new(),
            partial_gradients: Vec::new(),
            increments: Vec::new(),
            evaluations,
            iterate_bytes: 0,
        }
    }

    /// The same estimate as that of the own tasks of `share`. Waits for all ranks.
    pub(crate) fn within(mut self, share: Share) -> Self {
        let first = share.own().start;
        let partial_gradients = self.partial_gradients.iter_mut().map(|partial| &mut partial.tasks);
        let increments = self.increments.iter_mut().map(|increment| &mut increment.tasks);
        partial_gradients.chain(increments).flatten().for_each(|task| *task += first);
        let Evaluations { inner, outer, products, recomputed } = self.evaluations;
        let counts = [inner, outer, products, recomputed, self.iterate_bytes];
        let [inner, outer, products, recomputed, bytes] = share.collect_counts(counts);
        let sum = |counts: Vec<u64>| counts.into_iter().sum();
        self.evaluations = Evaluations {
            inner: sum(inner),
            outer: sum(outer),
            products: sum(products),
            recomputed: sum(recomputed),
        };
        self.iterate_bytes = bytes.into_iter().max().unwrap_or(0);
        Self { share, ..self }
    }

    /// The mean of gradients over the `chosen` tasks of the whole meta-batch, in ascending order; `own` are those of this
    /// estimate's tasks, if any. Waits for all ranks.
    pub(crate) fn mean_of(&self, chosen: &[usize], own: Option<Params>) -> Params {
        self.share.mean(chosen, own, &self.gradient.tasks_in(0..1))
    }

    /// The tasks for which the draw sums g_l, l = `to`, and their g_l − g_k, k = `from`; `None` if there are none.
    /// The draw must sum g_k for all of these tasks too.
    pub fn between(&self, from: usize, to: usize) -> Option<(Vec<usize>, Params)> {
        let (all, shallow) = self.partial_gradient(from)?;
        let (tasks, deep) = self.partial_gradient(to)?;
        let difference = deep - shallow.select(&places(&tasks, &all));
        Some((tasks, difference))
    }

    /// The tasks for which the draw sums g_k, k = `depth`, and their g_k; `None` if there are none.
    pub fn partial_gradient(&self, depth: usize) -> Option<(Vec<usize>, Params)> {
        let found: Vec<&PartialGradient> = self
            .partial_gradients
            .iter()
            .filter(|partial_gradient| partial_gradient.depth == depth)
            .collect();
        let tasks: Vec<usize> =
            found.iter().flat_map(|partial_gradient| partial_gradient.tasks.iter().copied()).collect();
        let gradients: Vec<Params> =
            found.iter().map(|partial_gradient| partial_gradient.gradient.clone()).collect();
        (!tasks.is_empty()).then(|| (tasks, Params::cat(gradients)))
    }
}

/// The position of each of `tasks` in `all`.
pub fn places(tasks: &[usize], all: &[usize]) -> Vec<usize> {
    tasks.iter().filter_map(|task| all.iter().position(|at| at == task)).collect()
}

/// Computes the estimate described by `draw` at θ = `outer` (one task), with all tasks together; `memory` says how many
/// iterates are stored. [`Workers::estimate`] does the same on several threads. For an example, see the
/// [module](self).
pub fn estimate<P: Bilevel>(problem: &P, outer: &Params, draw: &Draw, memory: Memory) -> Estimate {
    estimate_from(problem, outer, draw, memory, None)
}

/// The same with what `forward` has computed already.
fn estimate_from<P: Bilevel>(
    problem: &P,
    outer: &Params,
    draw: &Draw,
    memory: Memory,
    forward: Option<walk::Forward>,
) -> Estimate {
    let theta = outer.repeat(problem.tasks());
    let constants = Constants::new(problem, &theta);
    let outer = match (&forward, &constants) {
        (Some(forward), _) => forward.outer.clone(),
        (None, Some(constants)) => constants.leaves(),
        (None, None) => theta,
    };
    let mut estimate = match draw.method() {
        Method::Unroll => walk::estimate(memory, problem, &outer, draw, forward),
        Method::Displacement => displacement::estimate(problem, &outer, draw.steps()),
        Method::Implicit(solver) => implicit::estimate(solver, problem, &outer, draw.steps()),
    };
    if let Some(constants) = constants {
        constants.fold(&mut estimate, problem, draw);
    }
    estimate.evaluations.inner += problem.start_evaluations() * draw.starts();
    if let Some(Offset { vector, weights }) = draw.offset() {
        estimate.gradient = estimate.gradient + vector.repeat(weights.len()).scale(weights);
    }
    estimate
}
