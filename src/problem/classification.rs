//! What classifiers share: the cross-entropy of logits, and how good they are.

use crate::dual::Dual;
use burn::tensor::Tensor;

/// How T tasks' classifiers fare on images.
pub struct Adapted {
    /// Cross-entropy of each task, `[tasks]`.
    pub loss: Tensor<1>,
    /// Share of the images classified rightly of each task, `[tasks]`, 0 to 1.
    pub accuracy: Tensor<1>,
}

impl Adapted {
    /// By their logits and the true classes, both `[tasks, n, ways]`.
    pub(super) fn new(logits: Tensor<3>, one_hot: &Tensor<3>) -> Self {
        let [tasks, count, _] = logits.dims();
        let predicted = logits.clone().argmax(2);
        let actual = one_hot.clone().argmax(2);
        // Bool → Int → the loss's type: `float()` would take the device's default type.
        let right = predicted.equal(actual).int().float().cast(logits.dtype());
        Self {
            accuracy: right.reshape([tasks, count]).mean_dim(1).reshape([tasks]),
            loss: cross_entropy(Dual::constant(logits), one_hot).primal,
        }
    }
}

/// Mean over images of −log softmax at the true class: `[tasks]`.
pub(super) fn cross_entropy(logits: Dual<3>, one_hot: &Tensor<3>) -> Dual<1> {
    let [tasks, count, _] = logits.dims();
    log_likelihoods(logits, one_hot).sum_dim(1).scale(-1.0 / count as f64).reshape([tasks])
}

/// Log softmax at each image's true class, `[tasks, n, 1]`.
pub(super) fn log_likelihoods(logits: Dual<3>, one_hot: &Tensor<3>) -> Dual<3> {
    (logits.log_softmax(2) * Dual::constant(one_hot.clone())).sum_dim(2)
}
