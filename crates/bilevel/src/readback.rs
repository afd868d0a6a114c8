//! Reads values from the device to the host. On a GPU, every read waits for the work queued before it.

use crate::kernel::leaves::concatenate;
use crate::launches;
use burn::tensor::Tensor;

/// Reads the values of a tensor.
///
/// # Panics
/// Panics if the device was lost; Burn reports device errors by panicking.
pub fn read(values: Tensor<1>) -> Vec<f64> {
    launches::read_back();
    values.into_data().iter::<f64>().collect()
}

/// Reads the values of each tensor, in one transfer.
///
/// # Panics
/// Panics in the cases of [`read`].
pub fn read_all(tensors: Vec<Tensor<1>>) -> Vec<Vec<f64>> {
    if tensors.is_empty() {
        return Vec::new();
    }
    let lengths: Vec<usize> = tensors.iter().map(|tensor| tensor.dims()[0]).collect();
    let all = concatenate(&tensors).unwrap_or_else(|| Tensor::cat(tensors, 0));
    let mut values = read(all).into_iter();
    lengths.into_iter().map(|length| values.by_ref().take(length).collect()).collect()
}
