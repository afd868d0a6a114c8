//! Networks: the forward pass on stacks of T tasks' fast weights, and θ as a Burn module.
//!
//! An [`Architecture`] says what the parameters are and what logits they give; it holds none itself,
//! and training works on stacks. [`Conv4`] and [`Mlp`] are Burn modules that hold one set of
//! parameters and run it by Burn's own operations: `from_stack` makes one of a trained θ, `to_stack`
//! a θ of it.

mod conv4;
mod leaf;
mod mlp;
mod stored;

pub use conv4::{Conv4, Conv4Config};
pub use leaf::{Layout, Leaf};
pub use mlp::{Mlp, MlpConfig};
pub use stored::{store, stored};

use crate::{dual::Dual, random, stack::Stack};
use burn::tensor::{DType, Device, Tensor, TensorData};
use rand_distr::{Distribution, Normal};

/// ε inside batch normalisation's square root.
pub const EPSILON: f64 = 1e-5;

/// What a network's parameters are and how they turn images into logits.
pub trait Architecture: Send + Sync {
    /// The parameters, in the order of the stack's leaves.
    fn leaves(&self) -> Vec<Leaf>;

    /// How many leaves, the last ones, are the linear layer that makes the logits: its weight and bias.
    fn head(&self) -> usize {
        2
    }

    /// What the first layer needs of `images [tasks, n, pixels]`, computed once for all inner
    /// steps: `[tasks, n·rows, columns]`.
    fn prepare(&self, images: Tensor<3>) -> Tensor<3>;

    /// Logits `[tasks, n, ways]` of `input` (see [`Self::prepare`]) under each task's `weights`;
    /// batch normalisation takes its statistics from the first `statistics` images.
    fn logits(&self, weights: &[Dual<3>], input: &Tensor<3>, statistics: usize) -> Dual<3>;
}

/// Initial weights of a network: see [`initialise_leaves`].
pub fn initialise(architecture: &dyn Architecture, seed: u64, device: &Device) -> Stack {
    initialise_leaves(&architecture.leaves(), seed, device)
}

/// Initial parameters, the same on every backend: normal with each leaf's own mean and deviation,
/// drawn on the host from `seed`.
pub fn initialise_leaves(leaves: &[Leaf], seed: u64, device: &Device) -> Stack {
    let leaves = leaves.iter().enumerate().map(|(index, leaf)| {
        let mut generator = random::generator(seed, "initial weights", index as u64);
        let count = leaf.layout.count();
        let values: Vec<f32> = match Normal::new(leaf.mean, leaf.deviation) {
            Ok(normal) => (0..count).map(|_| normal.sample(&mut generator)).collect(),
            Err(_) => unreachable!("a leaf's deviation is finite and not negative"),
        };
        leaf.layout.pack(Tensor::from_data(TensorData::new(values, [1, count]), (device, DType::F32)))
    });
    Stack::new(leaves.collect())
}
