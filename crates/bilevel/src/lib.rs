//! Bi-level optimisation on [Burn](https://burn.dev): exact hypergradients, and unbiased estimates of them at a
//! fraction of the cost.
//!
//! ```text
//! M(θ) = E_T [ L_out(θ, φ_r) ],   φ_0 = V(θ),   φ_j = φ_{j−1} − α_j ∘ ∇_φ L_in(θ, φ_{j−1}),   j = 1 … r
//! ```
//!
//! A [`Bilevel`] problem defines the two losses, the start V of the inner loop, and the inner learning rates.
//! [`OuterLoop`] minimises M with any of the [`estimator`]s of its gradient: differentiate all r inner steps, the
//! last few, or each with a probability such that the estimate stays unbiased. Losses are written on [`Dual`]s,
//! tensors with an optional tangent, so that one first-order `backward()` gives a Hessian-vector product. No graph
//! spans more than one inner step.
//!
//! The modules, each using only those before it: [`dual`] and [`kernel`] (tensors with tangents, and operations that
//! Burn lacks), [`Params`] (parameters with a task axis), [`ranks`] (several processes on one meta-batch), [`problem`], [`hypergradient`] (inner loop, memory plans,
//! backward walk), [`estimator`], [`OuterLoop`], and [`variance`] (the error of each estimator at a given θ). The
//! crate's README has a complete example.

#![deny(missing_docs)]

mod choice;
pub mod device;
pub mod dual;
pub mod estimator;
pub mod hypergradient;
pub mod kernel;
pub mod launches;
mod losses;
pub mod optimizer;
mod outer_loop;
pub mod panics;
mod params;
pub mod problem;
#[cfg(any(feature = "wgpu", feature = "cuda"))]
mod quiet_stderr;
pub mod ranks;
pub mod readback;
pub mod rng;
mod schedule;
pub mod stats;
mod tree;
pub mod variance;

pub use choice::Choice;
pub use dual::Dual;
pub use losses::OuterLosses;
pub use outer_loop::{
    CompletedStep, Diverged, OuterLoop, OuterSettings, PendingStep, Snapshot, resolve, resolve_all,
};
pub use params::{Params, is_everything, task_indices};
pub use problem::{Bilevel, Proximal, Rates};
pub use schedule::{Budget, Schedule};

/// Compiles and runs the example in the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
