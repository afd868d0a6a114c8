//! Leaky ReLU: x where x > 0 and `negative_slope`·x elsewhere (Maas et al. 2013). ReLU has slope 0.

use super::{Layer, Shape};
use bilevel::Dual;

/// A leaky ReLU, or ReLU.
#[derive(Debug)]
pub struct LeakyRelu {
    shape: Shape,
    negative_slope: f64,
}

impl LeakyRelu {
    /// A leaky ReLU of inputs of this shape.
    pub fn new(shape: Shape, negative_slope: f64) -> Self {
        Self { shape, negative_slope }
    }
}

impl Layer for LeakyRelu {
    fn output(&self) -> Shape {
        self.shape
    }

    fn forward(&self, x: Dual<3>, _weights: &[Dual<3>], _statistics: usize) -> Dual<3> {
        x.leaky_relu(self.negative_slope)
    }
}
