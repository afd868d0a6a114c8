//! Bi-level problems: what is minimised inside, what outside, and where the inner loop starts.
//!
//! ```text
//! M(θ) = E_T [ L_out(θ, φ_r) ],   φ_0 = V(θ),   φ_j = φ_{j−1} − α_j(θ) ∘ ∇_φ L_in(θ, φ_{j−1})
//! ```
//!
//! A problem is one meta-batch of T tasks. θ arrives once per task (`[tasks, …]` like everything
//! else), so that gradients come out per task. θ and φ need not be alike: θ may enter `start`, the
//! inner rates, the inner loss and the outer loss, each as it likes; what a function does not use
//! costs nothing.

mod adaptation;
mod batch;
mod classification;
mod few_shot;
mod hyper_cleaning;
mod hyperparameters;
mod proximal;
mod rates;

pub use adaptation::{Adaptation, InnerRates};
pub use batch::Batch;
pub use classification::Adapted;
pub use few_shot::FewShot;
pub use hyper_cleaning::{HyperCleaning, f1};
pub use hyperparameters::Hyperparameters;
pub use proximal::Proximal;
pub use rates::Rates;

use crate::{dual::Dual, stack::Stack};
use burn::tensor::Tensor;

/// One meta-batch of a bi-level problem.
pub trait Bilevel: Send + Sync {
    /// How many tasks, T.
    fn tasks(&self) -> usize;

    /// V(θ): the fast weights at which each task's inner loop starts. MAML's V is the identity.
    fn start(&self, outer: &Stack) -> Stack {
        outer.clone()
    }

    /// α_j(θ), the rates of inner step `step` (1 to r): a number, or one for every fast weight, which
    /// may be made of θ (Meta-SGD).
    fn inner_rates(&self, step: usize, outer: &Stack) -> Rates;

    /// L_in of each task at θ and φ: `[tasks]`. Written on duals, so that the engine can push a
    /// direction through it; only φ ever moves along one, θ has values alone.
    fn inner_loss(&self, outer: &[Dual<3>], fast: &[Dual<3>]) -> Dual<1>;

    /// L_out of each task at θ and φ: `[tasks]`.
    fn outer_loss(&self, outer: &Stack, fast: &Stack) -> Tensor<1>;

    /// The same problem with only the tasks at `tasks`, in that order; one may come more than once.
    fn select(&self, tasks: &[usize]) -> Self
    where
        Self: Sized;
}
