//! Numbers brought from the device to the host.

use burn::tensor::Tensor;

/// The values of each tensor, brought over in one go: on a GPU every read waits.
pub fn read_together(tensors: Vec<Tensor<1>>) -> Vec<Vec<f64>> {
    if tensors.is_empty() {
        return Vec::new();
    }
    let lengths: Vec<usize> = tensors.iter().map(|tensor| tensor.dims()[0]).collect();
    let data = Tensor::cat(tensors, 0).into_data();
    let mut values = data.iter::<f64>();
    lengths.into_iter().map(|length| values.by_ref().take(length).collect()).collect()
}

/// Their mean; `values` must not be empty.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}
