//! Convolution and pooling composed of tensor operations. Patches are gathered (im2col); a convolution multiplies them by
//! the weights in one batched matrix product, a pooling takes their largest values or their mean.

use super::gather::Gather;
use super::{Grid, check_images};
use burn::backend::Dispatch;
use burn::tensor::{Int, Tensor};

/// Same as [`super::convolve`].
pub fn convolve(images: Tensor<3>, weights: Tensor<3>, grid: &Grid) -> Tensor<3> {
    patches(images, grid).matmul(weights)
}

/// The patches of `images`: `[tasks, n·sources, channels]` → `[tasks, n·targets, taps·channels]`, with zeros where a
/// patch extends beyond the border. The values of a patch are ordered by tap (row by row of the kernel), then by
/// channel.
///
/// # Panics
/// Panics if the rows of `images` are not those of whole images.
pub fn patches(images: Tensor<3>, grid: &Grid) -> Tensor<3> {
    check_images(&images, grid);
    if grid.is_pointwise() {
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

/// The values of `v` where `x` is largest in each window, both `[tasks, n·sources, channels]`; see [`super::max_pool`].
/// Derivatives go through `v` alone.
pub fn max_pool(x: Tensor<3>, v: Tensor<3>, grid: &Grid) -> Tensor<3> {
    let [tasks, rows, channels] = x.dims();
    let rows = rows / grid.source_pixels() * grid.target_pixels();
    let windows = |x: Tensor<3>| patches(x, grid).reshape([tasks * rows, grid.taps(), channels]);
    let hidden = windows(x.detach());
    let mut largest = hidden.clone().narrow(1, 0, 1);
    let mut tap: Tensor<3, Int> = Tensor::zeros(largest.dims(), &largest.device());
    for next in 1..grid.taps() {
        let value = hidden.clone().narrow(1, next, 1);
        let stays = value.clone().lower_equal(largest.clone()).bool_or(largest.clone().is_nan());
        largest = value.mask_where(stays.clone(), largest);
        tap = tap.clone().mask_fill(stays.bool_not(), next as i64);
    }
    let taps = Tensor::arange(0..grid.taps() as i64, &tap.device()).reshape([1, grid.taps(), 1]);
    let shape = hidden.dims();
    let others = tap.expand(shape).not_equal(taps.expand(shape));
    windows(v).mask_fill(others, 0).sum_dim(1).reshape([tasks, rows, channels])
}

/// The mean of `x [tasks, n·sources, channels]` over each window: `[tasks, n·targets, channels]`. Padding counts as zeros.
pub fn mean_pool(x: Tensor<3>, grid: &Grid) -> Tensor<3> {
    let [tasks, rows, channels] = x.dims();
    let rows = rows / grid.source_pixels() * grid.target_pixels();
    let windows = patches(x, grid).reshape([tasks * rows, grid.taps(), channels]);
    windows.mean_dim(1).reshape([tasks, rows, channels])
}
