//! Squared error of regressions.

use bilevel::Dual;
use burn::tensor::Tensor;

/// Mean over points and outputs of the squared difference of `outputs` and `targets`, both `[tasks, n, outputs]`: `[tasks]`.
pub(super) fn squared_error(outputs: Dual<3>, targets: &Tensor<3>) -> Dual<1> {
    let [_, count, width] = outputs.dims();
    (outputs - Dual::constant(targets.clone())).squared_norm().scale(1.0 / (count * width) as f64)
}
