//! Conv4: blocks of [3×3 convolution, batch norm, (leaky) ReLU], each of which halves the image, and a linear layer.
//!
//! The image is halved by a convolution of stride 2 (Finn et al. 2017, for Omniglot), or by 2×2 max-pooling after a
//! convolution of stride 1 (Vinyals et al. 2016; Antoniou et al., *How to train your MAML*, 2019).

use super::layer::Shape;
use super::{BuildError, Initialisation, Sequential};
use bilevel::choice;
use bilevel::kernel::Window;
use serde::Serialize;

choice! {
    /// How a block halves the height and width of the image.
    pub enum Pool {
        /// By a convolution of stride 2; odd sides are rounded up.
        Stride = "stride",
        /// By 2×2 max-pooling after a convolution of stride 1; odd sides are rounded down.
        Max = "max",
    }
}

impl Pool {
    /// How often `side` ≥ 1 pixels can be halved until one is left: the largest number of blocks.
    pub fn halvings(self, side: usize) -> usize {
        match self {
            Self::Stride => side.next_power_of_two().ilog2() as usize,
            Self::Max => side.ilog2() as usize,
        }
    }
}

/// Settings of a Conv4.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Conv4 {
    /// Filters of each convolution, 1 to 4096.
    pub filters: usize,
    /// Blocks, 1 to [`Pool::halvings`] of the image size.
    pub blocks: usize,
    /// How a block halves the image.
    pub pool: Pool,
    /// Whether convolutions have a bias, though batch norm subtracts it again.
    pub bias: bool,
    /// Slope of the leaky ReLU for negative values, ≥ 0; 0 for ReLU.
    pub negative_slope: f64,
    /// Initial values of the weights.
    pub init: Initialisation,
}

impl Conv4 {
    /// The network with stride, without bias, with ReLU, and initialised as for it.
    pub fn new(filters: usize, blocks: usize) -> Self {
        let (pool, init) = (Pool::Stride, Initialisation::He);
        Self { filters, blocks, pool, bias: false, negative_slope: 0.0, init }
    }

    /// The network for grey images of `side`² pixels and `ways` classes.
    ///
    /// # Errors
    /// Returns an error if the image is too small for the blocks.
    pub fn build(&self, side: usize, ways: usize) -> Result<Sequential, BuildError> {
        self.build_on(Shape::square(side, 1), ways)
    }

    /// The network for images of this shape and `ways` classes.
    ///
    /// # Errors
    /// Returns an error if the image is too small for the blocks.
    pub fn build_on(&self, images: Shape, ways: usize) -> Result<Sequential, BuildError> {
        let stride = if self.pool == Pool::Stride { 2 } else { 1 };
        let window = Window { size: 3, stride, padding: 1 };
        let images = Sequential::on(images, self.init);
        let blocks = (0..self.blocks).fold(images, |network, _| {
            let network = network.convolution(self.filters, window);
            let network = if self.bias { network.bias() } else { network };
            let network = network.batch_norm().leaky_relu(self.negative_slope);
            if self.pool == Pool::Max { network.max_pool(2) } else { network }
        });
        blocks.head(ways)
    }
}
