//! Bi-level problems: the inner loss, the outer loss, the initialisation and the inner learning rates.
//!
//! ```text
//! M(θ) = E_T [ L_out(θ, φ_r) ],   φ_0 = V(θ),   φ_j = φ_{j−1} − α_j(θ) ∘ ∇_φ L_in(θ, φ_{j−1}),   j = 1 … r
//! ```
//!
//! A problem is one meta-batch of T tasks. θ is passed once per task (`[tasks, …]`, like all other arguments), so
//! that gradients are per task. θ and φ may differ in shape and meaning: θ may enter `start`, the inner rates, the
//! inner loss and the outer loss in any differentiable way. A function that does not use θ costs nothing. The losses may
//! differ from step to step: with their own parameters for each inner step, or on a mini-batch of their own.

mod proximal;
mod rates;

pub use proximal::Proximal;
pub use rates::Rates;

use crate::dual::Dual;
use crate::params::Params;
use burn::tensor::Tensor;

/// One meta-batch of a bi-level problem. It owns its data.
///
/// MAML on one-dimensional tasks L_in(φ) = L_out(φ) = ½(φ − a)², each with its own target a:
///
/// ```
/// use bilevel::{Bilevel, Dual, Params, Rates, task_indices};
/// use burn::tensor::Tensor;
///
/// /// Targets, `[tasks, 1, 1]`.
/// struct Targets(Tensor<3>);
///
/// impl Bilevel for Targets {
///     fn tasks(&self) -> usize {
///         self.0.dims()[0]
///     }
///     fn inner_rates(&self, _step: usize, _outer: &Params) -> Rates {
///         Rates::Scalar(0.1)
///     }
///     fn inner_loss(&self, _step: usize, _outer: &[Dual<3>], fast: &[Dual<3>]) -> Dual<1> {
///         (fast[0].clone() - Dual::constant(self.0.clone())).squared_norm().scale(0.5)
///     }
///     fn outer_loss(&self, _step: usize, _outer: &Params, fast: &Params) -> Tensor<1> {
///         self.inner_loss(0, &[], &fast.constant()).primal
///     }
///     fn select(&self, tasks: &[usize]) -> Self {
///         Self(self.0.clone().select(0, task_indices(tasks, &self.0.device())))
///     }
/// }
/// ```
pub trait Bilevel: Send + Sync + 'static {
    /// T, the number of tasks.
    fn tasks(&self) -> usize;

    /// V(θ): the initial fast weights of each task. By default the identity, as in MAML.
    fn start(&self, outer: &Params) -> Params {
        outer.clone()
    }

    /// C(θ): what the losses need of θ and what does not change along the inner loop, such as the output of layers that do
    /// not adapt. By default nothing. It is computed once for an estimate and differentiated once,
    /// or for each g_k if several are reported.
    ///
    /// Its leaves follow those of θ in the `outer` of all other functions. These must also accept θ alone, as it comes from
    /// a user, and then compute C(θ) themselves.
    fn constants(&self, _outer: &Params) -> Params {
        Params::new(Vec::new())
    }

    /// What V(θ) and its derivative cost, in gradient evaluations of one task's loss: 0 unless V looks at the task's data.
    fn start_evaluations(&self) -> u64 {
        0
    }

    /// α_j(θ), the learning rates of inner step `step` (1 to r): one number, or one per fast weight, which may depend
    /// on θ (Meta-SGD).
    fn inner_rates(&self, step: usize, outer: &Params) -> Rates;

    /// L_in of inner step `step` (1 to r) of each task at θ and φ: `[tasks]`. It is written on duals, so that the engine can differentiate it along a
    /// direction. Only φ ever carries a tangent; θ never does.
    fn inner_loss(&self, step: usize, outer: &[Dual<3>], fast: &[Dual<3>]) -> Dual<1>;

    /// L_out of each task at θ and φ, after inner step `step` (0 to r): `[tasks]`.
    fn outer_loss(&self, step: usize, outer: &Params, fast: &Params) -> Tensor<1>;

    /// The same problem with only the tasks at `tasks`, in that order; a task may occur more than once.
    fn select(&self, tasks: &[usize]) -> Self
    where
        Self: Sized;

    /// The same problem with other data: each tensor `[tasks, …]` that differs from one meta-batch to the next is replaced by
    /// what `replace` returns for it, in a fixed order.
    ///
    /// With this and [`is_like`](Self::is_like) an [`OuterLoop`](crate::OuterLoop) can record the launches of an outer
    /// step on a GPU and replay them for other meta-batches. By default `None`: then nothing is recorded.
    fn with_data(&self, _replace: &mut dyn FnMut(Tensor<3>) -> Tensor<3>) -> Option<Self>
    where
        Self: Sized,
    {
        None
    }

    /// Whether this problem becomes `other` when its data are replaced by those of `other`. By default false.
    fn is_like(&self, _other: &Self) -> bool
    where
        Self: Sized,
    {
        false
    }
}
