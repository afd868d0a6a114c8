//! A network of layers, one after the other, and a linear layer to the logits.

use super::layer::{self, Layer, Product, Shape};
use super::{Architecture, Initialisation, Leaf, NetworkBuilder};
use bilevel::Dual;
use burn::tensor::Tensor;

/// A network of layers, one after the other, and a linear layer to the logits: its head.
///
/// ```
/// use bilevel::kernel::Window;
/// use metaburn::model::{Architecture, Sequential};
///
/// let window = Window { size: 3, stride: 1, padding: 1 };
/// let network = Sequential::on_images(28).convolution(32, window).batch_norm().relu().max_pool(2).head(5)?;
/// let names: Vec<String> = network.leaves().into_iter().map(|leaf| leaf.name).collect();
/// assert_eq!(names, ["conv1.weight", "bn1.weight", "bn1.bias", "linear.weight", "linear.bias"]);
/// # Ok::<(), metaburn::model::BuildError>(())
/// ```
#[derive(Debug)]
pub struct Sequential {
    pub(super) input: Shape,
    pub(super) layers: Vec<Box<dyn Layer>>,
    /// Shape of the last layer's output.
    pub(super) features: Shape,
    /// The head's weight and bias.
    pub(super) head: [Leaf; 2],
}

impl Sequential {
    /// Begins a network on square grey images of `side`² pixels.
    pub fn on_images(side: usize) -> NetworkBuilder {
        Self::on(Shape::square(side, 1), Initialisation::He)
    }

    /// Begins a network on images of shape `input`, with pixels before channels.
    pub fn on(input: Shape, initialisation: Initialisation) -> NetworkBuilder {
        NetworkBuilder::new(input, initialisation)
    }
}

impl Architecture for Sequential {
    fn leaves(&self) -> Vec<Leaf> {
        layer::leaves(&self.layers).chain(&self.head).cloned().collect()
    }

    fn products(&self) -> Vec<Product> {
        let head = Product {
            positions: 1,
            inputs: self.features.values(),
            outputs: self.head[1].layout.count(),
            on_images: self.layers.is_empty(),
        };
        self.layers.iter().flat_map(|layer| layer.products()).chain([head]).collect()
    }

    fn prepare(&self, images: Tensor<3>) -> Tensor<3> {
        let [tasks, count, _] = images.dims();
        let rows = images.reshape([tasks, count * self.input.pixels(), self.input.channels]);
        match self.layers.first() {
            Some(first) => first.prepare(rows),
            None => rows,
        }
    }

    fn features(&self, weights: &[Dual<3>], input: &Tensor<3>, statistics: usize) -> Dual<3> {
        let input = Dual::constant(input.clone());
        self.features.flatten(layer::forward(&self.layers, input, weights, statistics))
    }
}
