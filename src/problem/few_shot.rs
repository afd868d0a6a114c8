//! Few-shot classification: MAML's problem, where θ is the initialisation of the fast weights.
//!
//! Inner loss: cross-entropy of the support set. Outer loss: cross-entropy of the query set after
//! adaptation. V is the identity (Finn, Abbeel & Levine, *Model-agnostic meta-learning*, 2017).

use super::{Bilevel, Rates};
use crate::config::BatchNorm;
use crate::dual::Dual;
use crate::model::Architecture;
use crate::stack::{self, Stack};
use burn::tensor::{Int, Tensor, TensorData};
use std::sync::Arc;

/// Labelled images of T tasks, ready for the network.
#[derive(Clone)]
pub struct Batch {
    /// What [`Architecture::prepare`] made of the images: `[tasks, n·rows, columns]`.
    pub input: Tensor<3>,
    /// `[tasks, n, ways]`, 1 at each image's class.
    pub one_hot: Tensor<3>,
}

impl Batch {
    /// From `images [tasks, n, pixels]` (ink 1, paper 0) and `tasks·n` labels below `ways`.
    pub fn new(architecture: &dyn Architecture, images: Tensor<3>, labels: &[usize], ways: usize) -> Self {
        let [tasks, count, _] = images.dims();
        let mut one_hot = vec![0f32; tasks * count * ways];
        labels.iter().enumerate().for_each(|(image, label)| one_hot[image * ways + label] = 1.0);
        let one_hot = TensorData::new(one_hot, [tasks, count, ways]);
        Self {
            one_hot: Tensor::from_data(one_hot, (&images.device(), images.dtype())),
            input: architecture.prepare(images),
        }
    }

    fn count(&self) -> usize {
        self.one_hot.dims()[1]
    }

    fn select(&self, tasks: &Tensor<1, Int>) -> Self {
        let pick = |x: &Tensor<3>| x.clone().select(0, tasks.clone());
        Self { input: pick(&self.input), one_hot: pick(&self.one_hot) }
    }
}

/// A meta-batch of few-shot episodes.
#[derive(Clone)]
pub struct FewShot {
    architecture: Arc<dyn Architecture>,
    support: Batch,
    query: Batch,
    rate: f64,
    batch_norm: BatchNorm,
}

/// How T tasks fare on their query sets after adaptation.
pub struct Adapted {
    /// Cross-entropy of each task, `[tasks]`.
    pub loss: Tensor<1>,
    /// Share of query images classified rightly of each task, `[tasks]`, 0 to 1.
    pub accuracy: Tensor<1>,
}

impl FewShot {
    /// Episodes of as many tasks as the batches have; `rate` is α of every inner step.
    pub fn new(
        architecture: Arc<dyn Architecture>,
        support: Batch,
        query: Batch,
        rate: f64,
        batch_norm: BatchNorm,
    ) -> Self {
        Self { architecture, support, query, rate, batch_norm }
    }

    /// Logits of the support images, `[tasks, n, ways]`, as in the inner loss.
    pub fn support_logits(&self, fast: &[Dual<3>]) -> Dual<3> {
        self.architecture.logits(fast, &self.support.input, self.support.count())
    }

    /// Logits of the query images, `[tasks, n, ways]`.
    pub fn query_logits(&self, fast: &[Dual<3>]) -> Dual<3> {
        match self.batch_norm {
            BatchNorm::Transductive => self.architecture.logits(fast, &self.query.input, self.query.count()),
            BatchNorm::Support => {
                // One pass over both sets; the statistics come from the images in front.
                let both = Tensor::cat(vec![self.support.input.clone(), self.query.input.clone()], 1);
                let (support, query) = (self.support.count(), self.query.count());
                self.architecture.logits(fast, &both, support).narrow(1, support, query)
            }
        }
    }

    /// Loss and accuracy on the query sets at `fast`.
    pub fn assess(&self, fast: &Stack) -> Adapted {
        let logits = self.query_logits(&fast.constant());
        let [tasks, count, _] = logits.dims();
        let predicted = logits.primal.clone().argmax(2);
        let actual = self.query.one_hot.clone().argmax(2);
        // Bool → Int → the loss's type: `float()` would take the device's default type.
        let right = predicted.equal(actual).int().float().cast(logits.primal.dtype());
        Adapted {
            accuracy: right.reshape([tasks, count]).mean_dim(1).reshape([tasks]),
            loss: cross_entropy(logits, &self.query.one_hot).primal,
        }
    }
}

impl Bilevel for FewShot {
    fn tasks(&self) -> usize {
        self.support.one_hot.dims()[0]
    }

    fn inner_rates(&self, _step: usize, _outer: &Stack) -> Rates {
        Rates::Scalar(self.rate)
    }

    fn inner_loss(&self, _outer: &[Dual<3>], fast: &[Dual<3>]) -> Dual<1> {
        cross_entropy(self.support_logits(fast), &self.support.one_hot)
    }

    fn outer_loss(&self, _outer: &Stack, fast: &Stack) -> Tensor<1> {
        cross_entropy(self.query_logits(&fast.constant()), &self.query.one_hot).primal
    }

    fn select(&self, tasks: &[usize]) -> Self {
        if stack::is_everything(tasks, self.tasks()) {
            return self.clone();
        }
        let tasks = stack::task_indices(tasks, &self.support.input.device());
        Self { support: self.support.select(&tasks), query: self.query.select(&tasks), ..self.clone() }
    }
}

/// Mean over images of −log softmax at the true class: `[tasks]`.
fn cross_entropy(logits: Dual<3>, one_hot: &Tensor<3>) -> Dual<1> {
    let [tasks, count, _] = logits.dims();
    let picked = logits.log_softmax(2) * Dual::constant(one_hot.clone());
    picked.sum_dim(2).sum_dim(1).scale(-1.0 / count as f64).reshape([tasks])
}
