//! Networks: the forward pass on stacks of T tasks' fast weights.
//!
//! An [`Architecture`] describes the parameters and computes logits from them. It holds no parameters; training works
//! on stacks of them. [`Sequential`] is the architecture put together from layers, and [`Network`] the list of those that a
//! configuration can name.

mod builder;
mod conv4;
mod layer;
mod leaf;
mod mlp;
mod network;
mod resnet;
mod sequential;
mod stored;

pub use builder::{BuildError, NetworkBuilder};
pub use conv4::{Conv4, Pool};
pub use layer::{EPSILON, Product, Shape};
pub use leaf::{Distribution, Initialisation, Layout, Leaf, Role};
pub use mlp::Mlp;
pub use network::Network;
pub use resnet::ResNet;
pub use sequential::Sequential;
pub use stored::{store, stored};

use bilevel::{Dual, Params, rng};
use burn::tensor::{DType, Device, Tensor, TensorData};
use rand::RngExt;
use rand_distr::{Distribution as _, Normal};

/// The parameters of a network, and its forward pass.
pub trait Architecture: Send + Sync {
    /// The parameters, in the order of the stack's leaves.
    fn leaves(&self) -> Vec<Leaf>;

    /// The matrix products for one image, to count the network's operations.
    fn products(&self) -> Vec<Product>;

    /// Input of the first layer for `images [tasks, n, pixels]`, computed once for all inner steps:
    /// `[tasks, n·rows, columns]`.
    fn prepare(&self, images: Tensor<3>) -> Tensor<3>;

    /// Features `[tasks, n, width]` of `input` (see [`Self::prepare`]): what the last linear layer is applied to.
    /// `weights` are each task's leaves without the head's. Batch normalisation takes its statistics from the first
    /// `statistics` images.
    fn features(&self, weights: &[Dual<3>], input: &Tensor<3>, statistics: usize) -> Dual<3>;

    /// Logits `[tasks, n, ways]` of `input` with each task's `weights`; see [`Self::features`]. The last two are the
    /// head, `[tasks, width, ways]` and `[tasks, 1, ways]`; its number of classes may differ from that of
    /// [`Self::leaves`].
    ///
    /// # Panics
    /// Panics if there are fewer than two weights.
    fn logits(&self, weights: &[Dual<3>], input: &Tensor<3>, statistics: usize) -> Dual<3> {
        let (body, head) = weights.split_at(weights.len() - 2);
        self.features(body, input, statistics).matmul(head[0].clone()) + head[1].clone()
    }
}

/// Initial weights of a network: see [`initialise_leaves`].
pub fn initialise(architecture: &dyn Architecture, seed: u64, device: &Device) -> Params {
    initialise_leaves(&architecture.leaves(), seed, device)
}

/// Initial parameters: drawn from the distribution of each leaf, on the host and from `seed`, and so the same on every
/// backend.
pub fn initialise_leaves(leaves: &[Leaf], seed: u64, device: &Device) -> Params {
    let leaves = leaves.iter().enumerate().map(|(index, leaf)| {
        let mut generator = rng::generator(seed, "initial weights", index as u64);
        let count = leaf.layout.count();
        let mut draw = || -> f32 {
            match leaf.distribution {
                Distribution::Normal => match Normal::new(leaf.mean, leaf.deviation) {
                    Ok(normal) => normal.sample(&mut generator),
                    Err(_) => unreachable!("a leaf's deviation is finite and not negative"),
                },
                Distribution::Uniform => {
                    let bound = leaf.deviation * 3f32.sqrt();
                    leaf.mean + bound * generator.random_range(-1.0..1.0f32)
                }
            }
        };
        let values: Vec<f32> = (0..count).map(|_| draw()).collect();
        leaf.layout.pack(Tensor::from_data(TensorData::new(values, [1, count]), (device, DType::F32)))
    });
    Params::new(leaves.collect())
}
