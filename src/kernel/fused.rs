//! Convolution and [batch normalisation + ReLU] as operations of their own, for backends that have
//! kernels for them (flex), with derivatives by hand.
//!
//! Convolution is bilinear, so its gradients are two more products of the same kind and its tangent is
//! a sum of two convolutions, taken in one pass.

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

/// The operations.
#[backend_extension(Flex, Autodiff)]
pub trait Fused: Backend {
    /// `images [tasks, n·sources, channels]` under `weights [tasks, taps·channels, filters]`.
    fn convolve(images: FloatTensor<Self>, weights: FloatTensor<Self>, grid: Arc<Grid>) -> FloatTensor<Self>;

    /// The sum of two convolutions, of `first` and of `second` images and weights.
    fn convolve_two(
        first_images: FloatTensor<Self>,
        first_weights: FloatTensor<Self>,
        second_images: FloatTensor<Self>,
        second_weights: FloatTensor<Self>,
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
        along: FloatTensor<Self>,
        gamma_along: FloatTensor<Self>,
        beta_along: FloatTensor<Self>,
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

    fn norm_relu(x: Values, gamma: Values, beta: Values, norm: Norm) -> Values {
        flex::norm_relu(norm, &x, [&gamma, &beta])
    }

    fn norm_relu_tangent(
        x: Values,
        gamma: Values,
        beta: Values,
        along: Values,
        gamma_along: Values,
        beta_along: Values,
        norm: Norm,
    ) -> Values {
        flex::norm_relu_tangent(norm, &x, [&gamma, &beta], &along, [&gamma_along, &beta_along])
    }
}

/// An operation on N tensors of the flex backend, with the gradients that its N inputs get of its
/// output's.
trait Operation<const N: usize>: Clone + Send + std::fmt::Debug + 'static {
    fn value(&self, inputs: [Values; N]) -> Values;

    /// `None` for an input that is not among `wanted`, or that never gets one.
    fn gradients(&self, inputs: &[Values; N], gradient: Values, wanted: [bool; N]) -> [Option<Values>; N];
}

/// One operation's step in a graph.
#[derive(Debug)]
struct Step<O>(O);

impl<O: Operation<N>, const N: usize> Backward<Flex, N> for Step<O> {
    type State = [Values; N];

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<Flex>(&ops.node);
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let gradients = self.0.gradients(&ops.state, gradient, wanted);
        for (parent, gradient) in ops.parents.into_iter().zip(gradients) {
            if let (Some(parent), Some(gradient)) = (parent, gradient) {
                grads.register::<Flex>(parent.id, gradient);
            }
        }
    }
}

/// Runs `operation` and, where an input is tracked, puts its step into the graph.
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
    match Backward::<Flex, N>::prepare::<C>(Step(operation.clone()), guards).compute_bound().stateful() {
        OpsKind::Tracked(prep) => prep.finish(values.clone(), operation.value(values)),
        OpsKind::UnTracked(prep) => prep.finish(operation.value(values)),
    }
}

/// A convolution, or the sum of several: images and weights in turn.
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

    fn gradients(&self, [a, v, b, w]: &[Values; 4], g: Values, wanted: [bool; 4]) -> [Option<Values>; 4] {
        [
            wanted[0].then(|| flex::input_gradient(&self.0, &g, v)),
            wanted[1].then(|| flex::weight_gradient(&self.0, a, &g)),
            wanted[2].then(|| flex::input_gradient(&self.0, &g, w)),
            wanted[3].then(|| flex::weight_gradient(&self.0, b, &g)),
        ]
    }
}

/// Value of a batch normalisation with ReLU.
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

/// Its tangent.
#[derive(Clone, Debug)]
struct NormReluTangent(Norm);

impl Operation<6> for NormReluTangent {
    fn value(&self, [x, gamma, beta, along, gamma_along, beta_along]: [Values; 6]) -> Values {
        Flex::norm_relu_tangent(x, gamma, beta, along, gamma_along, beta_along, self.0)
    }

    fn gradients(&self, inputs: &[Values; 6], g: Values, _: [bool; 6]) -> [Option<Values>; 6] {
        let [x, gamma, beta, along, gamma_along, _] = inputs;
        let [to_x, to_along, to_gamma, to_gamma_along, to_beta_along] =
            flex::norm_relu_tangent_gradient(self.0, x, [gamma, beta], along, gamma_along, &g);
        [Some(to_x), Some(to_gamma), None, Some(to_along), Some(to_gamma_along), Some(to_beta_along)]
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
        along: FloatTensor<Self>,
        gamma_along: FloatTensor<Self>,
        beta_along: FloatTensor<Self>,
        norm: Norm,
    ) -> FloatTensor<Self> {
        tracked::<C, _, 6>(NormReluTangent(norm), [x, gamma, beta, along, gamma_along, beta_along])
    }
}
