//! The proximal inner loss: L_in(θ, φ) + λ/2·‖φ − V(θ)‖².
//!
//! The penalty keeps the fast weights near their initialisation. It makes the minimum of the inner loss depend on θ,
//! as the implicit gradient requires (Rajeswaran et al., *Meta-learning with implicit gradients*, 2019). The Hessian
//! becomes H + λI, and the mixed derivative gains the term −λ·∂V/∂θ.

use super::{Bilevel, Rates};
use crate::{dual::Dual, params::Params};
use burn::tensor::Tensor;

/// A problem with λ/2·‖φ − V(θ)‖² added to its inner loss.
///
/// ```
/// use bilevel::{Bilevel, Proximal};
///
/// fn regularised<P: Bilevel>(problem: P) -> impl Bilevel {
///     Proximal { problem, strength: 2.0 }
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Proximal<P> {
    /// The problem.
    pub problem: P,
    /// λ ≥ 0; if 0, nothing is added or computed.
    pub strength: f64,
}

impl<P: Bilevel> Bilevel for Proximal<P> {
    fn tasks(&self) -> usize {
        self.problem.tasks()
    }

    fn start(&self, outer: &Params) -> Params {
        self.problem.start(outer)
    }

    fn constants(&self, outer: &Params) -> Params {
        self.problem.constants(outer)
    }

    fn start_evaluations(&self) -> u64 {
        self.problem.start_evaluations()
    }

    fn inner_rates(&self, step: usize, outer: &Params) -> Rates {
        self.problem.inner_rates(step, outer)
    }

    fn inner_loss(&self, step: usize, outer: &[Dual<3>], fast: &[Dual<3>]) -> Dual<1> {
        let loss = self.problem.inner_loss(step, outer, fast);
        if self.strength == 0.0 {
            return loss;
        }
        // θ never carries a tangent, so V of its values is enough; autodiff on θ passes through them.
        let theta = Params::new(outer.iter().map(|leaf| leaf.primal.clone()).collect());
        let start = self.problem.start(&theta).constant();
        let pairs = fast.iter().cloned().zip(start);
        pairs
            .fold(loss, |loss, (fast, start)| loss + (fast - start).squared_norm().scale(self.strength / 2.0))
    }

    fn outer_loss(&self, step: usize, outer: &Params, fast: &Params) -> Tensor<1> {
        self.problem.outer_loss(step, outer, fast)
    }

    fn select(&self, tasks: &[usize]) -> Self {
        Self { problem: self.problem.select(tasks), strength: self.strength }
    }

    fn with_data(&self, replace: &mut dyn FnMut(Tensor<3>) -> Tensor<3>) -> Option<Self> {
        Some(Self { problem: self.problem.with_data(replace)?, strength: self.strength })
    }

    fn is_like(&self, other: &Self) -> bool {
        self.strength == other.strength && self.problem.is_like(&other.problem)
    }
}
