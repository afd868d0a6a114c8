//! Batch normalisation, and the leaky ReLU after it if there is one: y = f(γ x̂ + β) (Ioffe & Szegedy 2015).

use super::{EPSILON, Layer, Shape};
use crate::model::{Leaf, Role, leaf::vector};
use bilevel::Dual;

/// Batch normalisation of each channel.
#[derive(Debug)]
pub struct BatchNorm {
    shape: Shape,
    /// γ and β.
    leaves: [Leaf; 2],
    /// Slope of the leaky ReLU that follows.
    negative_slope: Option<f64>,
}

impl BatchNorm {
    /// Batch normalisation of inputs of this shape. γ is 1 at the start, and β 0.
    pub fn new(name: &str, shape: Shape) -> Self {
        let leaf = |part, value| vector(format!("{name}.{part}"), shape.channels, value, Role::Norm);
        Self { shape, leaves: [leaf("weight", 1.0), leaf("bias", 0.0)], negative_slope: None }
    }
}

impl Layer for BatchNorm {
    fn leaves(&self) -> &[Leaf] {
        &self.leaves
    }

    fn output(&self) -> Shape {
        self.shape
    }

    fn forward(&self, x: Dual<3>, weights: &[Dual<3>], statistics: usize) -> Dual<3> {
        let (gamma, beta) = (weights[0].clone(), weights[1].clone());
        // A slope of 1 is no activation.
        let slope = self.negative_slope.unwrap_or(1.0);
        x.batch_norm_leaky_relu(gamma, beta, statistics * self.shape.pixels(), EPSILON, slope)
    }

    fn absorb_leaky_relu(&mut self, negative_slope: f64) -> bool {
        let is_free = self.negative_slope.is_none();
        self.negative_slope.get_or_insert(negative_slope);
        is_free
    }
}
