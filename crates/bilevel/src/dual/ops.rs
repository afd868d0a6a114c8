//! Differentiation rules: what each operation does to a value and its tangent.
//!
//! Linear operations act on both in the same way, and bilinear ones obey the product rule, so only the nonlinear
//! functions have derivatives of their own.

use super::Dual;
use burn::tensor::{Tensor, activation};
use std::ops::{Add, Mul, Sub};

impl<const D: usize> Dual<D> {
    /// A linear map, applied to the value and to the tangent.
    pub fn linear<const E: usize>(self, map: impl Fn(Tensor<D>) -> Tensor<E>) -> Dual<E> {
        Dual { tangent: self.tangent.map(&map), primal: map(self.primal) }
    }

    /// A bilinear map: `d f(a, b) = f(da, b) + f(a, db)`.
    pub fn bilinear<const E: usize, const F: usize>(
        self,
        other: Dual<E>,
        map: impl Fn(Tensor<D>, Tensor<E>) -> Tensor<F>,
    ) -> Dual<F> {
        let left = self.tangent.map(|tangent| map(tangent, other.primal.clone()));
        let right = other.tangent.map(|tangent| map(self.primal.clone(), tangent));
        Dual { tangent: sum_of(left, right), primal: map(self.primal, other.primal) }
    }

    /// A nonlinear function: `push` maps the tangent of x and the value of the function to the tangent of the function.
    fn nonlinear(
        self,
        value: impl Fn(Tensor<D>) -> Tensor<D>,
        push: impl Fn(Tensor<D>, &Tensor<D>) -> Tensor<D>,
    ) -> Self {
        let primal = value(self.primal);
        Dual { tangent: self.tangent.map(|tangent| push(tangent, &primal)), primal }
    }

    /// Matrix product over the last two dimensions, batched over the others.
    pub fn matmul(self, other: Self) -> Self {
        self.bilinear(other, Tensor::matmul)
    }

    /// Multiplies by a number.
    pub fn scale(self, factor: f64) -> Self {
        self.linear(|x| x.mul_scalar(factor))
    }

    /// Sums over dimension `dim`, which is kept with length 1.
    pub fn sum_dim(self, dim: usize) -> Self {
        self.linear(|x| x.sum_dim(dim))
    }

    /// The same elements in another shape.
    pub fn reshape<const E: usize>(self, shape: [usize; E]) -> Dual<E> {
        self.linear(|x| x.reshape(shape))
    }

    /// `length` entries of dimension `dim`, beginning at `start`.
    pub fn narrow(self, dim: usize, start: usize, length: usize) -> Self {
        self.linear(|x| x.narrow(dim, start, length))
    }

    /// `max(x, 0)`; the derivative at 0 is taken to be 0.
    pub fn relu(self) -> Self {
        self.nonlinear(activation::relu, |tangent, y| tangent.mask_fill(y.clone().lower_equal_scalar(0), 0))
    }

    /// x where x > 0 and `negative_slope`·x elsewhere; the derivative at 0 is `negative_slope`, which must be ≥ 0.
    pub fn leaky_relu(self, negative_slope: f64) -> Self {
        if negative_slope == 0.0 {
            return self.relu();
        }
        if negative_slope == 1.0 {
            return self;
        }
        let below = |x: Tensor<D>, y: &Tensor<D>| {
            x.clone().mask_where(y.clone().lower_equal_scalar(0), x.mul_scalar(negative_slope))
        };
        self.nonlinear(|x| below(x.clone(), &x), below)
    }

    /// `σ(x) = 1/(1 + e^{-x})`, with derivative `σ(1 − σ)`.
    pub fn sigmoid(self) -> Self {
        self.nonlinear(activation::sigmoid, |tangent, y| tangent * y.clone() * (1 - y.clone()))
    }

    /// `x − log Σ e^x` over dimension `dim`; its tangent is `ẋ − Σ softmax(x)·ẋ`.
    pub fn log_softmax(self, dim: usize) -> Self {
        self.nonlinear(
            |x| activation::log_softmax(x, dim),
            |tangent, y| tangent.clone() - (y.clone().exp() * tangent).sum_dim(dim),
        )
    }
}

impl Dual<3> {
    /// The sum of squares of each task: `[tasks, rows, columns]` → `[tasks]`.
    pub fn squared_norm(self) -> Dual<1> {
        let [tasks, rows, columns] = self.dims();
        (self.clone() * self).reshape([tasks, rows * columns]).sum_dim(1).reshape([tasks])
    }
}

impl<const D: usize> Add for Dual<D> {
    type Output = Self;

    /// Sum, broadcasting dimensions of length 1.
    fn add(self, other: Self) -> Self {
        let tangent = sum_of(
            self.tangent.map(|tangent| broadcast(tangent, &other.primal)),
            other.tangent.map(|tangent| broadcast(tangent, &self.primal)),
        );
        Dual { tangent, primal: self.primal + other.primal }
    }
}

impl<const D: usize> Sub for Dual<D> {
    type Output = Self;

    /// Difference, broadcasting dimensions of length 1.
    fn sub(self, other: Self) -> Self {
        self.add(other.linear(Tensor::neg))
    }
}

impl<const D: usize> Mul for Dual<D> {
    type Output = Self;

    /// Elementwise product, broadcasting dimensions of length 1.
    fn mul(self, other: Self) -> Self {
        self.bilinear(other, Tensor::mul)
    }
}

/// The sum of two tangents, either of which may be zero (`None`).
pub(super) fn sum_of<const D: usize>(left: Option<Tensor<D>>, right: Option<Tensor<D>>) -> Option<Tensor<D>> {
    match (left, right) {
        (Some(left), Some(right)) => Some(left + right),
        (left, right) => left.or(right),
    }
}

/// Broadcasts `tangent` to the shape of its sum with `other`: the tangent of a sum has the shape of the sum.
fn broadcast<const D: usize>(tangent: Tensor<D>, other: &Tensor<D>) -> Tensor<D> {
    let own = tangent.dims();
    let theirs = other.dims();
    let shape: [usize; D] = std::array::from_fn(|dim| own[dim].max(theirs[dim]));
    if own == shape { tangent } else { tangent.expand(shape) }
}
