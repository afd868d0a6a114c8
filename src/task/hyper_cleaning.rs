//! Data hyper-cleaning: learning a weight for each training example.
//!
//! ```text
//! L_in(θ, φ) = Σ_i σ(θ_i)·CE_i(φ),   φ_0 = 0,   L_out(φ) = mean validation cross-entropy
//! ```
//!
//! θ is a logit for each training example, φ a softmax regression. Wrong labels increase the loss on a clean
//! validation set, so their weights σ(θ_i) decrease. Franceschi et al., *Forward and reverse gradient-based
//! hyperparameter optimization*, 2017, with the sigmoid of Shaban et al., *Truncated back-propagation for
//! bilevel optimization*, 2019.
//!
//! θ is in neither V nor L_out, so the first-order gradient is 0, and the gradient consists of mixed products only.
//! That of inner step j is −α σ'(θ_i)·∇CE_i(φ_{j−1})·v_j: the weight of an example increases if its gradient has a
//! positive inner product with v_j, the gradient of the validation loss propagated back to that step.

use super::{Adapted, Batch};
use bilevel::readback::read;
use bilevel::{Bilevel, Dual, Params, Rates};
use burn::tensor::{Tensor, TensorData, activation};

/// A logit whose sigmoid is 1 in float32 and in float64, while the sigmoid of its negative is below 10⁻¹⁷.
const CERTAIN: f64 = 40.0;

/// Data hyper-cleaning. θ is `[1, n, 1]`; φ is `[tasks, pixels, classes]` and `[tasks, 1, classes]`.
#[derive(Clone)]
pub struct HyperCleaning {
    train: Batch,
    validation: Batch,
    rate: f64,
}

impl HyperCleaning {
    /// Learns from `train`, whose labels may be wrong, to minimise the loss on `validation`.
    ///
    /// `rate` is α of every inner step. L_in is a sum over n examples: α corresponds to a rate of n·α for the mean.
    pub fn new(train: Batch, validation: Batch, rate: f64) -> Self {
        Self { train, validation, rate }
    }

    /// θ for which every example has weight σ(0) = ½.
    pub fn undecided(&self) -> Params {
        self.logits_of(|_| 0.0)
    }

    /// θ for which the examples that `keeps` selects have weight 1 and the others weight 0. If all are kept, φ_r is the
    /// classifier trained on everything; if only those with right labels are kept, it is the oracle.
    pub fn keeping(&self, keeps: impl Fn(usize) -> bool) -> Params {
        self.logits_of(|example| if keeps(example) { CERTAIN } else { -CERTAIN })
    }

    /// σ(θ): each example's weight, 0 to 1.
    pub fn weights(theta: &Params) -> Vec<f64> {
        let logits = theta.leaves()[0].clone();
        let [_, examples, _] = logits.dims();
        read(activation::sigmoid(logits).reshape([examples]))
    }

    /// Loss and accuracy of the classifiers φ = `fast` on `images`.
    pub fn assess(&self, fast: &Params, images: &Batch) -> Adapted {
        Adapted::new(logits(images, &fast.constant()).primal, &images.targets)
    }

    fn logits_of(&self, logit: impl Fn(usize) -> f64) -> Params {
        let examples = self.train.count();
        let logits: Vec<f64> = (0..examples).map(logit).collect();
        let input = &self.train.input;
        let data = TensorData::new(logits, [1, examples, 1]);
        Params::new(vec![Tensor::from_data(data, (&input.device(), input.dtype()))])
    }
}

/// Logits of the softmax regression for `images` at φ = `fast`: `[tasks, n, classes]`.
fn logits(images: &Batch, fast: &[Dual<3>]) -> Dual<3> {
    Dual::constant(images.input.clone()).matmul(fast[0].clone()) + fast[1].clone()
}

impl Bilevel for HyperCleaning {
    fn tasks(&self) -> usize {
        self.train.targets.dims()[0]
    }

    fn start(&self, _outer: &Params) -> Params {
        let [tasks, _, pixels] = self.train.input.dims();
        let [_, _, classes] = self.train.targets.dims();
        let options = (&self.train.input.device(), self.train.input.dtype());
        Params::new([pixels, 1].map(|rows| Tensor::zeros([tasks, rows, classes], options)).to_vec())
    }

    fn inner_rates(&self, _step: usize, _outer: &Params) -> Rates {
        Rates::Scalar(self.rate)
    }

    fn inner_loss(&self, _step: usize, outer: &[Dual<3>], fast: &[Dual<3>]) -> Dual<1> {
        let weighted =
            outer[0].clone().sigmoid() * logits(&self.train, fast).log_likelihoods(&self.train.targets);
        weighted.sum_dim(1).scale(-1.0).reshape([self.tasks()])
    }

    fn outer_loss(&self, _step: usize, _outer: &Params, fast: &Params) -> Tensor<1> {
        logits(&self.validation, &fast.constant()).cross_entropy(&self.validation.targets).primal
    }

    fn select(&self, tasks: &[usize]) -> Self {
        Self { train: self.train.select(tasks), validation: self.validation.select(tasks), ..*self }
    }
}

/// F1 score of `found` as a prediction of `wrong`: 2·TP/(2·TP + FP + FN), and 0 if TP = 0.
pub fn f1(found: &[bool], wrong: &[bool]) -> f64 {
    let pairs = || found.iter().zip(wrong);
    let true_positives = pairs().filter(|(found, wrong)| **found && **wrong).count();
    let errors = pairs().filter(|(found, wrong)| found != wrong).count();
    if true_positives == 0 { 0.0 } else { 2.0 * true_positives as f64 / (2 * true_positives + errors) as f64 }
}
