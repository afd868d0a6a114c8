//! The same convolutions composed of tensor operations: patches laid side by side, then one batched
//! matrix product.

use super::Grid;
use super::gather::Gather;
use burn::backend::Dispatch;
use burn::tensor::Tensor;

/// See [`super::convolve`].
pub fn convolve(images: Tensor<3>, weights: Tensor<3>, grid: &Grid) -> Tensor<3> {
    patches(images, grid).matmul(weights)
}

/// `[tasks, n·sources, channels]` → `[tasks, n·targets, taps·channels]`, zeros where a patch reaches over
/// the border; within a patch pixels run row by row, each with its channels.
pub fn patches(images: Tensor<3>, grid: &Grid) -> Tensor<3> {
    if grid.taps() == 1 {
        return images;
    }
    let [tasks, rows, channels] = images.dims();
    let count = rows / grid.source_pixels();
    let grid_rows = grid.rows(tasks * count, &images.device().inner());
    let values = images.reshape([tasks * rows, channels]).into_dispatch();
    let [forward, backward] = [grid_rows.forward, grid_rows.backward].map(Tensor::into_dispatch);
    let patches: Tensor<2> = Tensor::from_dispatch(Dispatch::gather_rows(values, forward, backward));
    patches.reshape([tasks, count * grid.target_pixels(), grid.taps() * channels])
}
