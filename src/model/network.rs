//! The list of networks. To add one, implement [`Architecture`] in a new file of this folder and add a variant here.

use super::{Architecture, Conv4Config, MlpConfig};
use serde::Serialize;
use std::sync::Arc;

/// Settings of a network. Each ends with a linear layer to the classes.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Network {
    /// Blocks of 3×3 convolution with stride 2, batch norm and ReLU (Vinyals et al. 2016).
    Conv4 {
        /// Filters of each convolution, 1 to 4096.
        filters: usize,
        /// Blocks, 1 to [`halvings`] of the image size.
        blocks: usize,
    },
    /// Fully connected layers with batch norm and ReLU.
    Mlp {
        /// Widths of the hidden layers, at least one.
        hidden: Vec<usize>,
    },
}

impl Network {
    /// The network for images of `side`² pixels and `ways` classes.
    pub fn build(&self, side: usize, ways: usize) -> Arc<dyn Architecture> {
        match self {
            Self::Conv4 { filters, blocks } => Arc::new(Conv4Config::new(side, *blocks, *filters, ways)),
            Self::Mlp { hidden } => Arc::new(MlpConfig::new(side * side, hidden, ways)),
        }
    }
}

/// How often `size` ≥ 1 pixels can be halved, rounding up, until one is left: the largest number of blocks of a Conv4.
pub fn halvings(size: usize) -> usize {
    size.next_power_of_two().ilog2() as usize
}
