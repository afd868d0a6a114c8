//! Kernels for CubeCL's backends (CUDA, Vulkan, WebGPU), in `f32`.
//!
//! One launch does the work of all tasks. Every sum has a fixed order, and the sizes of tiles follow from the shapes by
//! rule, not by measurement; so results are the same from run to run, and nothing is tuned at the start. No kernel needs
//! more than 32 KiB of shared memory, 256 units a cube, or subgroups, so that software renderers run the code that a
//! GPU runs.

mod convolution;
pub mod cross_entropy;
pub mod leaves;
mod max_pool;
mod norm_relu;
mod product;
mod stack;
mod tables;

pub use tables::Tables;

use super::Grid;
use super::flex::Norm;
use super::fused::{Derivatives, Fused};
use super::tensors::Tensors;
use burn::backend::Cube;
use burn::tensor::{DType, Device};
use burn_cubecl::tensor::CubeTensor;
use std::sync::Arc;

/// Whether `device` is one of CubeCL's, and there are kernels for this type.
pub fn supports(device: &Device, dtype: DType) -> bool {
    matches!(device.as_dispatch(), burn::backend::DispatchDevice::Cube(_)) && dtype == DType::F32
}

impl Fused for Cube {
    fn convolve(images: CubeTensor, weights: CubeTensor, grid: Arc<Grid>) -> CubeTensor {
        convolution::convolve(&grid, &images, &weights)
    }

    fn convolve_two(
        a: CubeTensor,
        v: CubeTensor,
        b: CubeTensor,
        w: CubeTensor,
        grid: Arc<Grid>,
    ) -> CubeTensor {
        convolution::convolve_two(&grid, [&a, &v], [&b, &w])
    }

    fn convolve_pair(
        images: CubeTensor,
        weights: CubeTensor,
        tangents: Tensors<Self>,
        grid: Arc<Grid>,
    ) -> (CubeTensor, CubeTensor) {
        let tangents: [Option<CubeTensor>; 2] = tangents.into_array();
        convolution::convolve_pair(&grid, [&images, &weights], tangents.each_ref().map(Option::as_ref))
    }

    fn max_pool(x: CubeTensor, grid: Arc<Grid>) -> CubeTensor {
        max_pool::take(&grid, &x, &x)
    }

    fn max_pool_tangent(x: CubeTensor, x_tangent: CubeTensor, grid: Arc<Grid>) -> CubeTensor {
        max_pool::take(&grid, &x, &x_tangent)
    }

    fn norm_relu(x: CubeTensor, gamma: CubeTensor, beta: CubeTensor, norm: Norm) -> CubeTensor {
        norm_relu::value(norm, [&x, &gamma, &beta])
    }

    fn norm_relu_tangent(
        x: CubeTensor,
        gamma: CubeTensor,
        beta: CubeTensor,
        x_tangent: CubeTensor,
        gamma_tangent: CubeTensor,
        beta_tangent: CubeTensor,
        norm: Norm,
    ) -> CubeTensor {
        let tangents = [&x_tangent, &gamma_tangent, &beta_tangent].map(Some);
        norm_relu::pair(norm, [&x, &gamma, &beta], tangents).1
    }

    fn norm_relu_pair(
        x: CubeTensor,
        gamma: CubeTensor,
        beta: CubeTensor,
        tangents: Tensors<Self>,
        norm: Norm,
    ) -> (CubeTensor, CubeTensor) {
        let tangents: [Option<CubeTensor>; 3] = tangents.into_array();
        norm_relu::pair(norm, [&x, &gamma, &beta], tangents.each_ref().map(Option::as_ref))
    }
}

impl Derivatives for Cube {
    fn input_gradient(grid: &Arc<Grid>, gradient: &CubeTensor, weights: &CubeTensor) -> CubeTensor {
        convolution::input_gradient(grid, gradient, weights)
    }

    fn weight_gradient(grid: &Arc<Grid>, images: &CubeTensor, gradient: &CubeTensor) -> CubeTensor {
        convolution::weight_gradient(grid, images, gradient)
    }

    fn convolve_pair_gradients(
        grid: &Arc<Grid>,
        inputs: &[Option<CubeTensor>; 4],
        gradients: [Option<CubeTensor>; 2],
        needed: [bool; 4],
    ) -> [Option<CubeTensor>; 4] {
        let inputs = inputs.each_ref().map(Option::as_ref);
        convolution::pair_gradients(grid, inputs, gradients.each_ref().map(Option::as_ref), needed)
    }

    fn max_pool_gradient(grid: &Arc<Grid>, x: &CubeTensor, g: &CubeTensor) -> CubeTensor {
        max_pool::spread(grid, x, g)
    }

    fn norm_relu_gradient(norm: Norm, inputs: [&CubeTensor; 3], g: &CubeTensor) -> [CubeTensor; 3] {
        let [x, gamma, beta, ..] = norm_relu::gradients(norm, inputs, [None; 2], [Some(g), None]);
        [x, gamma, beta]
    }

    fn norm_relu_tangent_gradient(
        norm: Norm,
        inputs: [&CubeTensor; 3],
        x_tangent: &CubeTensor,
        gamma_tangent: &CubeTensor,
        g: &CubeTensor,
    ) -> [CubeTensor; 5] {
        let tangents = [Some(x_tangent), Some(gamma_tangent)];
        let [x, gamma, _, x_tangent, gamma_tangent, beta_tangent] =
            norm_relu::gradients(norm, inputs, tangents, [None, Some(g)]);
        [x, x_tangent, gamma, gamma_tangent, beta_tangent]
    }

    fn norm_relu_pair_gradients(
        norm: Norm,
        inputs: &[Option<CubeTensor>; 6],
        gradients: [Option<CubeTensor>; 2],
    ) -> [Option<CubeTensor>; 6] {
        let [Some(x), Some(gamma), Some(beta), x_tangent, gamma_tangent, _] = inputs else {
            unreachable!("only tangents may be absent")
        };
        let moves = gradients[1].is_some();
        let tangents = [x_tangent.as_ref(), gamma_tangent.as_ref()];
        let gradients = gradients.each_ref().map(Option::as_ref);
        let found = norm_relu::gradients(norm, [x, gamma, beta], tangents, gradients);
        let mut found = found.map(Some);
        if !moves {
            found[3..].fill(None);
        }
        found
    }
}
