//! Few-shot learning.
//!
//! Inner loss: cross-entropy of the support set, or its squared error for regression. Outer loss: that of the query set after
//! adaptation. The [`Adaptation`] determines which weights adapt, from which start and at which rates. Weights that do
//! not adapt enter both losses through θ; the others start at their values in θ (Finn, Abbeel & Levine, *Model-agnostic
//! meta-learning*, 2017), or, for a [prototype head](super::Head::Prototype), at a function of θ and the support set.

use super::adaptation::{Head, Plan};
use super::regression::squared_error;
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
        /// None: the network has no batch norm.
        Absent = "none",
    }
}

/// What a network's outputs are measured by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Outputs are logits, targets one-hot labels: mean −log softmax at the label.
    CrossEntropy,
    /// Outputs and targets are values: mean squared difference.
    SquaredError,
}

impl Loss {
    /// The loss of `outputs`, both `[tasks, n, outputs]`: `[tasks]`.
    fn of(self, outputs: Dual<3>, targets: &Tensor<3>) -> Dual<1> {
        match self {
            Self::CrossEntropy => outputs.cross_entropy(targets),
            Self::SquaredError => squared_error(outputs, targets),
        }
    }

    /// The loss of the outputs of a head, its weight and bias, for `features [tasks, n, width]`: `[tasks]`.
    fn of_head(self, features: Dual<3>, [weight, bias]: [Dual<3>; 2], targets: &Tensor<3>) -> Dual<1> {
        match self {
            Self::CrossEntropy => features.linear_cross_entropy(weight, bias, targets),
            Self::SquaredError => squared_error(head_logits(features, &[weight, bias]), targets),
        }
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
    loss: Loss,
}

impl FewShot {
    /// MAML on a meta-batch of classification episodes with these support and query sets; `rate` is α of every inner step.
    pub fn new(
        architecture: Arc<dyn Architecture>,
        support: Batch,
        query: Batch,
        rate: f64,
        batch_norm: BatchNorm,
    ) -> Self {
        let plan = Arc::new(Plan::new(&Adaptation::maml(rate), &*architecture));
        Self { architecture, support, query, batch_norm, plan, loss: Loss::CrossEntropy }
    }

    /// The same episodes with another adaptation. θ is then a stack of [`Adaptation::leaves`].
    pub fn adapting(self, adaptation: &Adaptation) -> Self {
        Self { plan: Arc::new(Plan::new(adaptation, &*self.architecture)), ..self }
    }

    /// The same episodes and the same θ, of which only the head adapts. The layers below it are then computed once for the whole
    /// inner loop, unless γ and β of batch norm differ from step to step.
    pub fn head_only(self) -> Self {
        Self { plan: Arc::new(self.plan.head_only()), ..self }
    }

    /// The same episodes measured by `loss`.
    pub fn measured_by(self, loss: Loss) -> Self {
        Self { loss, ..self }
    }

    /// Logits of the support images in the inner loss of inner step `step` (from 1), `[tasks, n, ways]`.
    pub fn support_logits(&self, step: usize, outer: &[Dual<3>], fast: &[Dual<3>]) -> Dual<3> {
        match outer.get(self.plan.leaves.len()..) {
            Some([features, _]) => head_logits(features.clone(), fast),
            _ => {
                let weights = self.plan.weights(step, outer, fast);
                self.architecture.logits(&weights, &self.support.input, self.support.count())
            }
        }
    }

    /// Logits of the query images after `steps` inner steps, `[tasks, n, ways]`.
    pub fn query_logits(&self, steps: usize, outer: &Params, fast: &Params) -> Tensor<3> {
        match outer.leaves().get(self.plan.leaves.len()..) {
            Some([_, features]) => head_logits(Dual::constant(features.clone()), &fast.constant()).primal,
            _ => self.query_logits_in(self.batch_norm, steps, outer, fast),
        }
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
        self.on_queries(batch_norm, |input, statistics| {
            self.architecture.logits(&weights, input, statistics).primal
        })
    }

    /// `compute` for the query images, given the images and the number of first ones that batch norm takes its statistics
    /// from.
    fn on_queries(
        &self,
        batch_norm: BatchNorm,
        compute: impl Fn(&Tensor<3>, usize) -> Tensor<3>,
    ) -> Tensor<3> {
        match batch_norm {
            BatchNorm::Transductive | BatchNorm::Absent => compute(&self.query.input, self.query.count()),
            BatchNorm::Support => {
                // One pass over both sets; batch norm takes its statistics from the first images.
                let both = Tensor::cat(vec![self.support.input.clone(), self.query.input.clone()], 1);
                let (support, query) = (self.support.count(), self.query.count());
                compute(&both, support).narrow(1, support, query)
            }
        }
    }

    /// Loss of these outputs for the query points, `[tasks, n, outputs]`: `[tasks]`.
    pub fn query_loss(&self, outputs: Tensor<3>) -> Tensor<1> {
        self.loss.of(Dual::constant(outputs), &self.query.targets).primal
    }

    /// Loss and accuracy of classification on the query sets at θ = `outer` and φ_steps = `fast`.
    pub fn assess(&self, steps: usize, outer: &Params, fast: &Params) -> Adapted {
        self.assess_logits(self.query_logits(steps, outer, fast))
    }

    /// Loss and accuracy of these logits of the query images, `[tasks, n, ways]`.
    pub fn assess_logits(&self, logits: Tensor<3>) -> Adapted {
        Adapted::new(logits, &self.query.targets)
    }

    /// Features of the support images, `[tasks, n, width]`, with the weights `body` below the head.
    fn support_features(&self, body: &[Dual<3>]) -> Tensor<3> {
        self.architecture.features(body, &self.support.input, self.support.count()).primal
    }

    /// The prototype head: with c_k the mean of the features of class k's support images, the weight with columns 2c_k,
    /// `[tasks, features, ways]`, and the bias −‖c_k‖², `[tasks, 1, ways]`. Up to a term that all classes share, the
    /// logits are then −‖f − c_k‖².
    fn prototypes(&self, outer: &Params) -> [Tensor<3>; 2] {
        let features = match outer.leaves().get(self.plan.leaves.len()..) {
            Some([features, _]) => features.clone(),
            _ => self.support_features(&self.plan.body_at_start(outer)),
        };
        let one_hot = self.support.targets.clone();
        let share = one_hot.clone() / one_hot.sum_dim(1);
        let means = features.swap_dims(1, 2).matmul(share);
        [means.clone() * 2, -means.square().sum_dim(1)]
    }
}

impl Bilevel for FewShot {
    fn tasks(&self) -> usize {
        self.support.targets.dims()[0]
    }

    fn start(&self, outer: &Params) -> Params {
        let [_, _, ways] = self.support.targets.dims();
        self.plan.start(outer, ways, || self.prototypes(outer))
    }

    /// The features of support and query images, if they are the same at every inner step.
    fn constants(&self, outer: &Params) -> Params {
        if !self.plan.has_fixed_body() {
            return Params::new(Vec::new());
        }
        let body = self.plan.body_at_start(outer);
        let query = self.on_queries(self.batch_norm, |input, statistics| {
            self.architecture.features(&body, input, statistics).primal
        });
        Params::new(vec![self.support_features(&body), query])
    }

    fn start_evaluations(&self) -> u64 {
        u64::from(self.plan.head == Head::Prototype && !self.plan.has_fixed_body())
    }

    fn inner_rates(&self, step: usize, outer: &Params) -> Rates {
        self.plan.rates(step, outer)
    }

    fn inner_loss(&self, step: usize, outer: &[Dual<3>], fast: &[Dual<3>]) -> Dual<1> {
        let (features, head) = match outer.get(self.plan.leaves.len()..) {
            Some([features, _]) => (features.clone(), [fast[0].clone(), fast[1].clone()]),
            _ => self.plan.features(step, outer, fast, |body| {
                self.architecture.features(body, &self.support.input, self.support.count())
            }),
        };
        self.loss.of_head(features, head, &self.support.targets)
    }

    fn outer_loss(&self, step: usize, outer: &Params, fast: &Params) -> Tensor<1> {
        let (constant, head) = (outer.constant(), fast.constant());
        let (features, head) = match constant.get(self.plan.leaves.len()..) {
            Some([_, features]) => (features.clone(), [head[0].clone(), head[1].clone()]),
            // One pass over both sets has the logits of both.
            _ if self.batch_norm == BatchNorm::Support => {
                return self.query_loss(self.query_logits(step, outer, fast));
            }
            _ => self.plan.features(step, &constant, &head, |body| {
                self.architecture.features(body, &self.query.input, self.query.count())
            }),
        };
        self.loss.of_head(features, head, &self.query.targets).primal
    }

    fn select(&self, tasks: &[usize]) -> Self {
        Self { support: self.support.select(tasks), query: self.query.select(tasks), ..self.clone() }
    }

    fn with_data(&self, replace: &mut dyn FnMut(Tensor<3>) -> Tensor<3>) -> Option<Self> {
        let (support, query) = (self.support.with_data(replace), self.query.with_data(replace));
        Some(Self { support, query, ..self.clone() })
    }

    fn is_like(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.architecture, &other.architecture)
            && self.plan.is_like(&other.plan)
            && (self.batch_norm, self.loss) == (other.batch_norm, other.loss)
    }
}

/// Logits `[tasks, n, ways]` of `features` by a head: its weight and bias.
fn head_logits(features: Dual<3>, head: &[Dual<3>]) -> Dual<3> {
    features.matmul(head[0].clone()) + head[1].clone()
}
