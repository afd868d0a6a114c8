//! Few-shot classification.
//!
//! Inner loss: cross-entropy of the support set. Outer loss: cross-entropy of the query set after
//! adaptation. The [`Adaptation`] determines which weights adapt and at which rates. Weights that do not adapt
//! enter both losses through θ; the others start at their values in θ (Finn, Abbeel & Levine, *Model-agnostic
//! meta-learning*, 2017).

use super::classification::cross_entropy;
use super::{Adaptation, Adapted, Batch, InnerRates};
use crate::model::Architecture;
use bilevel::{Bilevel, Dual, Params, Rates, choice};
use burn::tensor::Tensor;
use std::ops::Range;
use std::sync::Arc;

choice! {
    /// Images over which batch norm takes its statistics.
    pub enum BatchNorm {
        /// Those of the current batch: query images are normalised together, as in most published accuracies.
        Transductive = "transductive",
        /// The support images: the prediction for a query image does not depend on the other query images.
        Support = "support",
    }
}

/// A meta-batch of few-shot episodes.
#[derive(Clone)]
pub struct FewShot {
    architecture: Arc<dyn Architecture>,
    support: Batch,
    query: Batch,
    batch_norm: BatchNorm,
    rates: InnerRates,
    /// The leaves of θ that adapt. Those before them are shared by all episodes, those after them are learned rates.
    adapting: Range<usize>,
}

impl FewShot {
    /// MAML on a meta-batch of episodes with these support and query sets; `rate` is α of every inner step.
    pub fn new(
        architecture: Arc<dyn Architecture>,
        support: Batch,
        query: Batch,
        rate: f64,
        batch_norm: BatchNorm,
    ) -> Self {
        let rates = InnerRates::Fixed(Rates::Scalar(rate));
        let adapting = 0..architecture.leaves().len();
        Self { architecture, support, query, batch_norm, rates, adapting }
    }

    /// The same episodes with another adaptation. θ is then a stack of [`Adaptation::leaves`].
    pub fn adapting(self, adaptation: Adaptation) -> Self {
        let adapting = adaptation.shared_leaves(&*self.architecture)..self.adapting.end;
        Self { rates: adaptation.rates, adapting, ..self }
    }

    /// Logits of the support images in the inner loss, `[tasks, n, ways]`.
    pub fn support_logits(&self, outer: &[Dual<3>], fast: &[Dual<3>]) -> Dual<3> {
        self.architecture.logits(&self.weights(outer, fast), &self.support.input, self.support.count())
    }

    /// Logits of the query images, `[tasks, n, ways]`.
    pub fn query_logits(&self, outer: &Params, fast: &Params) -> Tensor<3> {
        self.query_logits_in(self.batch_norm, outer, fast)
    }

    /// Logits of the query images in this mode of batch norm, `[tasks, n, ways]`.
    pub fn query_logits_in(&self, batch_norm: BatchNorm, outer: &Params, fast: &Params) -> Tensor<3> {
        let weights = self.weights(&outer.constant(), &fast.constant());
        let logits =
            |input: &Tensor<3>, statistics| self.architecture.logits(&weights, input, statistics).primal;
        match batch_norm {
            BatchNorm::Transductive => logits(&self.query.input, self.query.count()),
            BatchNorm::Support => {
                // One pass over both sets; batch norm takes its statistics from the first images.
                let both = Tensor::cat(vec![self.support.input.clone(), self.query.input.clone()], 1);
                let (support, query) = (self.support.count(), self.query.count());
                logits(&both, support).narrow(1, support, query)
            }
        }
    }

    /// Loss and accuracy on the query sets at θ = `outer` and φ = `fast`.
    pub fn assess(&self, outer: &Params, fast: &Params) -> Adapted {
        self.assess_logits(self.query_logits(outer, fast))
    }

    /// Loss and accuracy of these logits of the query images, `[tasks, n, ways]`.
    pub fn assess_logits(&self, logits: Tensor<3>) -> Adapted {
        Adapted::new(logits, &self.query.one_hot)
    }

    /// The network's weights: shared ones from θ, the others from φ.
    fn weights(&self, outer: &[Dual<3>], fast: &[Dual<3>]) -> Vec<Dual<3>> {
        [&outer[..self.adapting.start], fast].concat()
    }
}

impl Bilevel for FewShot {
    fn tasks(&self) -> usize {
        self.support.one_hot.dims()[0]
    }

    fn start(&self, outer: &Params) -> Params {
        outer.part(self.adapting.clone())
    }

    fn inner_rates(&self, _step: usize, outer: &Params) -> Rates {
        match &self.rates {
            InnerRates::Fixed(rates) => rates.clone(),
            InnerRates::Learned { .. } => Rates::Each(outer.part(self.adapting.end..outer.leaves().len())),
        }
    }

    fn inner_loss(&self, outer: &[Dual<3>], fast: &[Dual<3>]) -> Dual<1> {
        cross_entropy(self.support_logits(outer, fast), &self.support.one_hot)
    }

    fn outer_loss(&self, outer: &Params, fast: &Params) -> Tensor<1> {
        cross_entropy(Dual::constant(self.query_logits(outer, fast)), &self.query.one_hot).primal
    }

    fn select(&self, tasks: &[usize]) -> Self {
        Self { support: self.support.select(tasks), query: self.query.select(tasks), ..self.clone() }
    }
}
