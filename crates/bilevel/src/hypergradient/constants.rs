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
//! step and product. An [observed](super::Draw::observed) draw differentiates C once for each g_k that it reports. The first g_k
//! that covers all tasks uses the graph of the values; every other one computes C again, for its own tasks.

use super::weighted_sum::sum_of;
use super::{Draw, Estimate, PartialGradient};
use crate::params::{Params, is_everything, task_indices};
use crate::problem::Bilevel;
use burn::tensor::Tensor;

/// θ = `outer` followed by the constants, both with the problem's task axis.
pub fn extended<P: Bilevel + ?Sized>(problem: &P, outer: &Params) -> Params {
    outer.clone().and(problem.constants(outer))
}

/// C(θ) with the graph of its computation.
pub struct Constants {
    theta: Params,
    values: Params,
}

impl Constants {
    /// C at θ = `outer`, which has the problem's task axis; `None` if the problem has none.
    pub fn new<P: Bilevel + ?Sized>(problem: &P, outer: &Params) -> Option<Self> {
        let theta = outer.tracked();
        let values = problem.constants(&theta);
        (!values.leaves().is_empty()).then_some(Self { theta, values })
    }

    /// The values of θ and C: what [`extended`] gives.
    pub fn leaves(&self) -> Params {
        self.theta.clone().and(self.values.clone()).map(Tensor::inner)
    }

    /// Takes the gradients of `estimate`, made with `draw` at these [leaves](Self::leaves), to θ.
    pub fn fold<P: Bilevel>(self, estimate: &mut Estimate, problem: &P, draw: &Draw) {
        let before = estimate.gradient.clone().squared_norm();
        let theta = self.theta.clone().map(Tensor::inner);
        // A graph can be walked once. This one is for all tasks.
        let mut whole = Some(self);
        for PartialGradient { tasks, gradient, .. } in &mut estimate.partial_gradients {
            let shared = if is_everything(tasks, theta.tasks()) { whole.take() } else { None };
            let own = shared.or_else(|| Self::new(&problem.select(tasks), &theta.select(tasks)));
            let own = own.unwrap_or_else(|| unreachable!("a part of the tasks has constants too"));
            *gradient = own.pull_back(gradient.clone());
        }
        estimate.gradient = match whole {
            Some(whole) if estimate.partial_gradients.is_empty() => {
                whole.pull_back(estimate.gradient.clone())
            }
            _ => sum_of(&estimate.partial_gradients, draw, &theta),
        };
        // The norms of mixed products are of gradients in θ and C. One pass through C for each would cost what the constants
        // save, so that they are scaled like the whole gradient.
        let scale = estimate.gradient.clone().squared_norm() / before.clamp_min(f64::from(f32::MIN_POSITIVE));
        for increment in &mut estimate.increments {
            let tasks = task_indices(&increment.tasks, &scale.device());
            let direct: Option<Tensor<1>> = increment.direct.take();
            increment.direct = direct.map(|norm| norm * scale.clone().select(0, tasks));
        }
    }

    /// The gradient in θ, from that in θ and C.
    fn pull_back(self, gradient: Params) -> Params {
        let own = self.theta.leaves().len();
        let (direct, in_constants) = (gradient.part(0..own), gradient.part(own..gradient.leaves().len()));
        match self.values.pull_back(&in_constants, &self.theta) {
            Some(through) => direct + through,
            None => direct,
        }
    }
}
