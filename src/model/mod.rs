//! Networks: the forward pass on stacks of T tasks' fast weights, and Burn modules with trained weights.
//!
//! An [`Architecture`] describes the parameters and computes logits from them. It holds no parameters; training works
//! on stacks of them. [`Conv4`] and [`Mlp`] are Burn modules that hold one set of parameters and use Burn's own
//! operations. `from_stack` converts a trained θ to a module, `to_stack` a module to θ.

mod conv4;
mod leaf;
mod mlp;
mod network;
mod stored;

pub use conv4::{Conv4, Conv4Config};
pub use leaf::{Layout, Leaf, Role};
pub use mlp::{Mlp, MlpConfig};
pub use network::{Network, halvings};
pub use stored::{store, stored};

use bilevel::{Dual, Params, rng};
use burn::tensor::{DType, Device, Tensor, TensorData};
use rand_distr::{Distribution, Normal};

/// ε inside batch normalisation's square root.
pub const EPSILON: f64 = 1e-5;

/// A layer with a matrix product, for one image: `[positions, inputs] × [inputs, outputs]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Rows per image: output pixels of a convolution, 1 for a linear layer.
    pub positions: usize,
    /// Columns: kernel pixels × channels for a convolution.
    pub inputs: usize,
    /// Filters or units.
    pub outputs: usize,
}

impl Layer {
    /// Multiply-adds of y = x·w for one image.
    pub fn multiply_adds(&self) -> usize {
        self.positions * self.inputs * self.outputs
    }
}

/// The parameters of a network, and its forward pass.
pub trait Architecture: Send + Sync {
    /// The parameters, in the order of the stack's leaves.
    fn leaves(&self) -> Vec<Leaf>;

    /// The layers with matrix products, in order, to count the network's operations.
    fn layers(&self) -> Vec<Layer>;

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

/// Initial parameters: normal with the mean and standard deviation of each leaf. They are drawn on the host from `seed`,
/// and so are the same on every backend.
pub fn initialise_leaves(leaves: &[Leaf], seed: u64, device: &Device) -> Params {
    let leaves = leaves.iter().enumerate().map(|(index, leaf)| {
        let mut generator = rng::generator(seed, "initial weights", index as u64);
        let count = leaf.layout.count();
        let values: Vec<f32> = match Normal::new(leaf.mean, leaf.deviation) {
            Ok(normal) => (0..count).map(|_| normal.sample(&mut generator)).collect(),
            Err(_) => unreachable!("a leaf's deviation is finite and not negative"),
        };
        leaf.layout.pack(Tensor::from_data(TensorData::new(values, [1, count]), (device, DType::F32)))
    });
    Params::new(leaves.collect())
}
