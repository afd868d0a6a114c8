//! The exact gradients of few-shot learning, hyper-cleaning and hyperparameters against central differences of the outer
//! objective, in float64.

use crate::common::problems::{
    exact_gradient_matches_differences, few_shot, labelled_images, normal, values,
};
use crate::common::relative_error;
use bilevel::hypergradient::{Draw, LossWeights, Memory, Workers, differences, estimate};
use bilevel::kernel::Window;
use bilevel::{Bilevel, Params};
use burn::tensor::{DType, Device};
use metaburn::model::{Architecture, Conv4, Initialisation, Mlp, Pool, ResNet, Sequential, Shape};
use metaburn::task::BatchNorm;
use metaburn::task::{Batch, HyperCleaning, Hyperparameters};
use std::sync::Arc;

#[test]
fn conv4_in_both_batch_norm_modes() {
    for batch_norm in [BatchNorm::Transductive, BatchNorm::Support] {
        let network = Arc::new(Conv4::new(3, 2).build(7, 3).unwrap());
        let (problem, theta) = few_shot(network, [2, 3, 2, 2, 49], 0.3, batch_norm);
        exact_gradient_matches_differences(&problem, &theta, 3);
    }
}

#[test]
fn conv4_on_images_in_colour() {
    let network = Arc::new(Conv4::new(3, 2).build_on(Shape::square(5, 3), 3).unwrap());
    let (problem, theta) = few_shot(network, [2, 3, 2, 2, 75], 0.3, BatchNorm::Transductive);
    exact_gradient_matches_differences(&problem, &theta, 3);
}

#[test]
fn mlp_in_both_batch_norm_modes() {
    for batch_norm in [BatchNorm::Transductive, BatchNorm::Support] {
        let network = Arc::new(Mlp::new(&[5, 4]).build(6, 3).unwrap());
        let (problem, theta) = few_shot(network, [2, 3, 2, 2, 6], 0.3, batch_norm);
        exact_gradient_matches_differences(&problem, &theta, 4);
    }
}

#[test]
fn networks_with_max_pooling_biases_leaky_relu_and_residual_sums() {
    let init = Initialisation::Xavier;
    let conv4 = Conv4 { pool: Pool::Max, bias: true, negative_slope: 0.1, init, ..Conv4::new(3, 2) };
    let resnet = ResNet { filters: 1, layers: 4, negative_slope: 0.1, init };
    // Every layer, without batch norm after it, and windows that overlap or leave pixels over.
    let window = |size, stride| Window { size, stride, padding: 1 };
    let layers = Sequential::on_images(7)
        .residual(
            |x| {
                x.convolution(3, window(3, 1))
                    .bias()
                    .leaky_relu(0.2)
                    .convolution(3, window(3, 2))
                    .batch_norm()
            },
            |x| x.convolution(3, Window { size: 1, stride: 2, padding: 0 }),
        )
        .relu()
        .mean_pool(2)
        .residual(|x| x.convolution(3, window(3, 1)).bias(), |x| x)
        .max_pool(2)
        .linear(4)
        .bias()
        .leaky_relu(0.5);
    let networks: [Arc<dyn Architecture>; 3] = [
        Arc::new(conv4.build(7, 3).unwrap()),
        Arc::new(resnet.build(7, 3).unwrap()),
        Arc::new(layers.head(3).unwrap()),
    ];
    for (network, steps) in networks.into_iter().zip([3, 2, 3]) {
        for batch_norm in [BatchNorm::Transductive, BatchNorm::Support] {
            let (problem, theta) = few_shot(network.clone(), [2, 3, 2, 2, 49], 0.1, batch_norm);
            // Max-pooling has many kinks: a step of 1e-5 crosses some, after which nothing agrees.
            let slope = values(&differences(&problem, &theta, &LossWeights::last(steps), 1e-6));
            let gradient = |depth| {
                let draw = Draw::truncated(2, steps, depth);
                values(&estimate(&problem, &theta, &draw, Memory::Store).gradient.mean())
            };
            let error = relative_error(&gradient(steps), &slope);
            assert!(error < 1e-6, "{batch_norm}, {steps} steps: the exact gradient is off by {error:e}");
            assert!(relative_error(&gradient(steps - 1), &slope) > 1e-3);
        }
    }
}

/// Labelled patches as a float64 task.
fn batch(count: usize, seed: u64) -> Batch {
    Batch::of(&labelled_images(count, 6, 3, seed), (&Device::flex(), DType::F64))
}

#[test]
fn hyper_cleaning_has_no_first_order_gradient() {
    let problem = HyperCleaning::new(batch(9, 1), batch(6, 2), 0.2);
    let theta = Params::new(vec![normal([1, 9, 1], 3)]);
    exact_gradient_matches_differences(&problem, &theta, 5);
    first_order_gradient_is_zero(&problem, &theta);
}

#[test]
fn hyperparameters_have_no_first_order_gradient() {
    for hidden in [[].as_slice(), &[5, 4]] {
        let problem = Hyperparameters::new(batch(9, 1), batch(6, 2), hidden, 0);
        let layers = problem.layers();
        let each = |from: f64| (0..layers).map(|layer| from * (1.0 + layer as f64)).collect::<Vec<_>>();
        let theta = problem.at(&each(0.1), &each(0.02));
        exact_gradient_matches_differences(&problem, &theta, 5);
        first_order_gradient_is_zero(&problem, &theta);
    }
}

/// θ enters neither V nor L_out: the first-order gradient is exactly 0, and that with one product is not.
fn first_order_gradient_is_zero<P: Bilevel>(problem: &P, theta: &Params) {
    let truncated =
        |depth| values(&estimate(problem, theta, &Draw::truncated(1, 5, depth), Memory::Store).gradient);
    assert!(truncated(0).iter().all(|slope| *slope == 0.0));
    assert!(truncated(1).iter().all(|slope| *slope != 0.0));
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let network = Arc::new(Conv4::new(4, 2).build(9, 3).unwrap());
    let (problem, theta) = few_shot(network, [5, 3, 1, 2, 81], 0.3, BatchNorm::Transductive);
    let mut draw = Draw::truncated(5, 3, 1).observed();
    draw.add(1, 3, 4.0);
    draw.add(4, 3, 4.0);
    let together = Workers::TOGETHER.estimate(&problem, &theta, &draw, Memory::Store);
    for (threads, chunk) in [(1, 1), (2, 1), (3, 2), (2, 4)] {
        let apart = Workers { threads, chunk }.estimate(&problem, &theta, &draw, Memory::Store);
        assert_eq!(values(&apart.gradient), values(&together.gradient));
        assert_eq!(apart.evaluations, together.evaluations);
        let depths = |estimate: &bilevel::hypergradient::Estimate, depth| {
            let found = estimate.partial_gradients.iter().filter(|partial| partial.depth == depth);
            found.flat_map(|partial| partial.tasks.clone()).collect::<Vec<_>>()
        };
        assert_eq!(depths(&apart, 3), [1, 4]);
        assert_eq!(depths(&apart, 1), [0, 1, 2, 3, 4]);
        assert_eq!(apart.increments.iter().map(|increment| increment.tasks.len()).sum::<usize>(), 5 + 2 + 2);
    }
}
