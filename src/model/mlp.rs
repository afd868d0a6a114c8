//! MLP: hidden layers of [linear, batch norm, (leaky) ReLU] and a linear layer (Finn et al. 2017 use 256, 128, 64 and 64
//! units on Omniglot).
//!
//! Hidden layers have no bias, since batch norm would subtract it.

use super::layer::Shape;
use super::{BuildError, Initialisation, Sequential};
use serde::Serialize;

/// Settings of an MLP.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Mlp {
    /// Widths of the hidden layers.
    pub hidden: Vec<usize>,
    /// Slope of the leaky ReLU for negative values, ≥ 0; 0 for ReLU.
    pub negative_slope: f64,
    /// Initial values of the weights.
    pub init: Initialisation,
}

impl Mlp {
    /// The network with ReLU, initialised as for it.
    pub fn new(hidden: &[usize]) -> Self {
        Self { hidden: hidden.to_vec(), negative_slope: 0.0, init: Initialisation::He }
    }

    /// The network for grey images of `pixels` pixels and `ways` classes.
    ///
    /// # Errors
    /// Returns an error if a layer has no units.
    pub fn build(&self, pixels: usize, ways: usize) -> Result<Sequential, BuildError> {
        self.build_on(Shape { height: 1, width: pixels, channels: 1 }, ways)
    }

    /// The network for images of this shape and `ways` classes.
    ///
    /// # Errors
    /// Returns an error if a layer has no units.
    pub fn build_on(&self, images: Shape, ways: usize) -> Result<Sequential, BuildError> {
        let images = Sequential::on(images, self.init);
        let layers = self.hidden.iter().fold(images, |network, width| {
            network.linear(*width).batch_norm().leaky_relu(self.negative_slope)
        });
        layers.head(ways)
    }
}
