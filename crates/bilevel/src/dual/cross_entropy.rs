//! Softmax cross-entropy of logits, and of a linear layer's.

use super::Dual;
use crate::kernel;
use burn::tensor::Tensor;

impl Dual<3> {
    /// Σ_k y_k log softmax(z)_k of each row, `[tasks, n, 1]`, for logits z = `self [tasks, n, classes]` and constant
    /// `targets` y of the same shape. With one-hot targets it is log softmax at the true class.
    pub fn log_likelihoods(self, targets: &Tensor<3>) -> Self {
        (self.log_softmax(2) * Dual::constant(targets.clone())).sum_dim(2)
    }

    /// The mean over rows of minus the [log likelihoods](Self::log_likelihoods): `[tasks]`.
    pub fn cross_entropy(self, targets: &Tensor<3>) -> Dual<1> {
        let [tasks, count, _] = self.dims();
        self.log_likelihoods(targets).sum_dim(1).scale(-1.0 / count as f64).reshape([tasks])
    }

    /// [`Self::cross_entropy`] of the logits x·W + b for x = `self [tasks, n, width]`, `weight [tasks, width, classes]` and
    /// `bias [tasks, 1, classes]`; with its gradients one pass each where a kernel exists for it.
    pub fn linear_cross_entropy(self, weight: Self, bias: Self, targets: &Tensor<3>) -> Dual<1> {
        let primals = [&self, &weight, &bias].map(|part| part.primal.clone());
        let tangents = [&self, &weight, &bias].map(|part| part.tangent.clone());
        match kernel::linear_cross_entropy(&primals, &tangents, targets) {
            Some((primal, tangent)) => Dual { primal, tangent },
            None => (self.matmul(weight) + bias).cross_entropy(targets),
        }
    }
}
