//! Gathering of rows whose derivative gathers too.
//!
//! Burn differentiates `select` by scattering with addition, which runs through the indices one after
//! the other on a GPU. Here each row knows where it was gathered to, so its gradient is a gather and
//! a sum of a few rows.

#![allow(deprecated)] // Burn prefers flex to ndarray, and so do we; ndarray stays selectable.

#[cfg(feature = "ndarray")]
use burn::backend::NdArray;
use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind, unary},
};
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Autodiff, Backend, Flex, TensorMetadata, backend_extension};
use burn::tensor::Shape;

/// The operation, composed of Burn's on every backend.
#[backend_extension(
    Flex,
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(any(feature = "wgpu", feature = "cuda")),
    Autodiff
)]
pub trait Gather: Backend {
    /// The rows numbered by `rows` of a zero row followed by `values [n, width]`; `back` numbers, for each
    /// row of `values`, the same number of rows of a zero row followed by what is returned: those
    /// that are copies of it, and zero rows.
    fn gather_rows(
        values: FloatTensor<Self>,
        rows: IntTensor<Self>,
        back: IntTensor<Self>,
    ) -> FloatTensor<Self> {
        let _ = back;
        let (device, dtype) = (values.device(), values.dtype());
        let border = Self::float_zeros(Shape::new([1, values.shape()[1]]), &device, dtype.into());
        Self::float_select(Self::float_cat(vec![border, values], 0), 0, rows)
    }
}

impl Gather for Flex {}

#[cfg(feature = "ndarray")]
impl Gather for NdArray {}

#[cfg(any(feature = "wgpu", feature = "cuda"))]
impl Gather for burn::backend::Cube {}

/// Its step in a graph.
#[derive(Debug)]
struct Step;

impl<B: Gather> Backward<B, 1> for Step {
    /// Both numberings, and how many rows there were.
    type State = (IntTensor<B>, IntTensor<B>, usize);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let (rows, back, count) = ops.state;
        unary::<B, _>(ops.parents, ops.node, grads, |gradient| {
            let width = gradient.shape()[1];
            let most = back.shape()[0] / count;
            let copies = B::gather_rows(gradient, back, rows);
            let copies = B::float_reshape(copies, Shape::new([count, most, width]));
            B::float_reshape(B::float_sum_dim(copies, 1), Shape::new([count, width]))
        });
    }
}

impl<B: Gather, C: CheckpointStrategy> Gather for Autodiff<B, C> {
    fn gather_rows(values: FloatTensor<Self>, rows: IntTensor<B>, back: IntTensor<B>) -> FloatTensor<Self> {
        let count = values.shape()[0];
        let (values, guard) = values.into_parts();
        match Backward::<B, 1>::prepare::<C>(Step, [guard]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                prep.finish((rows.clone(), back.clone(), count), B::gather_rows(values, rows, back))
            }
            OpsKind::UnTracked(prep) => prep.finish(B::gather_rows(values, rows, back)),
        }
    }
}
