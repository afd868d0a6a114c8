//! Backward passes that start at given gradients: without the inner products, of the size of all parameters, whose only
//! use would be their derivative.

#![allow(deprecated)] // Burn deprecates ndarray in favour of flex; it stays selectable here.

#[cfg(feature = "cube")]
use burn::backend::Cube;
#[cfg(feature = "ndarray")]
use burn::backend::NdArray;
use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::Tensor;

/// A tensor whose backward pass gives each of `outputs` its gradient of `gradients`, which are constant; its values have no
/// meaning. `None` if there are no outputs.
pub fn seeded(outputs: &[Tensor<3>], gradients: &[Tensor<3>]) -> Option<Tensor<1>> {
    // Any tensor will do; a small one costs least.
    let start = gradients.iter().min_by_key(|gradient| gradient.dims().iter().product::<usize>())?;
    let start = start.clone().flatten::<1>(0, 2);
    let seed = |total: Tensor<1>, (output, gradient): (&Tensor<3>, &Tensor<3>)| {
        let [output, gradient] = [output, gradient].map(|tensor| tensor.clone().into_dispatch());
        Tensor::from_dispatch(Dispatch::seed_gradient(total.into_dispatch(), output, gradient))
    };
    Some(outputs.iter().zip(gradients).fold(start, seed))
}

/// See [`seeded`].
#[backend_extension(Flex, NdArray: cfg(feature = "ndarray"), Cube: cfg(feature = "cube"), Autodiff)]
pub trait Seed: Backend {
    /// `total`; its backward pass gives `output` the gradient `gradient`.
    fn seed_gradient(
        total: FloatTensor<Self>,
        output: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let _ = (output, gradient);
        total
    }
}

impl Seed for Flex {}

#[cfg(feature = "ndarray")]
impl Seed for NdArray {}

#[cfg(feature = "cube")]
impl Seed for Cube {}

/// Node of the autodiff graph.
#[derive(Debug)]
struct Node;

impl<B: Backend> Backward<B, 2> for Node {
    /// The gradient of the output.
    type State = FloatTensor<B>;

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let one = grads.consume::<B>(&ops.node);
        let [total, output] = ops.parents;
        if let Some(total) = total {
            grads.register::<B>(total.id, one);
        }
        if let Some(output) = output {
            grads.register::<B>(output.id, ops.state);
        }
    }
}

impl<B: Seed, C: CheckpointStrategy> Seed for Autodiff<B, C> {
    fn seed_gradient(
        total: FloatTensor<Self>,
        output: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let (total, total_guard) = total.into_parts();
        let (_, output_guard) = output.into_parts();
        match Backward::<B, 2>::prepare::<C>(Node, [total_guard, output_guard]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(gradient.into_primitive(), total),
            OpsKind::UnTracked(prep) => prep.finish(total),
        }
    }
}
