//! What the losses need of θ and what is the same at every inner step: computed once, and differentiated once.
//!
//! With C = C(θ) the [constants](Bilevel::constants) of a problem, the losses are functions of (θ, C) and φ. The walk treats C
//! as more leaves of θ, and collects the gradient in them like that in θ. Afterwards one backward pass through C takes
//! it to θ:
//!
//! ```text
//! g = g_θ + (∂C/∂θ)ᵀ g_C
//! ```
//!
//! So with a head that adapts alone, the body of a network runs forwards and backwards once, not once for every inner
//! step and product.

use super::Estimate;
use crate::params::{Params, task_indices};
use crate::problem::Bilevel;
use burn::tensor::Tensor;

/// θ = `outer` followed by the constants, both with the problem's task axis.
pub fn extended<P: Bilevel + ?Sized>(problem: &P, outer: &Params) -> Params {
    outer.clone().and(problem.constants(outer))
}

/// Takes the gradients of `estimate`, made at [`extended`] leaves, to θ = `outer`.
pub fn fold<P: Bilevel>(estimate: &mut Estimate, problem: &P, outer: &Params) {
    let before = estimate.gradient.clone().squared_norm();
    let all: Vec<usize> = (0..outer.tasks()).collect();
    estimate.gradient = through(problem, outer, &all, estimate.gradient.clone());
    for partial in &mut estimate.partial_gradients {
        partial.gradient = through(problem, outer, &partial.tasks, partial.gradient.clone());
    }
    // The norms of mixed products are of gradients in θ and C. One pass through C for each would cost what the constants
    // save, so that they are scaled like the whole gradient.
    let scale = estimate.gradient.clone().squared_norm() / before.clamp_min(f64::from(f32::MIN_POSITIVE));
    for increment in &mut estimate.increments {
        let tasks = task_indices(&increment.tasks, &outer.leaves()[0].device().inner());
        let direct: Option<Tensor<1>> = increment.direct.take();
        increment.direct = direct.map(|norm| norm * scale.clone().select(0, tasks));
    }
}

/// The gradient of `tasks` in θ, from that in θ and the constants.
fn through<P: Bilevel>(problem: &P, outer: &Params, tasks: &[usize], gradient: Params) -> Params {
    let own = outer.leaves().len();
    let (direct, in_constants) = (gradient.part(0..own), gradient.part(own..gradient.leaves().len()));
    let theta = outer.select(tasks).tracked();
    let constants = problem.select(tasks).constants(&theta);
    match constants.pull_back(&in_constants, &theta) {
        Some(through) => direct + through,
        None => direct,
    }
}
