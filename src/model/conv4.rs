//! Conv4: blocks of [3×3 convolution of stride 2, batch norm, ReLU] and a linear layer
//! (Vinyals et al. 2016; Finn et al. 2017 for the strided form used on Omniglot).
//!
//! Convolutions have no bias, since batch norm would subtract it.

use super::{Architecture, EPSILON, Layer, Leaf, leaf};
use bilevel::kernel::{Grid, reference};
use bilevel::{Dual, Params};
use burn::{
    module::{Module, Param},
    tensor::{Tensor, activation, module::conv2d, ops::ConvOptions},
};
use std::sync::Arc;

/// Stride of every convolution.
const STRIDE: usize = 2;
/// Padding of every convolution.
const PADDING: usize = 1;

/// The architecture of a Conv4 for square one-channel images.
#[derive(Debug)]
pub struct Conv4Config {
    filters: usize,
    ways: usize,
    /// Geometry of each block's convolution. Patches for the first one are extracted once per episode.
    grids: Vec<Arc<Grid>>,
    /// Geometry of the first convolution on patches: pointwise.
    rows: Arc<Grid>,
    /// Pixels of the last block's output.
    pixels: usize,
}

impl Conv4Config {
    /// A network of `blocks` blocks with `filters` filters on images of `side`² pixels, with `ways` logits.
    pub fn new(side: usize, blocks: usize, filters: usize, ways: usize) -> Self {
        let next = |side: &usize| Some(Grid::output_side(*side, STRIDE, PADDING));
        let sides: Vec<usize> = std::iter::successors(Some(side), next).take(blocks + 1).collect();
        let last = sides.last().map_or(side, |side| *side);
        let grid = |side: &usize| Arc::new(Grid::new(*side, *side, STRIDE, PADDING));
        let grids = sides.iter().take(blocks).map(grid).collect();
        Self { filters, ways, grids, rows: Arc::new(Grid::pointwise()), pixels: last * last }
    }
}

impl Architecture for Conv4Config {
    fn leaves(&self) -> Vec<Leaf> {
        let mut leaves = Vec::new();
        for block in 1..=self.grids.len() {
            let channels = if block == 1 { 1 } else { self.filters };
            leaves.push(leaf::kernel(format!("conv{block}.weight"), self.filters, channels));
            leaves.extend(leaf::norm(&format!("bn{block}"), self.filters));
        }
        leaves.extend(leaf::head(self.ways, self.filters, self.pixels));
        leaves
    }

    fn layers(&self) -> Vec<Layer> {
        let convolution = |(block, grid): (usize, &Arc<Grid>)| Layer {
            positions: grid.target_pixels(),
            inputs: 9 * if block == 0 { 1 } else { self.filters },
            outputs: self.filters,
        };
        let head = Layer { positions: 1, inputs: self.pixels * self.filters, outputs: self.ways };
        self.grids.iter().enumerate().map(convolution).chain([head]).collect()
    }

    fn prepare(&self, images: Tensor<3>) -> Tensor<3> {
        let [tasks, count, pixels] = images.dims();
        reference::patches(images.reshape([tasks, count * pixels, 1]), &self.grids[0])
    }

    fn features(&self, weights: &[Dual<3>], input: &Tensor<3>, statistics: usize) -> Dual<3> {
        let blocks = weights.chunks_exact(3);
        let mut x = Dual::constant(input.clone());
        let mut count = 0;
        for (block, (grid, weights)) in self.grids.iter().zip(blocks).enumerate() {
            let [kernel, gamma, beta] = [0, 1, 2].map(|leaf| weights[leaf].clone());
            x = x.convolve(kernel, if block == 0 { &self.rows } else { grid });
            let pixels = grid.target_pixels();
            count = x.dims()[1] / pixels;
            x = x.batch_norm_relu(gamma, beta, statistics * pixels, EPSILON);
        }
        let tasks = x.dims()[0];
        x.reshape([tasks, count, self.pixels * self.filters])
    }
}

/// One set of Conv4's parameters, in PyTorch's layouts.
#[derive(Module, Debug)]
pub struct Conv4 {
    blocks: Vec<Block>,
    linear_weight: Param<Tensor<2>>,
    linear_bias: Param<Tensor<1>>,
}

/// Parameters of a convolution and its batch norm.
#[derive(Module, Debug)]
struct Block {
    /// `[filters, channels, 3, 3]`
    kernel: Param<Tensor<4>>,
    gamma: Param<Tensor<1>>,
    beta: Param<Tensor<1>>,
}

impl Conv4 {
    /// The first task's parameters of `weights`, a stack laid out by `config`.
    pub fn from_stack(config: &Conv4Config, weights: &Params) -> Self {
        let flat: Vec<Tensor<1>> = config
            .leaves()
            .iter()
            .zip(weights.leaves())
            .map(|(leaf, matrix)| leaf.layout.unpack(matrix.clone().narrow(0, 0, 1)).flatten(0, 1))
            .collect();
        let (head, blocks) = (&flat[flat.len() - 2..], flat.chunks_exact(3));
        let block = |(index, leaves): (usize, &[Tensor<1>])| {
            let channels = if index == 0 { 1 } else { config.filters };
            Block {
                kernel: Param::from_tensor(leaves[0].clone().reshape([config.filters, channels, 3, 3])),
                gamma: Param::from_tensor(leaves[1].clone()),
                beta: Param::from_tensor(leaves[2].clone()),
            }
        };
        Self {
            blocks: blocks.take(config.grids.len()).enumerate().map(block).collect(),
            linear_weight: Param::from_tensor(
                head[0].clone().reshape([config.ways, config.pixels * config.filters]),
            ),
            linear_bias: Param::from_tensor(head[1].clone()),
        }
    }

    /// The parameters as a stack of one task.
    pub fn to_stack(&self, config: &Conv4Config) -> Params {
        let mut flat: Vec<Tensor<1>> = Vec::new();
        for block in &self.blocks {
            flat.push(block.kernel.val().flatten(0, 3));
            flat.push(block.gamma.val());
            flat.push(block.beta.val());
        }
        flat.push(self.linear_weight.val().flatten(0, 1));
        flat.push(self.linear_bias.val());
        let leaves = config.leaves();
        Params::new(leaves.iter().zip(flat).map(|(leaf, flat)| leaf.layout.pack(flat.unsqueeze())).collect())
    }

    /// Logits `[n, ways]` of `images [n, 1, side, side]`, with batch norm over these images. Uses Burn's own
    /// operations; tests compare the stacked network with it.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let options = || ConvOptions::new([STRIDE; 2], [PADDING; 2], [1, 1], 1);
        let features = self.blocks.iter().fold(images, |x, block| {
            let x = conv2d(x, block.kernel.val(), None, options());
            let [_, channels, ..] = x.dims();
            let mean = x.clone().mean_dims(&[0, 2, 3]);
            let variance = (x.clone() - mean.clone()).square().mean_dims(&[0, 2, 3]);
            let per_channel = |values: Tensor<1>| values.reshape([1, channels, 1, 1]);
            let scaled = (x - mean) / (variance + EPSILON).sqrt() * per_channel(block.gamma.val());
            activation::relu(scaled + per_channel(block.beta.val()))
        });
        let weight = self.linear_weight.val().transpose();
        features.flatten::<2>(1, 3).matmul(weight) + self.linear_bias.val().unsqueeze()
    }
}
