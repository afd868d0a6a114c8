//! `Dual`: a tensor that may carry a tangent (forward-mode differentiation).
//!
//! A loss written on `Dual`s is the plain loss when nothing carries a tangent, at no extra cost.
//! When the parameters carry `v`, the loss's tangent is the directional derivative `∇L·v`, made of
//! ordinary tensor operations, so one ordinary `backward()` of it gives the Hessian-vector product
//! `∇(∇L·v) = ∇²L v`, and with it the mixed product for any other leaf (METHOD: "how to get the
//! products from first-order reverse mode"; Pearlmutter, *Fast exact multiplication by the
//! Hessian*, 1994, has the same operator by hand).

mod batch_norm;
mod convolve;
mod ops;

use burn::tensor::Tensor;

/// A tensor and, where one was pushed in, its derivative along one direction.
///
/// `None` means a tangent of zero: constants cost nothing.
#[derive(Clone, Debug)]
pub struct Dual<const D: usize> {
    /// The value.
    pub primal: Tensor<D>,
    /// The value's derivative along the pushed direction, of the same shape.
    pub tangent: Option<Tensor<D>>,
}

impl<const D: usize> Dual<D> {
    /// A value that does not move: tangent zero.
    pub fn constant(primal: Tensor<D>) -> Self {
        Self { primal, tangent: None }
    }

    /// A value moving along `tangent`, of the same shape.
    pub fn moving(primal: Tensor<D>, tangent: Tensor<D>) -> Self {
        Self { primal, tangent: Some(tangent) }
    }

    /// The derivative, zeros if it does not move.
    fn into_tangent(self) -> Tensor<D> {
        self.tangent.unwrap_or_else(|| self.primal.zeros_like())
    }

    /// The shape.
    pub fn dims(&self) -> [usize; D] {
        self.primal.dims()
    }
}
