//! Convolution, max-pooling, and batch normalisation with leaky ReLU as backend operations with hand-written derivatives,
//! for the backend that has kernels for them (flex).
//!
//! Convolution is bilinear: each of its two gradients is a product of the same kind, and its tangent is a sum of two
//! convolutions, computed in one pass.

use super::Grid;
use super::flex::{self, Norm};
use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::{Autodiff, Backend, Flex, backend_extension, tensor::FloatTensor};
use flex::Values;
use std::sync::Arc;

/// The fused operations.
#[backend_extension(Flex, Autodiff)]
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
}

impl Fused for Flex {
    fn convolve(images: Values, weights: Values, grid: Arc<Grid>) -> Values {
        flex::convolve(&grid, &[(&images, &weights)])
    }

    fn convolve_two(a: Values, v: Values, b: Values, w: Values, grid: Arc<Grid>) -> Values {
        flex::convolve(&grid, &[(&a, &v), (&b, &w)])
    }

    fn max_pool(x: Values, grid: Arc<Grid>) -> Values {
        flex::max_pool(&grid, &x, &x)
    }

    fn max_pool_tangent(x: Values, x_tangent: Values, grid: Arc<Grid>) -> Values {
        flex::max_pool(&grid, &x, &x_tangent)
    }

    fn norm_relu(x: Values, gamma: Values, beta: Values, norm: Norm) -> Values {
        flex::norm_relu(norm, &x, [&gamma, &beta])
    }

    fn norm_relu_tangent(
        x: Values,
        gamma: Values,
        beta: Values,
        x_tangent: Values,
        gamma_tangent: Values,
        beta_tangent: Values,
        norm: Norm,
    ) -> Values {
        flex::norm_relu_tangent(norm, &x, [&gamma, &beta], &x_tangent, [&gamma_tangent, &beta_tangent])
    }
}

/// A differentiable operation on N tensors of the flex backend.
trait Operation<const N: usize>: Clone + Send + std::fmt::Debug + 'static {
    fn value(&self, inputs: [Values; N]) -> Values;

    /// The gradients of the inputs, given the `gradient` of the output; `None` for those not `needed` or always zero.
    fn gradients(&self, inputs: &[Values; N], gradient: Values, needed: [bool; N]) -> [Option<Values>; N];
}

/// Node of the autodiff graph.
#[derive(Debug)]
struct Node<O>(O);

impl<O: Operation<N>, const N: usize> Backward<Flex, N> for Node<O> {
    type State = [Values; N];

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<Flex>(&ops.node);
        let needed = ops.parents.each_ref().map(Option::is_some);
        let gradients = self.0.gradients(&ops.state, gradient, needed);
        for (parent, gradient) in ops.parents.into_iter().zip(gradients) {
            if let (Some(parent), Some(gradient)) = (parent, gradient) {
                grads.register::<Flex>(parent.id, gradient);
            }
        }
    }
}

/// Runs `operation`, and adds a node to the autodiff graph if an input is tracked.
fn tracked<C: CheckpointStrategy, O: Operation<N>, const N: usize>(
    operation: O,
    inputs: [FloatTensor<Autodiff<Flex, C>>; N],
) -> FloatTensor<Autodiff<Flex, C>> {
    let mut values = Vec::with_capacity(N);
    let guards = inputs.map(|input| {
        let (value, guard) = input.into_parts();
        values.push(value);
        guard
    });
    let Ok(values) = <[Values; N]>::try_from(values) else { unreachable!("one value for each input") };
    match Backward::<Flex, N>::prepare::<C>(Node(operation.clone()), guards).compute_bound().stateful() {
        OpsKind::Tracked(prep) => prep.finish(values.clone(), operation.value(values)),
        OpsKind::UnTracked(prep) => prep.finish(operation.value(values)),
    }
}

/// One convolution (images, weights), or the sum of two (images, weights, images, weights).
#[derive(Clone, Debug)]
struct Convolution(Arc<Grid>);

impl Operation<2> for Convolution {
    fn value(&self, [images, weights]: [Values; 2]) -> Values {
        Flex::convolve(images, weights, self.0.clone())
    }

    fn gradients(
        &self,
        [images, weights]: &[Values; 2],
        g: Values,
        [left, right]: [bool; 2],
    ) -> [Option<Values>; 2] {
        [
            left.then(|| flex::input_gradient(&self.0, &g, weights)),
            right.then(|| flex::weight_gradient(&self.0, images, &g)),
        ]
    }
}

impl Operation<4> for Convolution {
    fn value(&self, [a, v, b, w]: [Values; 4]) -> Values {
        Flex::convolve_two(a, v, b, w, self.0.clone())
    }

    fn gradients(&self, [a, v, b, w]: &[Values; 4], g: Values, needed: [bool; 4]) -> [Option<Values>; 4] {
        [
            needed[0].then(|| flex::input_gradient(&self.0, &g, v)),
            needed[1].then(|| flex::weight_gradient(&self.0, a, &g)),
            needed[2].then(|| flex::input_gradient(&self.0, &g, w)),
            needed[3].then(|| flex::weight_gradient(&self.0, b, &g)),
        ]
    }
}

/// Max-pooling: the value of x, or the tangent of (x, ẋ).
#[derive(Clone, Debug)]
struct MaxPool(Arc<Grid>);

impl Operation<1> for MaxPool {
    fn value(&self, [x]: [Values; 1]) -> Values {
        Flex::max_pool(x, self.0.clone())
    }

    fn gradients(&self, [x]: &[Values; 1], g: Values, _: [bool; 1]) -> [Option<Values>; 1] {
        [Some(flex::max_pool_gradient(&self.0, x, &g))]
    }
}

impl Operation<2> for MaxPool {
    fn value(&self, [x, x_tangent]: [Values; 2]) -> Values {
        Flex::max_pool_tangent(x, x_tangent, self.0.clone())
    }

    fn gradients(&self, [x, _]: &[Values; 2], g: Values, [_, moving]: [bool; 2]) -> [Option<Values>; 2] {
        [None, moving.then(|| flex::max_pool_gradient(&self.0, x, &g))]
    }
}

/// Batch normalisation with leaky ReLU: the value.
#[derive(Clone, Debug)]
struct NormRelu(Norm);

impl Operation<3> for NormRelu {
    fn value(&self, [x, gamma, beta]: [Values; 3]) -> Values {
        Flex::norm_relu(x, gamma, beta, self.0)
    }

    fn gradients(&self, [x, gamma, beta]: &[Values; 3], g: Values, _: [bool; 3]) -> [Option<Values>; 3] {
        flex::norm_relu_gradient(self.0, x, [gamma, beta], &g).map(Some)
    }
}

/// Batch normalisation with leaky ReLU: the tangent.
#[derive(Clone, Debug)]
struct NormReluTangent(Norm);

impl Operation<6> for NormReluTangent {
    fn value(&self, [x, gamma, beta, x_tangent, gamma_tangent, beta_tangent]: [Values; 6]) -> Values {
        Flex::norm_relu_tangent(x, gamma, beta, x_tangent, gamma_tangent, beta_tangent, self.0)
    }

    fn gradients(&self, inputs: &[Values; 6], g: Values, _: [bool; 6]) -> [Option<Values>; 6] {
        let [x, gamma, beta, x_tangent, gamma_tangent, _] = inputs;
        let [to_x, to_x_tangent, to_gamma, to_gamma_tangent, to_beta_tangent] =
            flex::norm_relu_tangent_gradient(self.0, x, [gamma, beta], x_tangent, gamma_tangent, &g);
        [Some(to_x), Some(to_gamma), None, Some(to_x_tangent), Some(to_gamma_tangent), Some(to_beta_tangent)]
    }
}

impl<C: CheckpointStrategy> Fused for Autodiff<Flex, C> {
    fn convolve(images: FloatTensor<Self>, weights: FloatTensor<Self>, grid: Arc<Grid>) -> FloatTensor<Self> {
        tracked::<C, _, 2>(Convolution(grid), [images, weights])
    }

    fn convolve_two(
        first_images: FloatTensor<Self>,
        first_weights: FloatTensor<Self>,
        second_images: FloatTensor<Self>,
        second_weights: FloatTensor<Self>,
        grid: Arc<Grid>,
    ) -> FloatTensor<Self> {
        tracked::<C, _, 4>(Convolution(grid), [first_images, first_weights, second_images, second_weights])
    }

    fn max_pool(x: FloatTensor<Self>, grid: Arc<Grid>) -> FloatTensor<Self> {
        tracked::<C, _, 1>(MaxPool(grid), [x])
    }

    fn max_pool_tangent(
        x: FloatTensor<Self>,
        x_tangent: FloatTensor<Self>,
        grid: Arc<Grid>,
    ) -> FloatTensor<Self> {
        tracked::<C, _, 2>(MaxPool(grid), [x, x_tangent])
    }

    fn norm_relu(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        norm: Norm,
    ) -> FloatTensor<Self> {
        tracked::<C, _, 3>(NormRelu(norm), [x, gamma, beta])
    }

    fn norm_relu_tangent(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        x_tangent: FloatTensor<Self>,
        gamma_tangent: FloatTensor<Self>,
        beta_tangent: FloatTensor<Self>,
        norm: Norm,
    ) -> FloatTensor<Self> {
        tracked::<C, _, 6>(NormReluTangent(norm), [x, gamma, beta, x_tangent, gamma_tangent, beta_tangent])
    }
}
