//! The proximal inner loss: L_in(θ, φ) + λ/2·‖φ − V(θ)‖².
//!
//! It holds the fast weights near their start, so that the minimum of the inner loss depends on θ and
//! the implicit gradient has something to differentiate (Rajeswaran et al., *Meta-learning with implicit
//! gradients*, 2019). The Hessian becomes H + λI, and the mixed term −λ·∂V/∂θ comes along.

use super::{Bilevel, Rates};
use crate::{dual::Dual, stack::Stack};
use burn::tensor::Tensor;

/// Any problem, with λ/2·‖φ − V(θ)‖² added to its inner loss.
#[derive(Clone, Debug)]
pub struct Proximal<P> {
    /// The problem itself.
    pub problem: P,
    /// λ ≥ 0; at 0 nothing is added, and nothing is computed.
    pub strength: f64,
}

impl<P: Bilevel> Bilevel for Proximal<P> {
    fn tasks(&self) -> usize {
        self.problem.tasks()
    }

    fn start(&self, outer: &Stack) -> Stack {
        self.problem.start(outer)
    }

    fn inner_rates(&self, step: usize, outer: &Stack) -> Rates {
        self.problem.inner_rates(step, outer)
    }

    fn inner_loss(&self, outer: &[Dual<3>], fast: &[Dual<3>]) -> Dual<1> {
        let loss = self.problem.inner_loss(outer, fast);
        if self.strength == 0.0 {
            return loss;
        }
        // θ never carries a tangent, so V may be taken of its values; a graph on θ runs through them.
        let theta = Stack::new(outer.iter().map(|leaf| leaf.primal.clone()).collect());
        let start = self.problem.start(&theta).constant();
        let pairs = fast.iter().cloned().zip(start);
        pairs
            .fold(loss, |loss, (fast, start)| loss + (fast - start).squared_norm().scale(self.strength / 2.0))
    }

    fn outer_loss(&self, outer: &Stack, fast: &Stack) -> Tensor<1> {
        self.problem.outer_loss(outer, fast)
    }

    fn select(&self, tasks: &[usize]) -> Self {
        Self { problem: self.problem.select(tasks), strength: self.strength }
    }
}
