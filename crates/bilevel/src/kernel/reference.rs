//! Convolution composed of tensor operations: patches are gathered (im2col), then multiplied by the weights in one
//! batched matrix product.

use super::Grid;
use super::gather::Gather;
use burn::backend::Dispatch;
use burn::tensor::Tensor;

/// Same as [`super::convolve`].
pub fn convolve(images: Tensor<3>, weights: Tensor<3>, grid: &Grid) -> Tensor<3> {
    patches(images, grid).matmul(weights)
}

/// The patches of `images`: `[tasks, n·sources, channels]` → `[tasks, n·targets, taps·channels]`, with zeros where a
/// patch extends beyond the border. The values of a patch are ordered by tap (row by row of the kernel), then by
/// channel.
pub fn patches(images: Tensor<3>, grid: &Grid) -> Tensor<3> {
    if grid.taps() == 1 {
        return images;
    }
    let [tasks, rows, channels] = images.dims();
    let count = rows / grid.source_pixels();
    let indices = grid.gather_indices(tasks * count, &images.device().inner());
    let values = images.reshape([tasks * rows, channels]).into_dispatch();
    let [forward, backward] = [indices.forward, indices.backward].map(Tensor::into_dispatch);
    let patches: Tensor<2> = Tensor::from_dispatch(Dispatch::gather_rows(values, forward, backward));
    patches.reshape([tasks, count * grid.target_pixels(), grid.taps() * channels])
}
