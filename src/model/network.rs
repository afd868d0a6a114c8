//! The list of networks. To add one, build it from layers in a new file of this folder and add a variant here.

use super::{Architecture, Conv4, Mlp, ResNet};
use serde::Serialize;
use std::sync::Arc;

/// Settings of a network. Each ends with a linear layer to the classes.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Network {
    /// Blocks of 3×3 convolution, batch norm and ReLU, each of which halves the image.
    Conv4(Conv4),
    /// Fully connected layers with ReLU, and batch norm or biases.
    Mlp(Mlp),
    /// Stages of residual blocks.
    ResNet(ResNet),
}

impl Network {
    /// The network for grey images of `side`² pixels, or for single numbers with `side` 1, and `ways` classes or outputs.
    ///
    /// # Panics
    /// Panics if the settings do not fit the images, which a configuration's check rules out.
    pub fn build(&self, side: usize, ways: usize) -> Arc<dyn Architecture> {
        let built = match self {
            Self::Conv4(network) => network.build(side, ways),
            Self::Mlp(network) => network.build(side * side, ways),
            Self::ResNet(network) => network.build(side, ways),
        };
        Arc::new(built.unwrap_or_else(|error| panic!("{error}")))
    }
}
