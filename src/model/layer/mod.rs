//! The layers of a network, one file each: their parameters, arithmetic, output and forward pass.
//!
//! Activations are rows, `[tasks, n·pixels, channels]`: one for each pixel of n images of a [`Shape`]. After a linear
//! layer there is one pixel.

mod activation;
mod batch_norm;
mod bias;
mod convolution;
mod linear;
mod pool;
mod residual;

pub use activation::LeakyRelu;
pub use batch_norm::BatchNorm;
pub use bias::Bias;
pub use convolution::Convolution;
pub use linear::Linear;
pub use pool::{GlobalMeanPool, MaxPool, MeanPool};
pub use residual::Residual;

use crate::model::Leaf;
use bilevel::Dual;
use burn::tensor::Tensor;
use std::fmt::Debug;

/// ε inside batch normalisation's square root.
pub const EPSILON: f64 = 1e-5;

/// Shape of an image, or of the output of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Rows of pixels.
    pub height: usize,
    /// Columns of pixels.
    pub width: usize,
    /// Values of a pixel.
    pub channels: usize,
}

impl Shape {
    /// Square images of `side`² pixels.
    pub fn square(side: usize, channels: usize) -> Self {
        Self { height: side, width: side, channels }
    }

    /// Number of pixels.
    pub fn pixels(self) -> usize {
        self.height * self.width
    }

    /// Number of values.
    pub fn values(self) -> usize {
        self.pixels() * self.channels
    }

    /// The rows `x [tasks, n·pixels, channels]` as `[tasks, n, values]`, with pixels before channels.
    pub fn flatten(self, x: Dual<3>) -> Dual<3> {
        let [tasks, rows, _] = x.dims();
        x.reshape([tasks, rows / self.pixels(), self.values()])
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} × {} pixels of {} channels", self.height, self.width, self.channels)
    }
}

/// A matrix product of a layer, for one image: `[positions, inputs] × [inputs, outputs]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Product {
    /// Rows per image: output pixels of a convolution, 1 for a linear layer.
    pub positions: usize,
    /// Columns: kernel pixels × channels for a convolution.
    pub inputs: usize,
    /// Filters or units.
    pub outputs: usize,
    /// Whether the rows are the images themselves, which have neither a gradient nor a tangent.
    pub on_images: bool,
}

impl Product {
    /// Multiply-adds of y = x·w for one image.
    pub fn multiply_adds(&self) -> usize {
        self.positions * self.inputs * self.outputs
    }
}

/// A layer of a network.
pub trait Layer: Debug + Send + Sync {
    /// Its parameters.
    fn leaves(&self) -> &[Leaf] {
        &[]
    }

    /// Its matrix products.
    fn products(&self) -> Vec<Product> {
        Vec::new()
    }

    /// Shape of its output for one image.
    fn output(&self) -> Shape;

    /// For the first layer of a network: computes once for all inner steps what [`Self::forward`] is then given in place
    /// of the images' rows.
    fn prepare(&self, rows: Tensor<3>) -> Tensor<3> {
        rows
    }

    /// Output rows for input rows `x`, with `weights` for [`Self::leaves`]. Batch norm takes its statistics from the first
    /// `statistics` images.
    fn forward(&self, x: Dual<3>, weights: &[Dual<3>], statistics: usize) -> Dual<3>;

    /// Takes over the leaky ReLU that follows, if the layer can do both in one pass.
    fn absorb_leaky_relu(&mut self, negative_slope: f64) -> bool {
        let _ = negative_slope;
        false
    }
}

/// The parameters of `layers`.
pub fn leaves(layers: &[Box<dyn Layer>]) -> impl Iterator<Item = &Leaf> {
    layers.iter().flat_map(|layer| layer.leaves())
}

/// The output of `layers`, one after the other, for input rows `x`, with `weights` for their [`leaves`].
pub fn forward(layers: &[Box<dyn Layer>], x: Dual<3>, mut weights: &[Dual<3>], statistics: usize) -> Dual<3> {
    layers.iter().fold(x, |x, layer| {
        let (own, others) = weights.split_at(layer.leaves().len());
        weights = others;
        layer.forward(x, own, statistics)
    })
}
