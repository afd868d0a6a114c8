//! The operations that Burn does not have: convolution of many tasks, each with its own weights, and
//! batch normalisation with ReLU in one pass.
//!
//! Images are kept channels-last, a pixel a row: `[tasks, n·h·w, channels]`. On flex, Burn's CPU backend,
//! hand-written loops run straight on these rows (`flex`) as operations with derivatives by hand
//! (`fused`); any other backend gets a composition of tensor operations (`reference`), and so does
//! the test that holds the loops against it.

mod flex;
mod fused;
mod gather;
mod grid;
pub mod reference;
mod share;

pub use flex::Norm;
pub use grid::Grid;

use burn::backend::Dispatch;
use burn::tensor::Tensor;
use fused::Fused;
use std::sync::Arc;

/// Whether there are fused operations for tensors like this one.
pub fn is_fused(tensor: &Tensor<3>) -> bool {
    tensor.device().inner() == burn::tensor::Device::flex() && flex::knows(tensor.dtype())
}

/// `images [tasks, n·sources, channels]` under `weights [tasks, taps·channels, filters]`:
/// `[tasks, n·targets, filters]`. Within a task's weights the taps run row by row, each with its channels.
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

/// max(0, γ x̂ + β) of `x [tasks, rows, channels]`, where x̂ is x with the mean and deviation of its first
/// `norm.counted` rows taken away, per task and channel; `gamma` and `beta` are `[tasks, 1, channels]`.
///
/// Only where [`is_fused`]; elsewhere compose it.
pub fn norm_relu(x: Tensor<3>, weights: [Tensor<3>; 2], norm: Norm) -> Tensor<3> {
    let ([gamma, beta], x) = (weights.map(Tensor::into_dispatch), x.into_dispatch());
    Tensor::from_dispatch(Dispatch::norm_relu(x, gamma, beta, norm))
}

/// The derivative of [`norm_relu`] along `along`, ẋ, and `moves`, γ̇ and β̇.
///
/// Only where [`is_fused`]; elsewhere compose it.
pub fn norm_relu_tangent(
    x: Tensor<3>,
    weights: [Tensor<3>; 2],
    along: Tensor<3>,
    moves: [Tensor<3>; 2],
    norm: Norm,
) -> Tensor<3> {
    let [x, along] = [x, along].map(Tensor::into_dispatch);
    let [[gamma, beta], [gamma_along, beta_along]] =
        [weights, moves].map(|pair| pair.map(Tensor::into_dispatch));
    let tangent = Dispatch::norm_relu_tangent(x, gamma, beta, along, gamma_along, beta_along, norm);
    Tensor::from_dispatch(tangent)
}
