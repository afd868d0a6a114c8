//! Loss and accuracy of classifiers.

use bilevel::Dual;
use burn::tensor::Tensor;

/// Loss and accuracy of the classifiers of T tasks.
pub struct Adapted {
    /// Cross-entropy of each task, `[tasks]`.
    pub loss: Tensor<1>,
    /// Accuracy of each task, `[tasks]`, 0 to 1.
    pub accuracy: Tensor<1>,
}

impl Adapted {
    /// From logits and true classes, both `[tasks, n, ways]`.
    pub(super) fn new(logits: Tensor<3>, one_hot: &Tensor<3>) -> Self {
        let [tasks, count, _] = logits.dims();
        let predicted = logits.clone().argmax(2);
        let actual = one_hot.clone().argmax(2);
        // `float()` alone would give the device's default type, not that of the loss.
        let right = predicted.equal(actual).int().float().cast(logits.dtype());
        Self {
            accuracy: right.reshape([tasks, count]).mean_dim(1).reshape([tasks]),
            loss: Dual::constant(logits).cross_entropy(one_hot).primal,
        }
    }
}
