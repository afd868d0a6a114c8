//! Counts the arithmetic of an outer step: the multiply-adds of convolutions and linear layers, 2 flop each. Operations
//! whose cost is linear in the activations (batch norm, ReLU, the loss) are left out.
//!
//! Let f_ℓ be the multiply-adds of layer ℓ, y = x·w, on one image, and f_1 those of the layers on the images themselves.
//! The costs per image are
//!
//! ```text
//!                   on the images   others
//! y = x w                       1        1
//! w̄ = xᵀ ȳ                      1        1
//! x̄ = ȳ wᵀ                      0        1     images need no gradient
//! gradient                  2 f_1    3 f_ℓ
//!
//! y = x w,  ẏ = ẋ w + x ẇ       2        3     images have no tangent: ẋ = 0
//! w̄ = xᵀ ȳ + ẋᵀ ȳ̇               1        2
//! x̄ = ȳ wᵀ + ȳ̇ ẇᵀ,  x̄̇ = ȳ̇ wᵀ    0        3
//! Hessian-vector product    3 f_1    8 f_ℓ
//! ```
//!
//! where bars denote adjoints of the inner loss's tangent ∇L·v: a forward pass with tangents, then one backward pass
//! ([`bilevel::dual`]). Recomputing an iterate that was not stored costs one gradient.
//!
//! If only the head f_h adapts, its inputs, the features, are the same at every inner step. The other layers then run once on
//! the images of a task, forwards and backwards, and the inner loop costs 2 f_h, the outer loss 3 f_h, a product 5 f_h.

use crate::config::Config;
use crate::model::{Architecture, Product};
use crate::task::BatchNorm;
use bilevel::hypergradient::Evaluations;

/// The flop per task of gradients and Hessian-vector products.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Arithmetic {
    /// ∇L_in.
    pub inner: f64,
    /// ∇L_out.
    pub outer: f64,
    /// A Hessian-vector product of L_in.
    pub product: f64,
    /// What an outer step computes once, for all tasks.
    pub once: f64,
}

impl Arithmetic {
    /// The costs for the network and the episodes of `config`.
    pub fn new(config: &Config, architecture: &dyn Architecture) -> Self {
        let task = &config.task;
        let (support, query) = (task.ways * task.shots, task.ways * task.queries);
        let outer = match config.model.batch_norm {
            BatchNorm::Transductive | BatchNorm::Absent => query,
            BatchNorm::Support => support + query,
        };
        let fixed_body = config.inner.adaptation().has_fixed_body(architecture);
        let mut products = architecture.products();
        // The head is the last product.
        let head = if fixed_body { products.pop().map_or(0, |head| head.multiply_adds()) } else { 0 };
        let sum = |on_images| -> usize {
            let own = products.iter().filter(|product| product.on_images == on_images);
            own.map(Product::multiply_adds).sum()
        };
        let (first, others) = (sum(true), sum(false));
        let flop = |of_first, of_others, images: usize| {
            2.0 * (images * (of_first * first + of_others * others)) as f64
        };
        if fixed_body {
            let of_head = |times: usize, images: usize| 2.0 * (times * images * head) as f64;
            let tasks = config.outer.meta_batch as f64;
            return Self {
                inner: of_head(2, support),
                outer: of_head(3, query),
                product: of_head(5, support),
                once: tasks * flop(2, 3, support + outer),
            };
        }
        let [inner, outer, product] = [flop(2, 3, support), flop(2, 3, outer), flop(3, 8, support)];
        Self { inner, outer, product, once: 0.0 }
    }

    /// The total flop of `evaluations`.
    pub fn flop(&self, evaluations: &Evaluations) -> f64 {
        self.once
            + self.inner * (evaluations.inner + evaluations.recomputed) as f64
            + self.outer * evaluations.outer as f64
            + self.product * evaluations.products as f64
    }
}

#[cfg(test)]
mod tests {
    use super::super::SETTINGS;
    use super::*;
    use crate::model::{Conv4, Mlp, Pool, ResNet, Shape};
    use bilevel::hypergradient::Draw;

    /// f_1 to f_4 of Conv4-64 on 28 × 28 images, and the linear layer's multiply-adds, counted by hand.
    const CONVOLUTIONS: [f64; 4] =
        [14. * 14. * 9. * 64., 7. * 7. * 9. * 64. * 64., 4. * 4. * 9. * 64. * 64., 2. * 2. * 9. * 64. * 64.];
    const LINEAR: f64 = 2. * 2. * 64. * 5.;

    fn cost(draw: &Draw) -> Result<f64, crate::config::Error> {
        let config = Config::load(None, &SETTINGS[0].assignments(None))?;
        let network = config.model.architecture.build(Shape::square(28, 1), 5);
        Ok(Arithmetic::new(&config, &*network).flop(&draw.cost()))
    }

    #[test]
    fn flop_of_configuration_a_matches_a_hand_count() -> Result<(), crate::config::Error> {
        let [first, second, third, fourth] = CONVOLUTIONS;
        let others = second + third + fourth + LINEAR;
        // 16 tasks: 5 gradients on 5 support images, and 1 on 25 query images.
        let first_order = 2. * 16. * (5. * 5. + 25.) * (2. * first + 3. * others);
        assert_eq!(cost(&Draw::truncated(16, 5, 0))?, first_order);
        assert_eq!((first_order / 1e8).round(), 126.);
        // Plus 5 products of 5 support images.
        let exact = first_order + 2. * 16. * 5. * 5. * (3. * first + 8. * others);
        assert_eq!(cost(&Draw::truncated(16, 5, 5))?, exact);
        assert_eq!((exact / 1e8).round(), 291.);
        Ok(())
    }

    #[test]
    fn products_cover_every_weight_matrix() -> Result<(), crate::model::BuildError> {
        let conv4 = Conv4 { pool: Pool::Max, bias: true, ..Conv4::new(8, 4) };
        let resnet = ResNet { filters: 4, layers: 8, negative_slope: 0.0, init: conv4.init };
        let networks = [
            Conv4::new(64, 4).build(28, 5)?,
            conv4.build(28, 5)?,
            resnet.build(28, 5)?,
            Mlp::new(&[32, 16]).build(14 * 14, 5)?,
        ];
        for network in networks {
            let products = network.products();
            let weights: usize = products.iter().map(|product| product.inputs * product.outputs).sum();
            let matrices = network.leaves().into_iter().filter(|leaf| leaf.layout.shape().len() > 1);
            assert_eq!(weights, matrices.map(|leaf| leaf.layout.count()).sum::<usize>());
        }
        Ok(())
    }

    #[test]
    fn products_on_images_are_those_whose_inputs_have_no_gradient() -> Result<(), crate::model::BuildError> {
        let on_images = |network: crate::model::Sequential| -> Vec<usize> {
            let products = network.products().into_iter().filter(|product| product.on_images);
            products.map(|product| product.multiply_adds()).collect()
        };
        let max = Conv4 { pool: Pool::Max, ..Conv4::new(64, 4) };
        assert_eq!(on_images(max.build(28, 5)?), [28 * 28 * 9 * 64]);
        // The first block's convolution and its shortcut.
        let resnet = ResNet { filters: 32, layers: 4, negative_slope: 0.0, init: max.init };
        assert_eq!(on_images(resnet.build(28, 5)?), [14 * 14 * 9 * 32, 14 * 14 * 32]);
        assert_eq!(on_images(Mlp::new(&[7]).build(14 * 14, 5)?), [14 * 14 * 7]);
        Ok(())
    }

    #[test]
    fn a_head_that_adapts_alone_runs_the_body_once() -> Result<(), crate::config::Error> {
        let only_head = ["inner.adapts=head".to_string()];
        let assignments = [&SETTINGS[0].assignments(None)[..], &only_head].concat();
        let config = Config::load(None, &assignments)?;
        let network = config.model.architecture.build(Shape::square(28, 1), 5);
        let [first, second, third, fourth] = CONVOLUTIONS;
        // 16 tasks of 5 support and 25 query images, 5 inner steps.
        let body = 2. * 16. * 30. * (2. * first + 3. * (second + third + fourth));
        let head = 2. * 16. * (5. * 5. * 2. + 25. * 3. + 5. * 5. * 5.) * LINEAR;
        let exact = Draw::truncated(16, 5, 5);
        assert_eq!(Arithmetic::new(&config, &*network).flop(&exact.cost()), body + head);
        Ok(())
    }

    #[test]
    fn recomputed_iterate_costs_an_inner_gradient() {
        let costs = Arithmetic { inner: 2., outer: 3., product: 5., once: 7. };
        let evaluations = Evaluations { inner: 1, outer: 10, products: 100, recomputed: 1000 };
        assert_eq!(costs.flop(&evaluations), 7. + 2. + 30. + 500. + 2000.);
    }
}
