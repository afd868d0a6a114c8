//! The list of networks. To add one, build it from layers in a new file of this folder and add a variant here.

use super::{Architecture, Conv4, Mlp, ResNet, Shape};
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
    /// The network for inputs of this shape, images or single numbers, and `ways` classes or outputs.
    ///
    /// # Panics
    /// Panics if the settings do not fit the images, which a configuration's check rules out.
    pub fn build(&self, images: Shape, ways: usize) -> Arc<dyn Architecture> {
        let built = match self {
            Self::Conv4(network) => network.build_on(images, ways),
            Self::Mlp(network) => network.build_on(images, ways),
            Self::ResNet(network) => network.build_on(images, ways),
        };
        Arc::new(built.unwrap_or_else(|error| panic!("{error}")))
    }
}
