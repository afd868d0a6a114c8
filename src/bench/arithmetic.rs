//! The arithmetic of an outer step: multiply-adds of convolutions and linear layers, 2 flop each.
//! What is linear in the activations (batch norm, ReLU, the loss) is left out.
//!
//! With f_ℓ the multiply-adds of layer ℓ on one image, y = x·w, costs for each image are
//!
//! ```text
//!                     first layer   others
//! y = x w                       1        1
//! w̄ = xᵀ ȳ                      1        1
//! x̄ = ȳ wᵀ                      0        1     nobody asks for an image's gradient
//! gradient                  2 f_1    3 f_ℓ
//!
//! y = x w,  ẏ = ẋ w + x ẇ       2        3     an image has no tangent: ẋ = 0
//! w̄ = xᵀ ȳ + ẋᵀ ȳ̇               1        2
//! x̄ = ȳ wᵀ + ȳ̇ ẇᵀ,  x̄̇ = ȳ̇ wᵀ    0        3
//! Hessian-vector product    3 f_1    8 f_ℓ
//! ```
//!
//! where bars are adjoints of the inner loss's tangent ∇L·v: forward with a tangent, then one
//! backward pass ([`crate::dual`]). An inner step taken again for an iterate that was not kept costs
//! a gradient.

use crate::config::{BatchNorm, Config};
use crate::hypergradient::Evaluations;
use crate::model::{self, Layout};

/// What gradients and products cost, in flop of one task.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Arithmetic {
    /// ∇L_in.
    pub inner: f64,
    /// ∇L_out.
    pub outer: f64,
    /// A Hessian-vector product of L_in.
    pub product: f64,
}

/// A layer that multiplies: `[positions, inputs] × [inputs, outputs]` for each image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Rows for each image: pixels of a convolution's output, 1 of a linear layer.
    pub positions: usize,
    /// Columns of a row: 9 × channels of a convolution.
    pub inputs: usize,
    /// Filters or units.
    pub outputs: usize,
}

impl Layer {
    /// f_ℓ: multiply-adds of y = x·w for one image.
    pub fn multiply_adds(&self) -> usize {
        self.positions * self.inputs * self.outputs
    }
}

/// The layers of a network for images of `side`² pixels that multiply, the first one first.
pub fn layers(architecture: &dyn model::Architecture, mut side: usize) -> Vec<Layer> {
    let mut layer = |layout: Layout| match layout {
        Layout::Kernel { filters, channels } => {
            // Stride 2, and padded by one pixel.
            side = side.div_ceil(2);
            Some(Layer { positions: side * side, inputs: 9 * channels, outputs: filters })
        }
        Layout::Linear { outputs, channels, pixels } => {
            Some(Layer { positions: 1, inputs: channels * pixels, outputs })
        }
        Layout::Vector { .. } => None,
    };
    architecture.leaves().into_iter().filter_map(|leaf| layer(leaf.layout)).collect()
}

impl Arithmetic {
    /// The prices of `config`'s network and episodes.
    pub fn new(config: &Config, architecture: &dyn model::Architecture) -> Self {
        let task = &config.task;
        let (support, query) = (task.ways * task.shots, task.ways * task.queries);
        let outer = match config.model.batch_norm {
            BatchNorm::Transductive => query,
            BatchNorm::Support => support + query,
        };
        let layers = layers(architecture, config.data.image_size);
        let first = layers.first().map_or(0, Layer::multiply_adds);
        let all: usize = layers.iter().map(Layer::multiply_adds).sum();
        let flop = |of_first, of_others, images: usize| {
            2.0 * (images * (of_first * first + of_others * (all - first))) as f64
        };
        Self { inner: flop(2, 3, support), outer: flop(2, 3, outer), product: flop(3, 8, support) }
    }

    /// The flop of `evaluations`.
    pub fn flop(&self, evaluations: &Evaluations) -> f64 {
        self.inner * (evaluations.inner + evaluations.recomputed) as f64
            + self.outer * evaluations.outer as f64
            + self.product * evaluations.products as f64
    }
}

#[cfg(test)]
mod tests {
    use super::super::SETTINGS;
    use super::*;
    use crate::hypergradient::Draw;
    use crate::model::{Conv4Config, MlpConfig};

    /// f_1 to f_4 of Conv4-64 on 28 × 28, and the linear layer's, by hand.
    const CONVOLUTIONS: [f64; 4] =
        [14. * 14. * 9. * 64., 7. * 7. * 9. * 64. * 64., 4. * 4. * 9. * 64. * 64., 2. * 2. * 9. * 64. * 64.];
    const LINEAR: f64 = 2. * 2. * 64. * 5.;

    fn price(draw: &Draw) -> Result<f64, crate::config::Error> {
        let config = Config::load(None, &SETTINGS[0].assignments(None))?;
        let network = Conv4Config::new(28, 4, 64, 5);
        Ok(Arithmetic::new(&config, &network).flop(&draw.cost()))
    }

    #[test]
    fn configuration_a_is_what_was_counted_by_hand() -> Result<(), crate::config::Error> {
        let [first, second, third, fourth] = CONVOLUTIONS;
        let others = second + third + fourth + LINEAR;
        // 16 tasks: 5 gradients of 5 support images, and 1 of 25 query images.
        let first_order = 2. * 16. * (5. * 5. + 25.) * (2. * first + 3. * others);
        assert_eq!(price(&Draw::truncated(16, 5, 0))?, first_order);
        assert_eq!((first_order / 1e8).round(), 126.);
        // 5 products of 5 support images more.
        let exact = first_order + 2. * 16. * 5. * 5. * (3. * first + 8. * others);
        assert_eq!(price(&Draw::truncated(16, 5, 5))?, exact);
        assert_eq!((exact / 1e8).round(), 291.);
        Ok(())
    }

    #[test]
    fn every_weight_that_multiplies_is_in_a_layer() {
        let networks: [(&dyn model::Architecture, usize); 2] =
            [(&Conv4Config::new(28, 4, 64, 5), 28), (&MlpConfig::new(14 * 14, &[32, 16], 5), 14)];
        for (network, side) in networks {
            let weights: usize = layers(network, side).iter().map(|layer| layer.inputs * layer.outputs).sum();
            let matrices = network.leaves().into_iter().filter(|leaf| leaf.layout.shape().len() > 1);
            assert_eq!(weights, matrices.map(|leaf| leaf.layout.count()).sum::<usize>());
        }
    }

    #[test]
    fn an_iterate_computed_again_costs_an_inner_gradient() {
        let prices = Arithmetic { inner: 2., outer: 3., product: 5. };
        let evaluations = Evaluations { inner: 1, outer: 10, products: 100, recomputed: 1000 };
        assert_eq!(prices.flop(&evaluations), 2. + 30. + 500. + 2000.);
    }
}
