//! ResNet: four stages of residual blocks, the mean over all pixels, and a linear layer (He et al. 2016).
//!
//! A block is [3×3 convolution, batch norm, ReLU, 3×3 convolution, batch norm], plus its input, then ReLU. The first block
//! of a stage halves the image by strides of 2, and its input passes a 1×1 convolution of stride 2 and batch norm. Each
//! stage has twice the filters of the one before. There is no layer before the first stage: this is the ResNet of
//! Amos' replication of MAML++ (github.com/bamos/HowToTrainYourMAMLPytorch), with 32 filters in the first stage and one
//! to three blocks a stage. Parameters have torchvision's names, `layer1.0.conv1.weight`, except for the head.

use super::layer::Shape;
use super::{BuildError, Initialisation, NetworkBuilder, Sequential};
use bilevel::kernel::Window;
use serde::Serialize;

/// Number of stages.
const STAGES: usize = 4;

/// Settings of a ResNet.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ResNet {
    /// Filters of the first stage, 1 to 512.
    pub filters: usize,
    /// Residual blocks: 4, 8 or 12.
    pub layers: usize,
    /// Slope of the leaky ReLU for negative values, ≥ 0; 0 for ReLU.
    pub negative_slope: f64,
    /// Initial values of the weights.
    pub init: Initialisation,
}

impl ResNet {
    /// The network for grey images of `side`² pixels and `ways` classes.
    ///
    /// # Errors
    /// Returns an error if there are no filters or no pixels.
    pub fn build(&self, side: usize, ways: usize) -> Result<Sequential, BuildError> {
        self.build_on(Shape::square(side, 1), ways)
    }

    /// The network for images of this shape and `ways` classes.
    ///
    /// # Errors
    /// Returns an error if there are no filters or no pixels.
    pub fn build_on(&self, images: Shape, ways: usize) -> Result<Sequential, BuildError> {
        let images = Sequential::on(images, self.init);
        let places = (0..STAGES).flat_map(|stage| (0..self.layers / STAGES).map(move |block| (stage, block)));
        let blocks = places.fold(images, |network, (stage, block)| {
            let network = network.name(format!("layer{}.{block}", stage + 1));
            self.block(network, self.filters << stage, block == 0)
        });
        blocks.global_mean_pool().head(ways)
    }

    /// Adds a block of `filters` filters; the `first` of a stage halves the image.
    fn block(&self, network: NetworkBuilder, filters: usize, first: bool) -> NetworkBuilder {
        let window = |size, stride| Window { size, stride, padding: size / 2 };
        let stride = if first { 2 } else { 1 };
        let body = |x: NetworkBuilder| {
            let x = x.convolution(filters, window(3, stride)).batch_norm().leaky_relu(self.negative_slope);
            x.convolution(filters, window(3, 1)).batch_norm()
        };
        let shortcut = |x: NetworkBuilder| match first {
            true => {
                let x = x.name("downsample.0").convolution(filters, window(1, stride));
                x.name("downsample.1").batch_norm()
            }
            false => x,
        };
        network.residual(body, shortcut).leaky_relu(self.negative_slope)
    }
}
