//! Linear layer without bias on flattened inputs: y = x·W.

use super::{Layer, Product, Shape};
use crate::model::{Initialisation, Layout, Leaf, leaf::weight};
use bilevel::Dual;

/// A linear layer. Its output has one pixel.
#[derive(Debug)]
pub struct Linear {
    input: Shape,
    leaf: Leaf,
    product: Product,
}

impl Linear {
    /// A linear layer from all values of inputs of shape `input` to `outputs`. `gain` is inputs × the initial variance
    /// under [`Initialisation::He`].
    pub fn new(name: &str, input: Shape, outputs: usize, initialisation: Initialisation, gain: f32) -> Self {
        let inputs = input.values();
        let layout = Layout::Linear { outputs, channels: input.channels, pixels: input.pixels() };
        let leaf = weight(format!("{name}.weight"), layout, [inputs, outputs], initialisation, gain);
        Self { input, leaf, product: Product { positions: 1, inputs, outputs, on_images: false } }
    }

    /// The same layer on the images themselves.
    pub fn on_images(mut self) -> Self {
        self.product.on_images = true;
        self
    }
}

impl Layer for Linear {
    fn leaves(&self) -> &[Leaf] {
        std::slice::from_ref(&self.leaf)
    }

    fn products(&self) -> Vec<Product> {
        vec![self.product]
    }

    fn output(&self) -> Shape {
        Shape { height: 1, width: 1, channels: self.product.outputs }
    }

    fn forward(&self, x: Dual<3>, weights: &[Dual<3>], _statistics: usize) -> Dual<3> {
        self.input.flatten(x).matmul(weights[0].clone())
    }
}
