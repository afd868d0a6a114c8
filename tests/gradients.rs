//! Exact gradients against central differences of the outer objective, in float64; and what the
//! engine promises of every walk.

mod common;

use burn::tensor::{DType, Device};
use common::problems::{Weighted, exact_is_the_slope, few_shot, normal, patches, values};
use common::relative;
use metaburn::config::BatchNorm;
use metaburn::hypergradient::{Draw, Workers, adapt, estimate};
use metaburn::model::{Conv4Config, MlpConfig};
use metaburn::problem::{Batch, Bilevel, HyperCleaning, Hyperparameters};
use metaburn::stack::Stack;
use std::sync::Arc;

#[test]
fn conv4_in_either_mode_of_batch_norm() {
    for batch_norm in [BatchNorm::Transductive, BatchNorm::Support] {
        let network = Arc::new(Conv4Config::new(7, 2, 3, 3));
        let (problem, theta) = few_shot(network, [2, 3, 2, 2, 49], 0.3, batch_norm);
        exact_is_the_slope(&problem, &theta, 3);
    }
}

#[test]
fn mlp_in_either_mode_of_batch_norm() {
    for batch_norm in [BatchNorm::Transductive, BatchNorm::Support] {
        let network = Arc::new(MlpConfig::new(6, &[5, 4], 3));
        let (problem, theta) = few_shot(network, [2, 3, 2, 2, 6], 0.3, batch_norm);
        exact_is_the_slope(&problem, &theta, 4);
    }
}

#[test]
fn a_problem_whose_outer_parameters_are_not_its_weights() {
    let (problem, theta) = Weighted::new(2);
    exact_is_the_slope(&problem, &theta, 5);
}

/// Labelled patches as a float64 task.
fn batch(count: usize, seed: u64) -> Batch {
    Batch::of(&patches(count, 6, 3, seed), (&Device::flex(), DType::F64))
}

#[test]
fn hyper_cleaning_whose_first_order_gradient_is_nothing() {
    let problem = HyperCleaning::new(batch(9, 1), batch(6, 2), 0.2);
    let theta = Stack::new(vec![normal([1, 9, 1], 3)]);
    exact_is_the_slope(&problem, &theta, 5);
    learns_by_products_alone(&problem, &theta);
}

#[test]
fn hyperparameters_whose_first_order_gradient_is_nothing() {
    for hidden in [[].as_slice(), &[5, 4]] {
        let problem = Hyperparameters::new(batch(9, 1), batch(6, 2), hidden, 0);
        let layers = problem.layers();
        let each = |from: f64| (0..layers).map(|layer| from * (1.0 + layer as f64)).collect::<Vec<_>>();
        let theta = problem.at(&each(0.1), &each(0.02));
        exact_is_the_slope(&problem, &theta, 5);
        learns_by_products_alone(&problem, &theta);
    }
}

/// θ enters neither V nor L_out: the first-order gradient is exactly 0, and one product makes it another.
fn learns_by_products_alone<P: Bilevel>(problem: &P, theta: &Stack) {
    let truncated = |depth| values(&estimate(problem, theta, &Draw::truncated(1, 5, depth)).gradient);
    assert!(truncated(0).iter().all(|slope| *slope == 0.0));
    assert!(truncated(1).iter().all(|slope| *slope != 0.0));
}

#[test]
fn the_split_over_threads_changes_no_bit() {
    let network = Arc::new(Conv4Config::new(9, 2, 4, 3));
    let (problem, theta) = few_shot(network, [5, 3, 1, 2, 81], 0.3, BatchNorm::Transductive);
    let mut draw = Draw::truncated(5, 3, 1).observed();
    draw.add(1, 3, 4.0);
    draw.add(4, 3, 4.0);
    let together = Workers::TOGETHER.estimate(&problem, &theta, &draw);
    for (threads, chunk) in [(1, 1), (2, 1), (3, 2), (2, 4)] {
        let apart = Workers { threads, chunk, ..Workers::TOGETHER }.estimate(&problem, &theta, &draw);
        assert_eq!(values(&apart.gradient), values(&together.gradient));
        assert_eq!(apart.evaluations, together.evaluations);
        let depths = |estimate: &metaburn::hypergradient::Estimate, depth| {
            let found = estimate.landmarks.iter().filter(|landmark| landmark.depth == depth);
            found.flat_map(|landmark| landmark.tasks.clone()).collect::<Vec<_>>()
        };
        assert_eq!(depths(&apart, 3), [1, 4]);
        assert_eq!(depths(&apart, 1), [0, 1, 2, 3, 4]);
        assert_eq!(apart.increments.iter().map(|increment| increment.tasks.len()).sum::<usize>(), 5 + 2 + 2);
    }
}

#[test]
fn landmarks_and_increments_are_the_walk_s_own() {
    // ‖Δ_j‖² reported by the walk is the squared distance of neighbouring truncated gradients.
    let network = Arc::new(Conv4Config::new(9, 2, 4, 3));
    let (problem, theta) = few_shot(network, [2, 3, 1, 2, 81], 0.3, BatchNorm::Transductive);
    let steps = 3;
    let truncated = |depth| estimate(&problem, &theta, &Draw::truncated(2, steps, depth)).gradient;
    let walked = estimate(&problem, &theta, &Draw::truncated(2, steps, steps).observed());
    assert_eq!(walked.increments.len(), steps);
    for (increment, depth) in walked.increments.iter().zip(1..) {
        assert_eq!(increment.step, steps - depth + 1);
        let expected = (truncated(depth) - truncated(depth - 1)).squared_norm();
        let norm = |x: burn::tensor::Tensor<1>| x.into_data().iter::<f64>().collect::<Vec<_>>();
        assert!(relative(&norm(increment.squared_norm.clone()), &norm(expected)) < 1e-9);
        assert!(norm(increment.curvature.clone()).iter().all(|curvature| *curvature > 0.0));
    }
}

#[test]
fn skipped_and_reweighted_products_follow_the_recursion() {
    // v ← v − f_j α_j H_j v, by hand from single products: f = (2, 0, ½) for j = 1, 2, 3.
    let network = Arc::new(MlpConfig::new(6, &[5], 3));
    let (problem, theta) = few_shot(network, [1, 3, 2, 2, 6], 0.3, BatchNorm::Transductive);
    let mut draw = Draw::truncated(1, 3, 3);
    [(1, 2.0), (2, 0.0), (3, 0.5)].into_iter().for_each(|(step, factor)| draw.set_factor(step, 0, factor));
    let walked = estimate(&problem, &theta, &draw);
    assert_eq!(walked.evaluations.products, 2);

    let outer = theta.repeat(1);
    let product = |at: &Stack, vector: &Stack| {
        let leaves = at.tracked();
        let slope = problem.inner_loss(&outer.constant(), &leaves.moving(vector)).tangent.unwrap();
        let [product] = Stack::gradients([&leaves], slope.sum());
        product.unwrap()
    };
    let mut vector = estimate(&problem, &theta, &Draw::truncated(1, 3, 0)).gradient;
    for (step, factor) in [(3, 0.5), (1, 2.0)] {
        let scaled = product(&adapt(&problem, &outer, step - 1).0, &vector).scale(&[-0.3 * factor]);
        vector = vector + scaled;
    }
    assert!(relative(&values(&walked.gradient), &values(&vector)) < 1e-12);
}
