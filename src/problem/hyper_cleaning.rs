//! Data hyper-cleaning: which training examples are worth learning from?
//!
//! ```text
//! L_in(θ, φ) = Σ_i σ(θ_i)·CE_i(φ),   φ_0 = 0,   L_out(φ) = mean validation cross-entropy
//! ```
//!
//! θ is a logit for each training example, φ a softmax regression. Labels that are wrong hurt on a clean
//! validation set, so that their weights σ(θ_i) fall. Franceschi et al., *Forward and reverse gradient-based
//! hyperparameter optimization*, 2017, with the sigmoid of Shaban et al., *Truncated back-propagation for
//! bilevel optimization*, 2019.
//!
//! θ is in neither V nor L_out: the first-order gradient is 0, and all there is to learn comes by the mixed products.
//! Inner step j's is −α σ'(θ_i)·∇CE_i(φ_{j−1})·v_j: an example gains weight where its gradient points as the
//! validation loss's, walked back to that step, does.

use super::classification::{cross_entropy, log_likelihoods};
use super::{Adapted, Batch, Bilevel, Rates};
use crate::dual::Dual;
use crate::host::host;
use crate::stack::Stack;
use burn::tensor::{Tensor, TensorData, activation};

/// A logit whose sigmoid is 1 in float32 and in float64, and that of its negative less than 10⁻¹⁷.
const CERTAIN: f64 = 40.0;

/// Data hyper-cleaning. θ is `[1, n, 1]`; φ is `[tasks, pixels, classes]` and `[tasks, 1, classes]`.
#[derive(Clone)]
pub struct HyperCleaning {
    train: Batch,
    validation: Batch,
    rate: f64,
}

impl HyperCleaning {
    /// Learning from `train`, whose labels may be wrong, to do well on `validation`.
    ///
    /// `rate` is α of every inner step. L_in is a sum, so that α is for n examples what n·α is for their mean.
    pub fn new(train: Batch, validation: Batch, rate: f64) -> Self {
        Self { train, validation, rate }
    }

    /// θ at which every example weighs σ(0) = ½.
    pub fn undecided(&self) -> Stack {
        self.logits_of(|_| 0.0)
    }

    /// θ at which the examples that `keeps` says weigh 1 and the others 0. With all kept, φ_r is the classifier
    /// trained on everything; with only those whose labels are right, the oracle's.
    pub fn keeping(&self, keeps: impl Fn(usize) -> bool) -> Stack {
        self.logits_of(|example| if keeps(example) { CERTAIN } else { -CERTAIN })
    }

    /// σ(θ): each example's weight, 0 to 1.
    pub fn weights(theta: &Stack) -> Vec<f64> {
        let logits = theta.leaves()[0].clone();
        let [_, examples, _] = logits.dims();
        host(activation::sigmoid(logits).reshape([examples]))
    }

    /// How the classifiers φ = `fast` do on `images`.
    pub fn assess(&self, fast: &Stack, images: &Batch) -> Adapted {
        Adapted::new(logits(images, &fast.constant()).primal, &images.one_hot)
    }

    fn logits_of(&self, logit: impl Fn(usize) -> f64) -> Stack {
        let examples = self.train.count();
        let logits: Vec<f64> = (0..examples).map(logit).collect();
        let input = &self.train.input;
        let data = TensorData::new(logits, [1, examples, 1]);
        Stack::new(vec![Tensor::from_data(data, (&input.device(), input.dtype()))])
    }
}

/// Softmax regression's logits of `images` at φ = `fast`: `[tasks, n, classes]`.
fn logits(images: &Batch, fast: &[Dual<3>]) -> Dual<3> {
    Dual::constant(images.input.clone()).matmul(fast[0].clone()) + fast[1].clone()
}

impl Bilevel for HyperCleaning {
    fn tasks(&self) -> usize {
        self.train.one_hot.dims()[0]
    }

    fn start(&self, _outer: &Stack) -> Stack {
        let [tasks, _, pixels] = self.train.input.dims();
        let [_, _, classes] = self.train.one_hot.dims();
        let options = (&self.train.input.device(), self.train.input.dtype());
        Stack::new([pixels, 1].map(|rows| Tensor::zeros([tasks, rows, classes], options)).to_vec())
    }

    fn inner_rates(&self, _step: usize, _outer: &Stack) -> Rates {
        Rates::Scalar(self.rate)
    }

    fn inner_loss(&self, outer: &[Dual<3>], fast: &[Dual<3>]) -> Dual<1> {
        let weighted =
            outer[0].clone().sigmoid() * log_likelihoods(logits(&self.train, fast), &self.train.one_hot);
        weighted.sum_dim(1).scale(-1.0).reshape([self.tasks()])
    }

    fn outer_loss(&self, _outer: &Stack, fast: &Stack) -> Tensor<1> {
        cross_entropy(logits(&self.validation, &fast.constant()), &self.validation.one_hot).primal
    }

    fn select(&self, tasks: &[usize]) -> Self {
        Self { train: self.train.select(tasks), validation: self.validation.select(tasks), ..*self }
    }
}

/// The F1 score of finding the examples that are `wrong`: 2·TP/(2·TP + FP + FN), 0 without any found rightly.
pub fn f1(found: &[bool], wrong: &[bool]) -> f64 {
    let pairs = || found.iter().zip(wrong);
    let rightly = pairs().filter(|(found, wrong)| **found && **wrong).count();
    let missed_or_more = pairs().filter(|(found, wrong)| found != wrong).count();
    if rightly == 0 { 0.0 } else { 2.0 * rightly as f64 / (2 * rightly + missed_or_more) as f64 }
}
