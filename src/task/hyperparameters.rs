//! Hyperparameters: learning rates and weight penalties for each layer of a network.
//!
//! ```text
//! L_in(θ, φ) = mean training cross-entropy + Σ_l ½ e^{ρ_l} ‖W_l‖²,   α of layer l = e^{η_l},
//! L_out(φ) = mean validation cross-entropy,   θ = (η, ρ)
//! ```
//!
//! φ are the weights W_l and biases of a perceptron [linear, ReLU, …, linear], with initial values that do not depend
//! on θ. Logarithms keep rates and penalties positive, and a step of θ multiplies them by a factor (Bengio,
//! *Gradient-based optimization of hyperparameters*, 2000; Maclaurin et al., *Gradient-based hyperparameter
//! optimization through reversible learning*, 2015).
//!
//! θ is in neither V nor L_out, so the first-order gradient is 0: rates and penalties act only through the inner loop.

use super::{Adapted, Batch};
use crate::model::{Distribution, Layout, Leaf, Role, initialise_leaves};
use bilevel::{Bilevel, Dual, Params, Rates};
use burn::tensor::{Tensor, TensorData};

/// Learning rates and penalties of the layers of a perceptron. θ is η `[1, layers, 1]` and ρ `[1, layers, 1]`; φ is, for each
/// layer, its weights `[tasks, inputs, outputs]` and biases `[tasks, 1, outputs]`.
#[derive(Clone)]
pub struct Hyperparameters {
    train: Batch,
    validation: Batch,
    /// φ_0, a stack of one task.
    start: Params,
}

impl Hyperparameters {
    /// Trains a perceptron with hidden layers of widths `hidden` on `train`, to minimise the loss on `validation`. Its
    /// initial weights are drawn from `seed`.
    pub fn new(train: Batch, validation: Batch, hidden: &[usize], seed: u64) -> Self {
        let ([_, _, pixels], [_, _, classes]) = (train.input.dims(), train.targets.dims());
        let widths = [&[pixels], hidden, &[classes]].concat();
        let leaf = |layout, deviation| {
            let (distribution, role) = (Distribution::Normal, Role::Weight);
            Leaf { name: String::new(), layout, mean: 0.0, deviation, distribution, role }
        };
        let layer = |widths: &[usize]| {
            let [inputs, outputs] = [widths[0], widths[1]];
            let weights = Layout::Linear { outputs, channels: 1, pixels: inputs };
            // Initialisation for ReLU (He et al. 2015).
            let deviation = (2.0 / inputs as f32).sqrt();
            [leaf(weights, deviation), leaf(Layout::Vector { width: outputs }, 0.0)]
        };
        let leaves: Vec<Leaf> = widths.windows(2).flat_map(layer).collect();
        let dtype = train.input.dtype();
        let start = initialise_leaves(&leaves, seed, &train.input.device()).map(|leaf| leaf.cast(dtype));
        Self { train, validation, start }
    }

    /// Number of layers, each with a rate and a penalty.
    pub fn layers(&self) -> usize {
        self.start.leaves().len() / 2
    }

    /// θ for these rates and penalties, all > 0, one for each layer.
    ///
    /// # Panics
    /// Panics if their number is not [`Self::layers`].
    pub fn at(&self, rates: &[f64], penalties: &[f64]) -> Params {
        let input = &self.train.input;
        let logarithms = |values: &[f64]| {
            let values: Vec<f64> = values.iter().map(|value| value.ln()).collect();
            Tensor::from_data(
                TensorData::new(values, [1, self.layers(), 1]),
                (&input.device(), input.dtype()),
            )
        };
        Params::new(vec![logarithms(rates), logarithms(penalties)])
    }

    /// Loss and accuracy of the networks φ = `fast` on `images`.
    pub fn assess(&self, fast: &Params, images: &Batch) -> Adapted {
        Adapted::new(logits(images, &fast.constant()).primal, &images.targets)
    }
}

/// The perceptron's logits of `images` at φ = `fast`: `[tasks, n, classes]`.
fn logits(images: &Batch, fast: &[Dual<3>]) -> Dual<3> {
    fast.chunks_exact(2).enumerate().fold(Dual::constant(images.input.clone()), |x, (layer, weights)| {
        let x = if layer == 0 { x } else { x.relu() };
        x.matmul(weights[0].clone()) + weights[1].clone()
    })
}

impl Bilevel for Hyperparameters {
    fn tasks(&self) -> usize {
        self.train.targets.dims()[0]
    }

    fn start(&self, _outer: &Params) -> Params {
        self.start.repeat(self.tasks())
    }

    fn inner_rates(&self, _step: usize, outer: &Params) -> Rates {
        // The weights and biases of a layer have the same rate.
        let rate = |leaf| outer.leaves()[0].clone().narrow(1, leaf / 2, 1).exp();
        Rates::Each(Params::new((0..self.start.leaves().len()).map(rate).collect()))
    }

    fn inner_loss(&self, _step: usize, outer: &[Dual<3>], fast: &[Dual<3>]) -> Dual<1> {
        let loss = logits(&self.train, fast).cross_entropy(&self.train.targets);
        let penalties = outer[1].primal.clone().exp();
        fast.iter().step_by(2).enumerate().fold(loss, |loss, (layer, weights)| {
            let penalty = penalties.clone().narrow(1, layer, 1).reshape([self.tasks()]);
            loss + Dual::constant(penalty) * weights.clone().squared_norm().scale(0.5)
        })
    }

    fn outer_loss(&self, _step: usize, _outer: &Params, fast: &Params) -> Tensor<1> {
        logits(&self.validation, &fast.constant()).cross_entropy(&self.validation.targets).primal
    }

    fn select(&self, tasks: &[usize]) -> Self {
        Self {
            train: self.train.select(tasks),
            validation: self.validation.select(tasks),
            start: self.start.clone(),
        }
    }
}
