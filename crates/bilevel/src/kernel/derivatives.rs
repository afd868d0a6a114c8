//! The autodiff nodes of the fused operations, generic over the backend.
//!
//! Burn's nodes have one output. A [pair](tracked_pair) has two: a node without a gradient of its own, and two children
//! that stand for the outputs. Each child hands its gradient over to the node, which runs after both and then computes
//! all gradients at once. A child that nothing depends on does not run, and its gradient is absent.

use super::Grid;
use super::flex::Norm;
use super::fused::{Derivatives, Fused};
use super::tensors::Tensors;
use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::{Autodiff, AutodiffBackend, Backend, tensor::FloatTensor};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

/// A differentiable operation on N tensors.
pub trait Operation<B: Backend, const N: usize>: Clone + Send + Debug + 'static {
    fn value(&self, inputs: [FloatTensor<B>; N]) -> FloatTensor<B>;

    /// The gradients of the inputs, given the `gradient` of the output; `None` for those not `needed` or always zero.
    fn gradients(
        &self,
        inputs: &[FloatTensor<B>; N],
        gradient: FloatTensor<B>,
        needed: [bool; N],
    ) -> [Option<FloatTensor<B>>; N];
}

/// Node of the autodiff graph.
#[derive(Debug)]
struct Node<O>(O);

impl<B: Backend, O: Operation<B, N>, const N: usize> Backward<B, N> for Node<O> {
    type State = [FloatTensor<B>; N];

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let needed = ops.parents.each_ref().map(Option::is_some);
        let gradients = self.0.gradients(&ops.state, gradient, needed);
        for (parent, gradient) in ops.parents.into_iter().zip(gradients) {
            if let (Some(parent), Some(gradient)) = (parent, gradient) {
                grads.register::<B>(parent.id, gradient);
            }
        }
    }
}

/// Runs `operation`, and adds a node to the autodiff graph if an input is tracked.
pub fn tracked<B: Backend, C: CheckpointStrategy, O: Operation<B, N>, const N: usize>(
    operation: O,
    inputs: [FloatTensor<Autodiff<B, C>>; N],
) -> FloatTensor<Autodiff<B, C>> {
    let mut values = Vec::with_capacity(N);
    let guards = inputs.map(|input| {
        let (value, guard) = input.into_parts();
        values.push(value);
        guard
    });
    let Ok(values) = <[FloatTensor<B>; N]>::try_from(values) else {
        unreachable!("one value for each input")
    };
    match Backward::<B, N>::prepare::<C>(Node(operation.clone()), guards).compute_bound().stateful() {
        OpsKind::Tracked(prep) => prep.finish(values.clone(), operation.value(values)),
        OpsKind::UnTracked(prep) => prep.finish(operation.value(values)),
    }
}

/// A differentiable operation on N tensors, some of which may be absent, with two outputs.
pub trait PairOperation<B: Backend, const N: usize>: Clone + Send + Debug + 'static {
    fn value(&self, inputs: [Option<FloatTensor<B>>; N]) -> [FloatTensor<B>; 2];

    /// The gradients of the inputs, given those of the outputs, at least one of which is present; `None` for those not
    /// `needed` or always zero.
    fn gradients(
        &self,
        inputs: &[Option<FloatTensor<B>>; N],
        gradients: [Option<FloatTensor<B>>; 2],
        needed: [bool; N],
    ) -> [Option<FloatTensor<B>>; N];
}

/// The gradients of a pair's outputs, filled by its children.
type Handover<B> = Arc<Mutex<[Option<FloatTensor<B>>; 2]>>;

/// Node of a pair.
#[derive(Debug)]
struct PairNode<O>(O);

/// Node of an output of a pair: the first or the second.
#[derive(Debug)]
struct Output(usize);

impl<B: Backend, O: PairOperation<B, N>, const N: usize> Backward<B, N> for PairNode<O> {
    type State = ([Option<FloatTensor<B>>; N], Handover<B>);

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let (inputs, handover) = ops.state;
        let gradients = std::mem::take(&mut *handover.lock().unwrap_or_else(PoisonError::into_inner));
        let needed = std::array::from_fn(|at| ops.parents[at].is_some() && inputs[at].is_some());
        let gradients = self.0.gradients(&inputs, gradients, needed);
        for ((parent, gradient), needed) in ops.parents.into_iter().zip(gradients).zip(needed) {
            if let (Some(parent), Some(gradient), true) = (parent, gradient, needed) {
                grads.register::<B>(parent.id, gradient);
            }
        }
    }
}

impl<B: Backend> Backward<B, 1> for Output {
    type State = Handover<B>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        ops.state.lock().unwrap_or_else(PoisonError::into_inner)[self.0] = Some(gradient);
    }
}

/// Runs `operation`, and adds its nodes to the autodiff graph if an input is tracked. The first input is present.
#[allow(clippy::type_complexity, reason = "a pair of tensors")]
pub fn tracked_pair<B: Backend, C: CheckpointStrategy, O: PairOperation<B, N>, const N: usize>(
    operation: O,
    inputs: [Option<FloatTensor<Autodiff<B, C>>>; N],
) -> (FloatTensor<Autodiff<B, C>>, FloatTensor<Autodiff<B, C>>) {
    let Some(first) = inputs[0].clone() else { unreachable!("the first input is present") };
    let mut values = Vec::with_capacity(N);
    let guards = inputs.map(|input| match input {
        Some(input) => {
            let (value, guard) = input.into_parts();
            values.push(Some(value));
            guard
        }
        None => {
            values.push(None);
            // A node has a fixed number of parents; this one gets no gradient.
            first.node()
        }
    });
    let Ok(values) = <[Option<FloatTensor<B>>; N]>::try_from(values) else {
        unreachable!("one value for each input")
    };
    let [y, tangent] = operation.value(values.clone());
    match Backward::<B, N>::prepare::<C>(PairNode(operation), guards).compute_bound().stateful() {
        OpsKind::UnTracked(prep) => (prep.finish(y), Autodiff::<B, C>::from_inner(tangent)),
        OpsKind::Tracked(prep) => {
            let handover = Handover::<B>::default();
            let pair = prep.finish((values, handover.clone()), y.clone());
            let output = |index, value| match Backward::<B, 1>::prepare::<C>(Output(index), [pair.node()])
                .compute_bound()
                .stateful()
            {
                OpsKind::Tracked(prep) => prep.finish(handover.clone(), value),
                OpsKind::UnTracked(_) => unreachable!("the pair is tracked"),
            };
            (output(0, y), output(1, tangent))
        }
    }
}

/// One convolution (images, weights), the sum of two (images, weights, images, weights), or a pair (images, weights,
/// their tangents).
#[derive(Clone, Debug)]
struct Convolution(Arc<Grid>);

impl<B: Derivatives> Operation<B, 2> for Convolution {
    fn value(&self, [images, weights]: [FloatTensor<B>; 2]) -> FloatTensor<B> {
        B::convolve(images, weights, self.0.clone())
    }

    fn gradients(
        &self,
        [images, weights]: &[FloatTensor<B>; 2],
        g: FloatTensor<B>,
        [left, right]: [bool; 2],
    ) -> [Option<FloatTensor<B>>; 2] {
        [
            left.then(|| B::input_gradient(&self.0, &g, weights)),
            right.then(|| B::weight_gradient(&self.0, images, &g)),
        ]
    }
}

impl<B: Derivatives> Operation<B, 4> for Convolution {
    fn value(&self, [a, v, b, w]: [FloatTensor<B>; 4]) -> FloatTensor<B> {
        B::convolve_two(a, v, b, w, self.0.clone())
    }

    fn gradients(
        &self,
        [a, v, b, w]: &[FloatTensor<B>; 4],
        g: FloatTensor<B>,
        needed: [bool; 4],
    ) -> [Option<FloatTensor<B>>; 4] {
        [
            needed[0].then(|| B::input_gradient(&self.0, &g, v)),
            needed[1].then(|| B::weight_gradient(&self.0, a, &g)),
            needed[2].then(|| B::input_gradient(&self.0, &g, w)),
            needed[3].then(|| B::weight_gradient(&self.0, b, &g)),
        ]
    }
}

impl<B: Derivatives> PairOperation<B, 4> for Convolution {
    fn value(&self, [images, weights, moving, turning]: [Option<FloatTensor<B>>; 4]) -> [FloatTensor<B>; 2] {
        let (Some(images), Some(weights)) = (images, weights) else {
            unreachable!("only tangents may be absent")
        };
        B::convolve_pair(images, weights, Tensors(vec![moving, turning]), self.0.clone()).into()
    }

    fn gradients(
        &self,
        inputs: &[Option<FloatTensor<B>>; 4],
        gradients: [Option<FloatTensor<B>>; 2],
        needed: [bool; 4],
    ) -> [Option<FloatTensor<B>>; 4] {
        B::convolve_pair_gradients(&self.0, inputs, gradients, needed)
    }
}

/// Max-pooling: the value of x, or the tangent of (x, ẋ).
#[derive(Clone, Debug)]
struct MaxPool(Arc<Grid>);

impl<B: Derivatives> Operation<B, 1> for MaxPool {
    fn value(&self, [x]: [FloatTensor<B>; 1]) -> FloatTensor<B> {
        B::max_pool(x, self.0.clone())
    }

    fn gradients(
        &self,
        [x]: &[FloatTensor<B>; 1],
        g: FloatTensor<B>,
        _: [bool; 1],
    ) -> [Option<FloatTensor<B>>; 1] {
        [Some(B::max_pool_gradient(&self.0, x, &g))]
    }
}

impl<B: Derivatives> Operation<B, 2> for MaxPool {
    fn value(&self, [x, x_tangent]: [FloatTensor<B>; 2]) -> FloatTensor<B> {
        B::max_pool_tangent(x, x_tangent, self.0.clone())
    }

    fn gradients(
        &self,
        [x, _]: &[FloatTensor<B>; 2],
        g: FloatTensor<B>,
        [_, moving]: [bool; 2],
    ) -> [Option<FloatTensor<B>>; 2] {
        [None, moving.then(|| B::max_pool_gradient(&self.0, x, &g))]
    }
}

/// Batch normalisation with leaky ReLU: the value, or a pair (x, γ, β, ẋ, γ̇, β̇).
#[derive(Clone, Debug)]
struct NormRelu(Norm);

impl<B: Derivatives> Operation<B, 3> for NormRelu {
    fn value(&self, [x, gamma, beta]: [FloatTensor<B>; 3]) -> FloatTensor<B> {
        B::norm_relu(x, gamma, beta, self.0)
    }

    fn gradients(
        &self,
        [x, gamma, beta]: &[FloatTensor<B>; 3],
        g: FloatTensor<B>,
        _: [bool; 3],
    ) -> [Option<FloatTensor<B>>; 3] {
        B::norm_relu_gradient(self.0, [x, gamma, beta], &g).map(Some)
    }
}

impl<B: Derivatives> PairOperation<B, 6> for NormRelu {
    fn value(&self, inputs: [Option<FloatTensor<B>>; 6]) -> [FloatTensor<B>; 2] {
        let [Some(x), Some(gamma), Some(beta), x_tangent, gamma_tangent, beta_tangent] = inputs else {
            unreachable!("only tangents may be absent")
        };
        let tangents = Tensors(vec![x_tangent, gamma_tangent, beta_tangent]);
        B::norm_relu_pair(x, gamma, beta, tangents, self.0).into()
    }

    fn gradients(
        &self,
        inputs: &[Option<FloatTensor<B>>; 6],
        gradients: [Option<FloatTensor<B>>; 2],
        _: [bool; 6],
    ) -> [Option<FloatTensor<B>>; 6] {
        B::norm_relu_pair_gradients(self.0, inputs, gradients)
    }
}

/// Batch normalisation with leaky ReLU: the tangent.
#[derive(Clone, Debug)]
struct NormReluTangent(Norm);

impl<B: Derivatives> Operation<B, 6> for NormReluTangent {
    fn value(
        &self,
        [x, gamma, beta, x_tangent, gamma_tangent, beta_tangent]: [FloatTensor<B>; 6],
    ) -> FloatTensor<B> {
        B::norm_relu_tangent(x, gamma, beta, x_tangent, gamma_tangent, beta_tangent, self.0)
    }

    fn gradients(
        &self,
        inputs: &[FloatTensor<B>; 6],
        g: FloatTensor<B>,
        _: [bool; 6],
    ) -> [Option<FloatTensor<B>>; 6] {
        let [x, gamma, beta, x_tangent, gamma_tangent, _] = inputs;
        let [to_x, to_x_tangent, to_gamma, to_gamma_tangent, to_beta_tangent] =
            B::norm_relu_tangent_gradient(self.0, [x, gamma, beta], x_tangent, gamma_tangent, &g);
        [Some(to_x), Some(to_gamma), None, Some(to_x_tangent), Some(to_gamma_tangent), Some(to_beta_tangent)]
    }
}

impl<B: Derivatives, C: CheckpointStrategy> Fused for Autodiff<B, C> {
    fn convolve(images: FloatTensor<Self>, weights: FloatTensor<Self>, grid: Arc<Grid>) -> FloatTensor<Self> {
        tracked::<B, C, _, 2>(Convolution(grid), [images, weights])
    }

    fn convolve_two(
        first_images: FloatTensor<Self>,
        first_weights: FloatTensor<Self>,
        second_images: FloatTensor<Self>,
        second_weights: FloatTensor<Self>,
        grid: Arc<Grid>,
    ) -> FloatTensor<Self> {
        tracked::<B, C, _, 4>(Convolution(grid), [first_images, first_weights, second_images, second_weights])
    }

    fn convolve_pair(
        images: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        tangents: Tensors<Self>,
        grid: Arc<Grid>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let [images_tangent, weights_tangent] = tangents.into_array();
        let inputs = [Some(images), Some(weights), images_tangent, weights_tangent];
        tracked_pair::<B, C, _, 4>(Convolution(grid), inputs)
    }

    fn max_pool(x: FloatTensor<Self>, grid: Arc<Grid>) -> FloatTensor<Self> {
        tracked::<B, C, _, 1>(MaxPool(grid), [x])
    }

    fn max_pool_tangent(
        x: FloatTensor<Self>,
        x_tangent: FloatTensor<Self>,
        grid: Arc<Grid>,
    ) -> FloatTensor<Self> {
        tracked::<B, C, _, 2>(MaxPool(grid), [x, x_tangent])
    }

    fn norm_relu(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        norm: Norm,
    ) -> FloatTensor<Self> {
        tracked::<B, C, _, 3>(NormRelu(norm), [x, gamma, beta])
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
        let inputs = [x, gamma, beta, x_tangent, gamma_tangent, beta_tangent];
        tracked::<B, C, _, 6>(NormReluTangent(norm), inputs)
    }

    fn norm_relu_pair(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        tangents: Tensors<Self>,
        norm: Norm,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let [x_tangent, gamma_tangent, beta_tangent] = tangents.into_array();
        let inputs = [Some(x), Some(gamma), Some(beta), x_tangent, gamma_tangent, beta_tangent];
        tracked_pair::<B, C, _, 6>(NormRelu(norm), inputs)
    }
}
