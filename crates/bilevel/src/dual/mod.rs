//! `Dual`: a tensor that may carry a tangent (forward-mode differentiation).
//!
//! If no input carries a tangent, a loss written on `Dual`s is the plain loss, at no extra cost. If the parameters
//! carry the tangent `v`, the tangent of the loss is the directional derivative `∇L·v`. It consists of ordinary
//! tensor operations, so one ordinary `backward()` of it gives the Hessian-vector product `∇(∇L·v) = ∇²L v`, and the
//! mixed product for any other leaf (docs/mathematics.md, "Exact gradient"; Pearlmutter, *Fast exact multiplication
//! by the Hessian*, 1994, derives the same operator by hand).

mod batch_norm;
mod convolve;
mod cross_entropy;
mod ops;
mod pool;

use burn::tensor::Tensor;

/// A tensor and, optionally, its derivative along one direction (its tangent).
///
/// A tangent of `None` is zero, so constants cost nothing.
///
/// The Hessian of f(x) = Σ x⁴ is diag(12 x²); its product with v is the gradient of the tangent of f along v:
///
/// ```
/// use bilevel::Dual;
/// use burn::tensor::{Device, Tensor};
///
/// let device = Device::flex();
/// let x = Tensor::<2>::from_data([[1.0, 2.0]], &device).autodiff().require_grad();
/// let v = Tensor::<2>::from_data([[1.0, -1.0]], &device);
///
/// let square = |x: Dual<2>| x.clone() * x;
/// let f = square(square(Dual::moving(x.clone(), v))).sum_dim(1);
/// let slope = f.tangent.expect("x carries a tangent"); // ∇f·v = Σ 4 x³ v
///
/// let product = x.grad(&slope.sum().backward()).expect("f depends on x");
/// assert_eq!(product.into_data().iter::<f64>().collect::<Vec<_>>(), [12.0, -48.0]);
/// ```
#[derive(Clone, Debug)]
pub struct Dual<const D: usize> {
    /// The value.
    pub primal: Tensor<D>,
    /// The derivative of the value along the direction, of the same shape; `None` if it is zero.
    pub tangent: Option<Tensor<D>>,
}

impl<const D: usize> Dual<D> {
    /// A constant: its tangent is zero.
    pub fn constant(primal: Tensor<D>) -> Self {
        Self { primal, tangent: None }
    }

    /// A value with the given `tangent`, of the same shape.
    pub fn moving(primal: Tensor<D>, tangent: Tensor<D>) -> Self {
        Self { primal, tangent: Some(tangent) }
    }

    /// The tangent, as zeros if there is none.
    fn into_tangent(self) -> Tensor<D> {
        self.tangent.unwrap_or_else(|| self.primal.zeros_like())
    }

    /// The shape of the value.
    pub fn dims(&self) -> [usize; D] {
        self.primal.dims()
    }
}
