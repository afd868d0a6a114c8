//! Few-shot classification.
//!
//! Inner loss: cross-entropy of the support set. Outer loss: cross-entropy of the query set after
//! adaptation. The [`Adaptation`] determines which weights adapt, from which start and at which rates. Weights that do
//! not adapt enter both losses through θ; the others start at their values in θ (Finn, Abbeel & Levine, *Model-agnostic
//! meta-learning*, 2017), or, for a [prototype head](super::Head::Prototype), at a function of θ and the support set.

use super::adaptation::{Head, Plan};
use super::classification::cross_entropy;
use super::{Adaptation, Adapted, Batch};
use crate::model::Architecture;
use bilevel::{Bilevel, Dual, Params, Rates, choice};
use burn::tensor::Tensor;
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
    plan: Arc<Plan>,
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
        let plan = Arc::new(Plan::new(&Adaptation::maml(rate), &*architecture));
        Self { architecture, support, query, batch_norm, plan }
    }

    /// The same episodes with another adaptation. θ is then a stack of [`Adaptation::leaves`].
    pub fn adapting(self, adaptation: &Adaptation) -> Self {
        Self { plan: Arc::new(Plan::new(adaptation, &*self.architecture)), ..self }
    }

    /// Logits of the support images in the inner loss of inner step `step` (from 1), `[tasks, n, ways]`.
    pub fn support_logits(&self, step: usize, outer: &[Dual<3>], fast: &[Dual<3>]) -> Dual<3> {
        self.architecture.logits(
            &self.plan.weights(step, outer, fast),
            &self.support.input,
            self.support.count(),
        )
    }

    /// Logits of the query images after `steps` inner steps, `[tasks, n, ways]`.
    pub fn query_logits(&self, steps: usize, outer: &Params, fast: &Params) -> Tensor<3> {
        self.query_logits_in(self.batch_norm, steps, outer, fast)
    }

    /// Logits of the query images after `steps` inner steps in this mode of batch norm, `[tasks, n, ways]`.
    pub fn query_logits_in(
        &self,
        batch_norm: BatchNorm,
        steps: usize,
        outer: &Params,
        fast: &Params,
    ) -> Tensor<3> {
        let weights = self.plan.weights(steps, &outer.constant(), &fast.constant());
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

    /// Loss and accuracy on the query sets at θ = `outer` and φ_steps = `fast`.
    pub fn assess(&self, steps: usize, outer: &Params, fast: &Params) -> Adapted {
        self.assess_logits(self.query_logits(steps, outer, fast))
    }

    /// Loss and accuracy of these logits of the query images, `[tasks, n, ways]`.
    pub fn assess_logits(&self, logits: Tensor<3>) -> Adapted {
        Adapted::new(logits, &self.query.one_hot)
    }

    /// The prototype head: with c_k the mean of the features of class k's support images, the weight with columns 2c_k,
    /// `[tasks, features, ways]`, and the bias −‖c_k‖², `[tasks, 1, ways]`. Up to a term that all classes share, the
    /// logits are then −‖f − c_k‖².
    fn prototypes(&self, outer: &Params) -> [Tensor<3>; 2] {
        let body = self.plan.body_at_start(outer);
        let features = self.architecture.features(&body, &self.support.input, self.support.count()).primal;
        let one_hot = self.support.one_hot.clone();
        let share = one_hot.clone() / one_hot.sum_dim(1);
        let means = features.swap_dims(1, 2).matmul(share);
        [means.clone() * 2, -means.square().sum_dim(1)]
    }
}

impl Bilevel for FewShot {
    fn tasks(&self) -> usize {
        self.support.one_hot.dims()[0]
    }

    fn start(&self, outer: &Params) -> Params {
        let [_, _, ways] = self.support.one_hot.dims();
        self.plan.start(outer, ways, || self.prototypes(outer))
    }

    fn start_evaluations(&self) -> u64 {
        u64::from(self.plan.head == Head::Prototype)
    }

    fn inner_rates(&self, step: usize, outer: &Params) -> Rates {
        self.plan.rates(step, outer)
    }

    fn inner_loss(&self, step: usize, outer: &[Dual<3>], fast: &[Dual<3>]) -> Dual<1> {
        cross_entropy(self.support_logits(step, outer, fast), &self.support.one_hot)
    }

    fn outer_loss(&self, step: usize, outer: &Params, fast: &Params) -> Tensor<1> {
        cross_entropy(Dual::constant(self.query_logits(step, outer, fast)), &self.query.one_hot).primal
    }

    fn select(&self, tasks: &[usize]) -> Self {
        Self { support: self.support.select(tasks), query: self.query.select(tasks), ..self.clone() }
    }
}
