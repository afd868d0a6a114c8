//! Operations that Burn does not provide: convolution of many tasks, each with its own weights, batch normalisation fused
//! with leaky ReLU, and max-pooling with a tangent.
//!
//! Images are channels-last, one row per pixel: `[tasks, n·h·w, channels]`. On flex, Burn's CPU backend, hand-written
//! loops (`flex`) work on these rows directly, as operations with hand-written derivatives (`fused`). Every other
//! backend uses a composition of tensor operations (`reference`), which the tests also compare the loops with.

mod flex;
mod fused;
mod gather;
mod grid;
pub mod reference;
mod threads;

pub use flex::{InstructionSet, Norm, instruction_set};
pub use grid::{Grid, Window};

pub(crate) use threads::wait_until;

use burn::backend::Dispatch;
use burn::tensor::Tensor;
use fused::Fused;
use std::sync::Arc;

/// Whether there are fused operations for the device and the float type of `tensor`.
pub fn is_fused(tensor: &Tensor<3>) -> bool {
    tensor.device().inner() == burn::tensor::Device::flex() && flex::supports(tensor.dtype())
}

/// Convolves `images [tasks, n·sources, channels]` with each task's `weights [tasks, taps·channels, filters]`; returns
/// `[tasks, n·targets, filters]`. The rows of a task's weights are ordered by tap (row by row of the kernel), then by
/// channel.
pub fn convolve(images: Tensor<3>, weights: Tensor<3>, grid: &Arc<Grid>) -> Tensor<3> {
    if !is_fused(&images) {
        return reference::convolve(images, weights, grid);
    }
    let [images, weights] = [images, weights].map(Tensor::into_dispatch);
    Tensor::from_dispatch(Dispatch::convolve(images, weights, grid.clone()))
}

/// The sum of two convolutions, each of images and weights as in [`convolve`].
pub fn convolve_two(first: [Tensor<3>; 2], second: [Tensor<3>; 2], grid: &Arc<Grid>) -> Tensor<3> {
    if !is_fused(&first[0]) {
        let [first, second] =
            [first, second].map(|[images, weights]| reference::convolve(images, weights, grid));
        return first + second;
    }
    let [[a, v], [b, w]] = [first, second].map(|term| term.map(Tensor::into_dispatch));
    Tensor::from_dispatch(Dispatch::convolve_two(a, v, b, w, grid.clone()))
}

/// The largest values of `x [tasks, n·sources, channels]` in each window, per channel: `[tasks, n·targets, channels]`.
///
/// A NaN counts as larger than any number. The whole derivative goes to the pixel with the largest value; of equal
/// values, to the first one, row by row of the window.
///
/// # Panics
/// Panics if a window extends beyond the image.
pub fn max_pool(x: Tensor<3>, grid: &Arc<Grid>) -> Tensor<3> {
    check_windows(grid);
    if !is_fused(&x) {
        return reference::max_pool(x.clone(), x, grid);
    }
    Tensor::from_dispatch(Dispatch::max_pool(x.into_dispatch(), grid.clone()))
}

/// The derivative of [`max_pool`] along `x_tangent`: its values at the pixels where x is largest.
///
/// # Panics
/// Panics if a window extends beyond the image.
pub fn max_pool_tangent(x: Tensor<3>, x_tangent: Tensor<3>, grid: &Arc<Grid>) -> Tensor<3> {
    check_windows(grid);
    if !is_fused(&x) {
        return reference::max_pool(x, x_tangent, grid);
    }
    let [x, x_tangent] = [x, x_tangent].map(Tensor::into_dispatch);
    Tensor::from_dispatch(Dispatch::max_pool_tangent(x, x_tangent, grid.clone()))
}

fn check_windows(grid: &Grid) {
    assert!(grid.is_unpadded(), "the windows of a max-pooling must lie inside the image");
}

/// f(γ x̂ + β), where f is a leaky ReLU, for `x [tasks, rows, channels]` and `weights` γ and β, `[tasks, 1, channels]`
/// each. x̂ is x normalised per task and channel by the mean and standard deviation of its first `norm.counted` rows.
///
/// Available only where [`is_fused`] holds; elsewhere compose it from tensor operations.
pub fn norm_relu(x: Tensor<3>, weights: [Tensor<3>; 2], norm: Norm) -> Tensor<3> {
    let ([gamma, beta], x) = (weights.map(Tensor::into_dispatch), x.into_dispatch());
    Tensor::from_dispatch(Dispatch::norm_relu(x, gamma, beta, norm))
}

/// The derivative of [`norm_relu`] along `x_tangent`, ẋ, and `weight_tangents`, γ̇ and β̇.
///
/// Available only where [`is_fused`] holds; elsewhere compose it from tensor operations.
pub fn norm_relu_tangent(
    x: Tensor<3>,
    weights: [Tensor<3>; 2],
    x_tangent: Tensor<3>,
    weight_tangents: [Tensor<3>; 2],
    norm: Norm,
) -> Tensor<3> {
    let [x, x_tangent] = [x, x_tangent].map(Tensor::into_dispatch);
    let [[gamma, beta], [gamma_tangent, beta_tangent]] =
        [weights, weight_tangents].map(|pair| pair.map(Tensor::into_dispatch));
    let tangent = Dispatch::norm_relu_tangent(x, gamma, beta, x_tangent, gamma_tangent, beta_tangent, norm);
    Tensor::from_dispatch(tangent)
}
