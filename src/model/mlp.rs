//! MLP: hidden layers of [linear, batch norm, (leaky) ReLU] and a linear layer (Finn et al. 2017 use 256, 128, 64 and 64
//! units on Omniglot, and 40 and 40 without batch norm on sinusoids).
//!
//! Hidden layers have a bias only without batch norm, which would subtract it.

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
    /// Whether hidden layers have batch norm rather than a bias. A configuration says so by `model.batch_norm`.
    #[serde(skip)]
    pub batch_norm: bool,
}

impl Mlp {
    /// The network with batch norm and ReLU, initialised as for it.
    pub fn new(hidden: &[usize]) -> Self {
        Self { hidden: hidden.to_vec(), negative_slope: 0.0, init: Initialisation::He, batch_norm: true }
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
            let network = network.linear(*width);
            let network = if self.batch_norm { network.batch_norm() } else { network.bias() };
            network.leaky_relu(self.negative_slope)
        });
        layers.head(ways)
    }
}
