//! Few-shot classification.
//!
//! Inner loss: cross-entropy of the support set. Outer loss: cross-entropy of the query set after
//! adaptation. What adapts, and how fast, is the [`Adaptation`]'s matter: the weights that stay still enter
//! both losses through θ, the others start as θ has them (Finn, Abbeel & Levine, *Model-agnostic
//! meta-learning*, 2017).

use super::classification::cross_entropy;
use super::{Adaptation, Adapted, Batch, Bilevel, InnerRates, Rates};
use crate::config::BatchNorm;
use crate::dual::Dual;
use crate::model::Architecture;
use crate::stack::Stack;
use burn::tensor::Tensor;
use std::ops::Range;
use std::sync::Arc;

/// A meta-batch of few-shot episodes.
#[derive(Clone)]
pub struct FewShot {
    architecture: Arc<dyn Architecture>,
    support: Batch,
    query: Batch,
    batch_norm: BatchNorm,
    rates: InnerRates,
    /// θ's leaves that φ starts from. Those before them stay still, those behind them are learned rates.
    moving: Range<usize>,
}

impl FewShot {
    /// MAML on episodes of as many tasks as the batches have; `rate` is α of every inner step.
    pub fn new(
        architecture: Arc<dyn Architecture>,
        support: Batch,
        query: Batch,
        rate: f64,
        batch_norm: BatchNorm,
    ) -> Self {
        let rates = InnerRates::Fixed(Rates::Scalar(rate));
        let moving = 0..architecture.leaves().len();
        Self { architecture, support, query, batch_norm, rates, moving }
    }

    /// The same episodes with another adaptation; θ is then a stack of [`Adaptation::leaves`].
    pub fn adapting(self, adaptation: Adaptation) -> Self {
        let moving = adaptation.still(&*self.architecture)..self.moving.end;
        Self { rates: adaptation.rates, moving, ..self }
    }

    /// Logits of the support images, `[tasks, n, ways]`, as in the inner loss.
    pub fn support_logits(&self, outer: &[Dual<3>], fast: &[Dual<3>]) -> Dual<3> {
        self.architecture.logits(&self.weights(outer, fast), &self.support.input, self.support.count())
    }

    /// Logits of the query images, `[tasks, n, ways]`.
    pub fn query_logits(&self, outer: &Stack, fast: &Stack) -> Tensor<3> {
        let weights = self.weights(&outer.constant(), &fast.constant());
        let logits =
            |input: &Tensor<3>, statistics| self.architecture.logits(&weights, input, statistics).primal;
        match self.batch_norm {
            BatchNorm::Transductive => logits(&self.query.input, self.query.count()),
            BatchNorm::Support => {
                // One pass over both sets; the statistics come from the images in front.
                let both = Tensor::cat(vec![self.support.input.clone(), self.query.input.clone()], 1);
                let (support, query) = (self.support.count(), self.query.count());
                logits(&both, support).narrow(1, support, query)
            }
        }
    }

    /// Loss and accuracy on the query sets at θ = `outer` and φ = `fast`.
    pub fn assess(&self, outer: &Stack, fast: &Stack) -> Adapted {
        Adapted::new(self.query_logits(outer, fast), &self.query.one_hot)
    }

    /// The network's weights: those that stay still from θ, the others from φ.
    fn weights(&self, outer: &[Dual<3>], fast: &[Dual<3>]) -> Vec<Dual<3>> {
        [&outer[..self.moving.start], fast].concat()
    }
}

impl Bilevel for FewShot {
    fn tasks(&self) -> usize {
        self.support.one_hot.dims()[0]
    }

    fn start(&self, outer: &Stack) -> Stack {
        outer.part(self.moving.clone())
    }

    fn inner_rates(&self, _step: usize, outer: &Stack) -> Rates {
        match &self.rates {
            InnerRates::Fixed(rates) => rates.clone(),
            InnerRates::Learned { .. } => Rates::Each(outer.part(self.moving.end..outer.leaves().len())),
        }
    }

    fn inner_loss(&self, outer: &[Dual<3>], fast: &[Dual<3>]) -> Dual<1> {
        cross_entropy(self.support_logits(outer, fast), &self.support.one_hot)
    }

    fn outer_loss(&self, outer: &Stack, fast: &Stack) -> Tensor<1> {
        cross_entropy(Dual::constant(self.query_logits(outer, fast)), &self.query.one_hot).primal
    }

    fn select(&self, tasks: &[usize]) -> Self {
        Self { support: self.support.select(tasks), query: self.query.select(tasks), ..self.clone() }
    }
}
