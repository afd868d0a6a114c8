//! Numbers brought from the device to the host. On a GPU every read waits for the work before it.

use burn::tensor::Tensor;

/// A tensor's values.
///
/// # Panics
/// If the device was lost; Burn reports that by panicking everywhere.
pub fn host(values: Tensor<1>) -> Vec<f64> {
    values.into_data().iter::<f64>().collect()
}

/// The values of each tensor, brought over in one go.
///
/// # Panics
/// As [`host`].
pub fn host_together(tensors: Vec<Tensor<1>>) -> Vec<Vec<f64>> {
    if tensors.is_empty() {
        return Vec::new();
    }
    let lengths: Vec<usize> = tensors.iter().map(|tensor| tensor.dims()[0]).collect();
    let mut values = host(Tensor::cat(tensors, 0)).into_iter();
    lengths.into_iter().map(|length| values.by_ref().take(length).collect()).collect()
}
