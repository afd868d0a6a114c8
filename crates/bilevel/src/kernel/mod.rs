//! Operations that Burn does not provide: convolution of many tasks, each with its own weights, batch normalisation fused
//! with leaky ReLU, max-pooling with a tangent, and the cross-entropy of a linear layer.
//!
//! Images are channels-last, one row per pixel: `[tasks, n·h·w, channels]`. On flex, Burn's CPU backend, hand-written
//! loops (`flex`), and on GPU backends kernels written in CubeCL (`cube`) work on these rows directly, as operations
//! (`fused`) with hand-written derivatives (`derivatives`). Every other backend and float type uses a composition of
//! tensor operations (`reference`), which the tests also compare the kernels with.

#[cfg(feature = "cube")]
mod cross_entropy;
#[cfg(feature = "cube")]
mod cube;
mod derivatives;
mod flex;
mod fused;
mod gather;
mod grid;
pub(crate) mod leaves;
mod on_flex;
pub mod reference;
mod seed;
mod tensors;
mod threads;

pub use flex::{InstructionSet, Norm, instruction_set};
pub use grid::{Grid, Window};
pub(crate) use seed::seeded;
pub(crate) use threads::wait_until;

use burn::backend::Dispatch;
use burn::tensor::Tensor;
#[cfg(feature = "cube")]
use cross_entropy::CrossEntropy;
use fused::Fused;
use std::sync::Arc;
use tensors::Tensors;

/// Whether there are fused operations for the device and the float type of `tensor`.
pub fn is_fused(tensor: &Tensor<3>) -> bool {
    let is_flex = tensor.device().inner() == burn::tensor::Device::flex();
    is_flex && flex::supports(tensor.dtype()) || has_pairs(tensor)
}

/// Whether a value and its tangent cost less from one operation ([`convolve_pair`], [`norm_relu_pair`]) than from two: on
/// a GPU, where each is one launch.
pub fn has_pairs(tensor: &Tensor<3>) -> bool {
    #[cfg(feature = "cube")]
    return cube::supports(&tensor.device().inner(), tensor.dtype());
    #[cfg(not(feature = "cube"))]
    {
        let _ = tensor;
        false
    }
}

/// Convolves `images [tasks, n·sources, channels]` with each task's `weights [tasks, taps·channels, filters]`; returns
/// `[tasks, n·targets, filters]`. The rows of a task's weights are ordered by tap (row by row of the kernel), then by
/// channel.
///
/// # Panics
/// Panics if the rows of `images` are not those of whole images.
pub fn convolve(images: Tensor<3>, weights: Tensor<3>, grid: &Arc<Grid>) -> Tensor<3> {
    check_images(&images, grid);
    if !is_fused(&images) {
        return reference::convolve(images, weights, grid);
    }
    let [images, weights] = [images, weights].map(Tensor::into_dispatch);
    Tensor::from_dispatch(Dispatch::convolve(images, weights, grid.clone()))
}

/// The sum of two convolutions, each of images and weights as in [`convolve`].
///
/// # Panics
/// Panics if the rows of images are not those of whole images.
pub fn convolve_two(first: [Tensor<3>; 2], second: [Tensor<3>; 2], grid: &Arc<Grid>) -> Tensor<3> {
    [&first, &second].into_iter().for_each(|[images, _]| check_images(images, grid));
    if !is_fused(&first[0]) {
        let [first, second] =
            [first, second].map(|[images, weights]| reference::convolve(images, weights, grid));
        return first + second;
    }
    let [[a, v], [b, w]] = [first, second].map(|term| term.map(Tensor::into_dispatch));
    Tensor::from_dispatch(Dispatch::convolve_two(a, v, b, w, grid.clone()))
}

/// [`convolve`] and its derivative along `tangents`, ẋ and ẇ: x∗w and ẋ∗w + x∗ẇ. A tangent of `None` is zero.
///
/// Available only where [`is_fused`] holds.
///
/// # Panics
/// Panics if both tangents are zero, or the rows of images are not those of whole images.
pub fn convolve_pair(
    [images, weights]: [Tensor<3>; 2],
    tangents: [Option<Tensor<3>>; 2],
    grid: &Arc<Grid>,
) -> [Tensor<3>; 2] {
    assert!(tangents.iter().any(Option::is_some), "a pair must have a tangent");
    [Some(&images), tangents[0].as_ref()].into_iter().flatten().for_each(|images| check_images(images, grid));
    let [images, weights] = [images, weights].map(Tensor::into_dispatch);
    let tangents = Tensors(tangents.map(|tangent| tangent.map(Tensor::into_dispatch)).into());
    let pair = Dispatch::convolve_pair(images, weights, tangents, grid.clone());
    <[_; 2]>::from(pair).map(Tensor::from_dispatch)
}

/// The largest values of `x [tasks, n·sources, channels]` in each window, per channel: `[tasks, n·targets, channels]`.
///
/// A NaN counts as larger than any number. The whole derivative goes to the pixel with the largest value; of equal
/// values, to the first one, row by row of the window.
///
/// # Panics
/// Panics if a window extends beyond the image, or the rows of `x` are not those of whole images.
pub fn max_pool(x: Tensor<3>, grid: &Arc<Grid>) -> Tensor<3> {
    check_windows(grid);
    check_images(&x, grid);
    if !is_fused(&x) {
        return reference::max_pool(x.clone(), x, grid);
    }
    Tensor::from_dispatch(Dispatch::max_pool(x.into_dispatch(), grid.clone()))
}

/// The derivative of [`max_pool`] along `x_tangent`: its values at the pixels where x is largest.
///
/// # Panics
/// Panics if a window extends beyond the image, the rows of `x` are not those of whole images, or the shapes differ.
pub fn max_pool_tangent(x: Tensor<3>, x_tangent: Tensor<3>, grid: &Arc<Grid>) -> Tensor<3> {
    check_windows(grid);
    check_images(&x, grid);
    assert_eq!(x.dims(), x_tangent.dims(), "a tangent has the shape of its value");
    if !is_fused(&x) {
        return reference::max_pool(x, x_tangent, grid);
    }
    let [x, x_tangent] = [x, x_tangent].map(Tensor::into_dispatch);
    Tensor::from_dispatch(Dispatch::max_pool_tangent(x, x_tangent, grid.clone()))
}

fn check_windows(grid: &Grid) {
    assert!(grid.is_unpadded(), "the windows of a max-pooling must lie inside the image");
}

/// Panics unless `images [tasks, rows, channels]` are whole images. No kernel looks: some would read beyond the rows, or at
/// the next task's.
fn check_images(images: &Tensor<3>, grid: &Grid) {
    let ([_, rows, _], pixels) = (images.dims(), grid.source_pixels());
    assert!(rows.is_multiple_of(pixels), "{rows} rows are not those of whole images of {pixels} pixels");
}

/// Panics unless a batch norm's statistics are those of rows that `x [tasks, rows, channels]` has.
fn check_counted(x: &Tensor<3>, norm: Norm) {
    let [_, rows, _] = x.dims();
    let counted = norm.counted;
    assert!(counted <= rows, "batch norm cannot take its statistics from {counted} of {rows} rows");
}

/// f(γ x̂ + β), where f is a leaky ReLU, for `x [tasks, rows, channels]` and `weights` γ and β, `[tasks, 1, channels]`
/// each. x̂ is x normalised per task and channel by the mean and standard deviation of its first `norm.counted` rows.
///
/// Available only where [`is_fused`] holds; elsewhere compose it from tensor operations.
///
/// # Panics
/// Panics if x has fewer rows than are counted.
pub fn norm_relu(x: Tensor<3>, weights: [Tensor<3>; 2], norm: Norm) -> Tensor<3> {
    check_counted(&x, norm);
    let ([gamma, beta], x) = (weights.map(Tensor::into_dispatch), x.into_dispatch());
    Tensor::from_dispatch(Dispatch::norm_relu(x, gamma, beta, norm))
}

/// The derivative of [`norm_relu`] along `x_tangent`, ẋ, and `weight_tangents`, γ̇ and β̇.
///
/// Available only where [`is_fused`] holds; elsewhere compose it from tensor operations.
///
/// # Panics
/// Panics if x has fewer rows than are counted.
pub fn norm_relu_tangent(
    x: Tensor<3>,
    weights: [Tensor<3>; 2],
    x_tangent: Tensor<3>,
    weight_tangents: [Tensor<3>; 2],
    norm: Norm,
) -> Tensor<3> {
    check_counted(&x, norm);
    let [x, x_tangent] = [x, x_tangent].map(Tensor::into_dispatch);
    let [[gamma, beta], [gamma_tangent, beta_tangent]] =
        [weights, weight_tangents].map(|pair| pair.map(Tensor::into_dispatch));
    let tangent = Dispatch::norm_relu_tangent(x, gamma, beta, x_tangent, gamma_tangent, beta_tangent, norm);
    Tensor::from_dispatch(tangent)
}

/// [`norm_relu`] and its derivative along `tangents`, ẋ, γ̇ and β̇. A tangent of `None` is zero.
///
/// Available only where [`is_fused`] holds; elsewhere compose it from tensor operations.
///
/// # Panics
/// Panics if all tangents are zero, or x has fewer rows than are counted.
pub fn norm_relu_pair(
    x: Tensor<3>,
    weights: [Tensor<3>; 2],
    tangents: [Option<Tensor<3>>; 3],
    norm: Norm,
) -> [Tensor<3>; 2] {
    assert!(tangents.iter().any(Option::is_some), "a pair must have a tangent");
    check_counted(&x, norm);
    let ([gamma, beta], x) = (weights.map(Tensor::into_dispatch), x.into_dispatch());
    let tangents = Tensors(tangents.map(|tangent| tangent.map(Tensor::into_dispatch)).into());
    let pair = Dispatch::norm_relu_pair(x, gamma, beta, tangents, norm);
    <[_; 2]>::from(pair).map(Tensor::from_dispatch)
}

/// The mean over rows of −Σ y log softmax(x W + b) of each task, `[tasks]`, and its derivative along `tangents`, ẋ, Ẇ and ḃ,
/// if one is given: for `inputs` x `[tasks, n, width]`, W `[tasks, width, classes]` and b `[tasks, 1, classes]`, and constant
/// `targets` y `[tasks, n, classes]`.
///
/// `None` where there is no kernel for it; then compose it from tensor operations.
pub(crate) fn linear_cross_entropy(
    inputs: &[Tensor<3>; 3],
    tangents: &[Option<Tensor<3>>; 3],
    targets: &Tensor<3>,
) -> Option<(Tensor<1>, Option<Tensor<1>>)> {
    #[cfg(feature = "cube")]
    {
        let [_, rows, classes] = targets.dims();
        if !has_pairs(&inputs[0]) || rows * classes > cube::cross_entropy::MAX_LOGITS {
            return None;
        }
        let [x, weight, bias] = inputs.clone().map(Tensor::into_dispatch);
        let targets = targets.clone().into_dispatch();
        if tangents.iter().all(Option::is_none) {
            let loss = Dispatch::linear_cross_entropy(x, weight, bias, targets);
            return Some((Tensor::from_dispatch(loss), None));
        }
        let tangents = tangents.clone().map(|tangent| tangent.map(Tensor::into_dispatch));
        let (loss, tangent) =
            Dispatch::linear_cross_entropy_pair(x, weight, bias, Tensors(tangents.into()), targets);
        Some((Tensor::from_dispatch(loss), Some(Tensor::from_dispatch(tangent))))
    }
    #[cfg(not(feature = "cube"))]
    {
        let _ = (inputs, tangents, targets);
        None
    }
}
