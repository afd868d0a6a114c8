//! MLP: hidden layers of [linear, batch norm, ReLU] and a linear layer (Finn et al. 2017 use 256,
//! 128, 64 and 64 units on Omniglot).

use super::{Architecture, EPSILON, Layer, Leaf, leaf};
use bilevel::{Dual, Params};
use burn::{
    module::{Module, Param},
    tensor::{Tensor, activation},
};

/// The architecture of an MLP on flattened images.
#[derive(Debug)]
pub struct MlpConfig {
    inputs: usize,
    hidden: Vec<usize>,
    ways: usize,
}

impl MlpConfig {
    /// A network with hidden layers of widths `hidden` on `inputs` pixels, with `ways` logits.
    pub fn new(inputs: usize, hidden: &[usize], ways: usize) -> Self {
        Self { inputs, hidden: hidden.to_vec(), ways }
    }
}

impl Architecture for MlpConfig {
    fn leaves(&self) -> Vec<Leaf> {
        let mut leaves = Vec::new();
        let mut inputs = self.inputs;
        for (index, width) in self.hidden.iter().enumerate() {
            let layer = index + 1;
            leaves.push(leaf::linear(format!("linear{layer}.weight"), *width, 1, inputs, 2.0));
            leaves.extend(leaf::norm(&format!("bn{layer}"), *width));
            inputs = *width;
        }
        leaves.extend(leaf::head(self.ways, 1, inputs));
        leaves
    }

    fn layers(&self) -> Vec<Layer> {
        let widths = [&[self.inputs], &self.hidden[..], &[self.ways]].concat();
        widths.windows(2).map(|pair| Layer { positions: 1, inputs: pair[0], outputs: pair[1] }).collect()
    }

    fn prepare(&self, images: Tensor<3>) -> Tensor<3> {
        images
    }

    fn features(&self, weights: &[Dual<3>], input: &Tensor<3>, statistics: usize) -> Dual<3> {
        weights.chunks_exact(3).fold(Dual::constant(input.clone()), |x, weights| {
            let [weight, gamma, beta] = [0, 1, 2].map(|leaf| weights[leaf].clone());
            x.matmul(weight).batch_norm_relu(gamma, beta, statistics, EPSILON)
        })
    }
}

/// One set of an MLP's parameters, in PyTorch's layouts.
#[derive(Module, Debug)]
pub struct Mlp {
    layers: Vec<Block>,
    linear_weight: Param<Tensor<2>>,
    linear_bias: Param<Tensor<1>>,
}

/// Parameters of a linear map and its batch norm.
#[derive(Module, Debug)]
struct Block {
    /// `[outputs, inputs]`
    weight: Param<Tensor<2>>,
    gamma: Param<Tensor<1>>,
    beta: Param<Tensor<1>>,
}

impl Mlp {
    /// The first task's parameters of `weights`, a stack laid out by `config`.
    pub fn from_stack(config: &MlpConfig, weights: &Params) -> Self {
        let leaves: Vec<Tensor<2>> = weights
            .leaves()
            .iter()
            .map(|matrix| matrix.clone().narrow(0, 0, 1).squeeze_dim::<2>(0).transpose())
            .collect();
        let (head, layers) = (&leaves[leaves.len() - 2..], leaves.chunks_exact(3));
        let vector = |column: &Tensor<2>| Param::from_tensor(column.clone().flatten(0, 1));
        let layer = |leaves: &[Tensor<2>]| Block {
            weight: Param::from_tensor(leaves[0].clone()),
            gamma: vector(&leaves[1]),
            beta: vector(&leaves[2]),
        };
        Self {
            layers: layers.take(config.hidden.len()).map(layer).collect(),
            linear_weight: Param::from_tensor(head[0].clone()),
            linear_bias: vector(&head[1]),
        }
    }

    /// The parameters as a stack of one task.
    pub fn to_stack(&self) -> Params {
        let matrix = |weight: &Param<Tensor<2>>| weight.val().transpose().unsqueeze();
        let vector = |values: &Param<Tensor<1>>| values.val().unsqueeze();
        let mut leaves: Vec<Tensor<3>> = Vec::new();
        for layer in &self.layers {
            leaves.extend([matrix(&layer.weight), vector(&layer.gamma), vector(&layer.beta)]);
        }
        leaves.extend([matrix(&self.linear_weight), vector(&self.linear_bias)]);
        Params::new(leaves)
    }

    /// Logits `[n, ways]` of `images [n, pixels]`, with batch norm over these images. Uses Burn's own operations.
    pub fn forward(&self, images: Tensor<2>) -> Tensor<2> {
        let features = self.layers.iter().fold(images, |x, layer| {
            let x = x.matmul(layer.weight.val().transpose());
            let centred = x.clone() - x.mean_dim(0);
            let variance = centred.clone().square().mean_dim(0);
            let scaled = centred / (variance + EPSILON).sqrt() * layer.gamma.val().unsqueeze();
            activation::relu(scaled + layer.beta.val().unsqueeze())
        });
        features.matmul(self.linear_weight.val().transpose()) + self.linear_bias.val().unsqueeze()
    }
}
