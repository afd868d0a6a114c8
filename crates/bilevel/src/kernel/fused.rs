//! Convolution, max-pooling, and batch normalisation with leaky ReLU as backend operations, for the backends that have
//! kernels for them: flex (`flex`) and CubeCL's (`cube`). `derivatives` differentiates them, on every such backend alike.
//!
//! Convolution is bilinear: each of its two gradients is a product of the same kind, and its tangent is a sum of two
//! convolutions, computed in one pass.
//!
//! A pair is a value and its tangent from one operation, which loads what both need once. On a GPU a pair, and its
//! gradient, are one launch each; flex computes both one after the other.

use super::Grid;
use super::flex::Norm;
use super::tensors::Tensors;
use burn::backend::tensor::FloatTensor;
#[allow(unused_imports, reason = "named by the generated code")]
use burn::backend::{Autodiff, Flex};
use burn::backend::{Backend, TensorMetadata, backend_extension};
use std::sync::Arc;

/// The fused operations.
#[backend_extension(Flex, Cube: cfg(feature = "cube"), Autodiff)]
pub trait Fused: Backend {
    /// Convolves `images [tasks, n·sources, channels]` with `weights [tasks, taps·channels, filters]`.
    fn convolve(images: FloatTensor<Self>, weights: FloatTensor<Self>, grid: Arc<Grid>) -> FloatTensor<Self>;

    /// The sum of two convolutions: of the first images and weights, and of the second.
    fn convolve_two(
        first_images: FloatTensor<Self>,
        first_weights: FloatTensor<Self>,
        second_images: FloatTensor<Self>,
        second_weights: FloatTensor<Self>,
        grid: Arc<Grid>,
    ) -> FloatTensor<Self>;

    /// [`Self::convolve`] and its tangent, for `tangents` of images and weights. A tangent of `None` is zero; at least one is given.
    fn convolve_pair(
        images: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        #[extension_type] tangents: Tensors<Self>,
        grid: Arc<Grid>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let tangent = match tangents.into_array() {
            [Some(moving), Some(turning)] => {
                Self::convolve_two(moving, weights.clone(), images.clone(), turning, grid.clone())
            }
            [Some(moving), None] => Self::convolve(moving, weights.clone(), grid.clone()),
            [None, Some(turning)] => Self::convolve(images.clone(), turning, grid.clone()),
            [None, None] => unreachable!("a pair has a tangent"),
        };
        (Self::convolve(images, weights, grid), tangent)
    }

    /// The largest values of `x [tasks, n·sources, channels]` in each window.
    fn max_pool(x: FloatTensor<Self>, grid: Arc<Grid>) -> FloatTensor<Self>;

    /// The derivative of [`Self::max_pool`] along `x_tangent`.
    fn max_pool_tangent(
        x: FloatTensor<Self>,
        x_tangent: FloatTensor<Self>,
        grid: Arc<Grid>,
    ) -> FloatTensor<Self>;

    /// y of [`Norm`].
    fn norm_relu(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        norm: Norm,
    ) -> FloatTensor<Self>;

    /// ẏ of [`Norm`].
    fn norm_relu_tangent(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        x_tangent: FloatTensor<Self>,
        gamma_tangent: FloatTensor<Self>,
        beta_tangent: FloatTensor<Self>,
        norm: Norm,
    ) -> FloatTensor<Self>;

    /// y and ẏ of [`Norm`], for `tangents` of x, γ and β. A tangent of `None` is zero; at least one is given.
    fn norm_relu_pair(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        #[extension_type] tangents: Tensors<Self>,
        norm: Norm,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let [x_tangent, gamma_tangent, beta_tangent] = tangents.into_array();
        let tangent = Self::norm_relu_tangent(
            x.clone(),
            gamma.clone(),
            beta.clone(),
            or_zeros::<Self>(x_tangent, &x),
            or_zeros::<Self>(gamma_tangent, &gamma),
            or_zeros::<Self>(beta_tangent, &beta),
            norm,
        );
        (Self::norm_relu(x, gamma, beta, norm), tangent)
    }
}

/// The gradients of the fused operations.
pub trait Derivatives: Fused {
    /// The gradient of the images, given the `gradient` of their convolution with `weights`.
    fn input_gradient(
        grid: &Arc<Grid>,
        gradient: &FloatTensor<Self>,
        weights: &FloatTensor<Self>,
    ) -> FloatTensor<Self>;

    /// The gradient of the weights, given the `gradient` of their convolution with `images`.
    fn weight_gradient(
        grid: &Arc<Grid>,
        images: &FloatTensor<Self>,
        gradient: &FloatTensor<Self>,
    ) -> FloatTensor<Self>;

    /// The gradients of images x, weights w, ẋ and ẇ, those that are `needed`, given those of y = x∗w and ẏ = ẋ∗w + x∗ẇ,
    /// at least one of which is given.
    fn convolve_pair_gradients(
        grid: &Arc<Grid>,
        inputs: &[Option<FloatTensor<Self>>; 4],
        gradients: [Option<FloatTensor<Self>>; 2],
        needed: [bool; 4],
    ) -> [Option<FloatTensor<Self>>; 4] {
        let [x, w, x_tangent, w_tangent] = inputs.each_ref().map(Option::as_ref);
        let [of_y, of_tangent] = gradients.each_ref().map(Option::as_ref);
        let to_input = |g: Option<&_>, w: Option<&_>| Some(Self::input_gradient(grid, g?, w?));
        let to_weight = |x: Option<&_>, g: Option<&_>| Some(Self::weight_gradient(grid, x?, g?));
        [
            needed[0].then(|| sum::<Self>(to_input(of_y, w), to_input(of_tangent, w_tangent))).flatten(),
            needed[1].then(|| sum::<Self>(to_weight(x, of_y), to_weight(x_tangent, of_tangent))).flatten(),
            needed[2].then(|| to_input(of_tangent, w)).flatten(),
            needed[3].then(|| to_weight(x, of_tangent)).flatten(),
        ]
    }

    /// The gradient of the tangent, or of the value, given the gradient `g` of [`Fused::max_pool_tangent`] or
    /// [`Fused::max_pool`].
    fn max_pool_gradient(grid: &Arc<Grid>, x: &FloatTensor<Self>, g: &FloatTensor<Self>)
    -> FloatTensor<Self>;

    /// The gradients [x̄, γ̄, β̄], given the gradient `g` of y of [`Norm`].
    fn norm_relu_gradient(
        norm: Norm,
        inputs: [&FloatTensor<Self>; 3],
        g: &FloatTensor<Self>,
    ) -> [FloatTensor<Self>; 3];

    /// The gradients [x̄, ẋ̄, γ̄, γ̇̄, β̇̄], given the gradient `g` of ẏ of [`Norm`]; β̄ is zero.
    fn norm_relu_tangent_gradient(
        norm: Norm,
        inputs: [&FloatTensor<Self>; 3],
        x_tangent: &FloatTensor<Self>,
        gamma_tangent: &FloatTensor<Self>,
        g: &FloatTensor<Self>,
    ) -> [FloatTensor<Self>; 5];

    /// The gradients of [x, γ, β, ẋ, γ̇, β̇], given those of y and ẏ of [`Norm`], at least one of which is given.
    fn norm_relu_pair_gradients(
        norm: Norm,
        inputs: &[Option<FloatTensor<Self>>; 6],
        gradients: [Option<FloatTensor<Self>>; 2],
    ) -> [Option<FloatTensor<Self>>; 6] {
        let [Some(x), Some(gamma), Some(beta), x_tangent, gamma_tangent, _] = inputs else {
            unreachable!("only tangents may be absent")
        };
        let [of_y, of_tangent] = gradients;
        let [mut to_x, mut to_gamma, mut to_beta] = [const { None }; 3];
        if let Some(g) = of_y {
            [to_x, to_gamma, to_beta] = Self::norm_relu_gradient(norm, [x, gamma, beta], &g).map(Some);
        }
        let Some(g) = of_tangent else { return [to_x, to_gamma, to_beta, None, None, None] };
        let (x_tangent, gamma_tangent) =
            (or_zeros::<Self>(x_tangent.clone(), x), or_zeros::<Self>(gamma_tangent.clone(), gamma));
        let [more_x, to_x_tangent, more_gamma, to_gamma_tangent, to_beta_tangent] =
            Self::norm_relu_tangent_gradient(norm, [x, gamma, beta], &x_tangent, &gamma_tangent, &g);
        [
            sum::<Self>(to_x, Some(more_x)),
            sum::<Self>(to_gamma, Some(more_gamma)),
            to_beta,
            Some(to_x_tangent),
            Some(to_gamma_tangent),
            Some(to_beta_tangent),
        ]
    }
}

/// `tangent`, or zeros in the shape of `like`.
fn or_zeros<B: Backend>(tangent: Option<FloatTensor<B>>, like: &FloatTensor<B>) -> FloatTensor<B> {
    tangent.unwrap_or_else(|| B::float_zeros(like.shape(), &like.device(), like.dtype().into()))
}

/// The sum of two gradients, either of which may be zero (`None`).
fn sum<B: Backend>(left: Option<FloatTensor<B>>, right: Option<FloatTensor<B>>) -> Option<FloatTensor<B>> {
    match (left, right) {
        (Some(left), Some(right)) => Some(B::float_add(left, right)),
        (left, right) => left.or(right),
    }
}
