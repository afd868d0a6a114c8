//! Convolution without bias: y_p = Σ_(q, tap) x_q W_tap (see [`bilevel::kernel`]).

use super::{Layer, Product, Shape};
use crate::model::{Initialisation, Layout, Leaf, leaf::weight};
use bilevel::Dual;
use bilevel::kernel::{Grid, Window, reference};
use burn::tensor::Tensor;
use std::sync::Arc;

/// A convolution. As the first layer of a network it works on patches of the images, extracted once per episode.
#[derive(Debug)]
pub struct Convolution {
    leaf: Leaf,
    product: Product,
    output: Shape,
    grid: Arc<Grid>,
    /// The geometry of the patches; then `grid` is pointwise.
    patches: Option<Arc<Grid>>,
}

impl Convolution {
    /// A convolution of inputs of shape `input`; `None` if the window does not fit.
    pub fn new(
        name: &str,
        input: Shape,
        filters: usize,
        window: Window,
        initialisation: Initialisation,
    ) -> Option<Self> {
        let output = input.windows(window, filters)?;
        let Shape { height, width, channels } = input;
        let (size, taps) = (window.size, window.size.pow(2));
        let layout = Layout::Kernel { size, filters, channels };
        let fans = [taps * channels, taps * filters];
        let product =
            Product { positions: output.pixels(), inputs: fans[0], outputs: filters, on_images: false };
        Some(Self {
            leaf: weight(format!("{name}.weight"), layout, fans, initialisation, 2.0),
            product,
            output,
            grid: Arc::new(Grid::new([height, width], window)),
            patches: None,
        })
    }

    /// The same convolution of the images themselves.
    pub fn on_images(mut self) -> Self {
        self.product.on_images = true;
        self
    }

    /// The same convolution as the first layer of a network.
    pub fn on_patches(self) -> Self {
        let patches = Some(self.grid.clone());
        Self { patches, grid: Arc::new(Grid::pointwise()), ..self.on_images() }
    }
}

impl Layer for Convolution {
    fn leaves(&self) -> &[Leaf] {
        std::slice::from_ref(&self.leaf)
    }

    fn products(&self) -> Vec<Product> {
        vec![self.product]
    }

    fn output(&self) -> Shape {
        self.output
    }

    fn prepare(&self, rows: Tensor<3>) -> Tensor<3> {
        match &self.patches {
            Some(patches) => reference::patches(rows, patches),
            None => rows,
        }
    }

    fn forward(&self, x: Dual<3>, weights: &[Dual<3>], _statistics: usize) -> Dual<3> {
        x.convolve(weights[0].clone(), &self.grid)
    }
}
