//! Row gathering whose derivative is a gather too.
//!
//! Burn differentiates `select` by a scatter-add, which on a GPU processes the indices one after the other. Here the
//! inverse indices are known: the gradient of each row is a gather and a sum of a few rows.

#![allow(deprecated)] // Burn deprecates ndarray in favour of flex; it stays selectable here.

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

/// Row gathering, composed of Burn's operations on every backend.
#[backend_extension(
    Flex,
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(feature = "cube"),
    Autodiff
)]
pub trait Gather: Backend {
    /// Prepends a zero row to `values [n, width]` and returns the rows at `rows`.
    ///
    /// `inverse [n·copies]` gives, for each row of `values`, the indices of its copies in the result, where index 0 is
    /// again a prepended zero row, used as padding so that every row of `values` has the same number of indices.
    fn gather_rows(
        values: FloatTensor<Self>,
        rows: IntTensor<Self>,
        inverse: IntTensor<Self>,
    ) -> FloatTensor<Self> {
        let _ = inverse;
        let (device, dtype) = (values.device(), values.dtype());
        let border = Self::float_zeros(Shape::new([1, values.shape()[1]]), &device, dtype.into());
        Self::float_select(Self::float_cat(vec![border, values], 0), 0, rows)
    }
}

impl Gather for Flex {}

#[cfg(feature = "ndarray")]
impl Gather for NdArray {}

#[cfg(feature = "cube")]
impl Gather for burn::backend::Cube {}

/// Node of the autodiff graph.
#[derive(Debug)]
struct Node;

impl<B: Gather> Backward<B, 1> for Node {
    /// `rows`, `inverse`, and the number of rows of `values`.
    type State = (IntTensor<B>, IntTensor<B>, usize);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let (rows, inverse, count) = ops.state;
        unary::<B, _>(ops.parents, ops.node, grads, |gradient| {
            let width = gradient.shape()[1];
            let copies_per_row = inverse.shape()[0] / count;
            let copies = B::gather_rows(gradient, inverse, rows);
            let copies = B::float_reshape(copies, Shape::new([count, copies_per_row, width]));
            B::float_reshape(B::float_sum_dim(copies, 1), Shape::new([count, width]))
        });
    }
}

impl<B: Gather, C: CheckpointStrategy> Gather for Autodiff<B, C> {
    fn gather_rows(
        values: FloatTensor<Self>,
        rows: IntTensor<B>,
        inverse: IntTensor<B>,
    ) -> FloatTensor<Self> {
        let count = values.shape()[0];
        let (values, guard) = values.into_parts();
        match Backward::<B, 1>::prepare::<C>(Node, [guard]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                prep.finish((rows.clone(), inverse.clone(), count), B::gather_rows(values, rows, inverse))
            }
            OpsKind::UnTracked(prep) => prep.finish(B::gather_rows(values, rows, inverse)),
        }
    }
}
