//! Bias of a convolution or a linear layer: y = x + b.

use super::{Layer, Shape};
use crate::model::{Leaf, Role, leaf::vector};
use bilevel::Dual;

/// A bias for each channel.
#[derive(Debug)]
pub struct Bias {
    shape: Shape,
    leaf: Leaf,
}

impl Bias {
    /// The bias of the layer `name` with outputs of this shape; 0 at the start.
    pub fn new(name: &str, shape: Shape) -> Self {
        Self { shape, leaf: vector(format!("{name}.bias"), shape.channels, 0.0, Role::Weight) }
    }
}

impl Layer for Bias {
    fn leaves(&self) -> &[Leaf] {
        std::slice::from_ref(&self.leaf)
    }

    fn output(&self) -> Shape {
        self.shape
    }

    fn forward(&self, x: Dual<3>, weights: &[Dual<3>], _statistics: usize) -> Dual<3> {
        x + weights[0].clone()
    }
}
