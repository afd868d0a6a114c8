//! Exact gradients against central differences of the outer objective, in float64, and the properties of every
//! backward pass: independence of threads, partial gradients and increments, skipped and reweighted products.

use super::problems::{
    FewShotLike, Sizes, WeightedRegression, exact_gradient_matches_differences,
    gradient_along_matches_differences, relative_error, values,
};
use bilevel::hypergradient::Memory;
use bilevel::hypergradient::estimate;
use bilevel::hypergradient::{Draw, LossWeights, Workers, adapt};
use bilevel::{Bilevel, Dual, Params, Proximal, Rates};
use burn::tensor::Tensor;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[test]
fn exact_gradients_of_networks_match_central_differences() {
    let sizes = Sizes { tasks: 2, ways: 3, shots: 2, queries: 2, pixels: 7 };
    let (problem, theta) = FewShotLike::convolutional(sizes, 2, 3, 0.3);
    exact_gradient_matches_differences(&problem, &theta, 3);
    let sizes = Sizes { tasks: 2, ways: 3, shots: 2, queries: 2, pixels: 6 };
    let (problem, theta) = FewShotLike::perceptron(sizes, &[5, 4], 0.3);
    exact_gradient_matches_differences(&problem, &theta, 4);
}

#[test]
fn exact_gradients_match_if_theta_is_not_the_initial_weights() {
    let (problem, theta) = WeightedRegression::new(2);
    exact_gradient_matches_differences(&problem, &theta, 5);
}

#[test]
fn exact_gradients_of_losses_along_the_way_match_central_differences() {
    let sizes = Sizes { tasks: 2, ways: 3, shots: 2, queries: 2, pixels: 7 };
    let (network, weights) = FewShotLike::convolutional(sizes, 2, 3, 0.3);
    let (regression, theta) = WeightedRegression::new(2);
    for losses in [vec![0.0, 0.2, 0.3, 0.5], vec![0.4, 0.0, 0.9, -0.3], vec![0.0, 0.0, 1.0, 0.0]] {
        let losses = LossWeights::new(losses);
        gradient_along_matches_differences(&network, &weights, &losses);
        gradient_along_matches_differences(&regression, &theta, &losses);
    }
}

#[test]
fn the_gradient_of_losses_along_the_way_is_the_weighted_sum_of_the_gradients_of_each() {
    // Truncated to k products, too: g_k skips the products of the first r − k inner steps in every term.
    let (problem, theta) = WeightedRegression::new(2);
    let weights = [0.1, 0.2, 0.0, 0.3, 0.4];
    let steps = weights.len() - 1;
    for depth in 0..=steps {
        let draw = Draw::truncated(2, steps, depth).with_losses(LossWeights::new(weights.into()));
        let together = estimate(&problem, &theta, &draw.clone().observed(), Memory::Store);
        assert_eq!(
            values(&together.gradient),
            values(&estimate(&problem, &theta, &draw, Memory::Store).gradient)
        );
        let (tasks, partial) = together.partial_gradient(depth).expect("it is summed");
        assert_eq!(tasks, [0, 1]);
        assert!(relative_error(&values(&partial), &values(&together.gradient)) < 1e-14);
        assert_eq!(together.evaluations.outer, 2 * 4);

        let each = weights.iter().enumerate().filter(|(_, weight)| **weight != 0.0).map(|(last, weight)| {
            // The loss after `last` inner steps, of which the products before r − k + 1 are skipped.
            let mut draw = Draw::truncated(2, last, last);
            for (step, task) in (1..=last).flat_map(|step| [(step, 0), (step, 1)]) {
                draw.set_factor(step, task, f64::from(u8::from(step > steps - depth)));
            }
            estimate(&problem, &theta, &draw, Memory::Store).gradient.scale(&[*weight; 2])
        });
        let sum = each.reduce(|sum, gradient| sum + gradient).expect("some loss has a weight");
        let error = relative_error(&values(&together.gradient), &values(&sum));
        assert!(error < 1e-13, "depth {depth} is off by {error:e}");
    }
}

/// A problem that counts the tasks for which V is differentiated, each for one evaluation.
struct CountingStarts<P> {
    problem: P,
    differentiated: Arc<AtomicUsize>,
}

impl<P: Bilevel> Bilevel for CountingStarts<P> {
    fn tasks(&self) -> usize {
        self.problem.tasks()
    }

    fn start(&self, outer: &Params) -> Params {
        if outer.leaves()[0].is_tracked() {
            self.differentiated.fetch_add(self.tasks(), Ordering::Relaxed);
        }
        self.problem.start(outer)
    }

    fn start_evaluations(&self) -> u64 {
        1
    }

    fn inner_rates(&self, step: usize, outer: &Params) -> Rates {
        self.problem.inner_rates(step, outer)
    }

    fn inner_loss(&self, step: usize, outer: &[Dual<3>], fast: &[Dual<3>]) -> Dual<1> {
        self.problem.inner_loss(step, outer, fast)
    }

    fn outer_loss(&self, step: usize, outer: &Params, fast: &Params) -> Tensor<1> {
        self.problem.outer_loss(step, outer, fast)
    }

    fn select(&self, tasks: &[usize]) -> Self {
        Self { problem: self.problem.select(tasks), differentiated: self.differentiated.clone() }
    }
}

/// Draws of three tasks that sum gradients of several depths, differently from task to task.
fn draws_of_many_depths(steps: usize) -> Vec<(&'static str, Draw)> {
    // Task 1 is exact and reweighted.
    let mut ufom = Draw::truncated(3, steps, 1);
    ufom.add(1, 1, -4.0);
    ufom.add(1, steps, 4.0);
    // Each task stops at another depth.
    let mut telescope = Draw::new(3, steps);
    for (task, depth, weight) in
        [(0, 0, 1.0), (1, 0, -1.0), (1, 2, 2.0), (2, 0, -1.0), (2, 2, -2.0), (2, steps, 4.0)]
    {
        telescope.add(task, depth, weight);
    }
    // No task sums the first depth, and one task sums nothing.
    let mut few = Draw::new(3, steps);
    few.add(2, 1, 0.5);
    few.add(0, steps, 3.0);
    vec![("UFOM", ufom), ("telescope", telescope), ("few", few)]
}

#[test]
fn a_weighted_sum_of_depths_is_that_of_the_truncated_gradients_and_differentiates_the_start_once() {
    let (problem, theta) = WeightedRegression::new(3);
    let problem = CountingStarts { problem, differentiated: Arc::default() };
    let along = LossWeights::new(vec![0.1, 0.2, 0.0, 0.3, 0.4]);
    let steps = along.steps();
    for losses in [LossWeights::last(steps), along] {
        let with = |draw: &Draw| {
            let found = estimate(&problem, &theta, &draw.clone().with_losses(losses.clone()), Memory::Store);
            (found, problem.differentiated.swap(0, Ordering::Relaxed))
        };
        let truncated: Vec<Params> =
            (0..=steps).map(|depth| with(&Draw::truncated(3, steps, depth)).0.gradient).collect();
        for (name, draw) in draws_of_many_depths(steps) {
            let terms = truncated.iter().enumerate().map(|(depth, gradient)| {
                let weights: Vec<f64> = (0..3).map(|task| draw.weight(depth, task)).collect();
                gradient.clone().scale(&weights)
            });
            let expected = values(&terms.reduce(|sum, term| sum + term).expect("a depth"));
            let (plain, tasks) = with(&draw);
            let error = relative_error(&values(&plain.gradient), &expected);
            assert!(error < 1e-13, "{name} is off by {error:e}");
            assert_eq!(tasks, 3, "{name}: the start of each task is differentiated once");
            assert_eq!(plain.evaluations.inner, 3 * steps as u64 + 3, "{name}");
            assert!(plain.partial_gradients.is_empty());

            // An observed draw reports every g_k that it sums.
            let (observed, tasks) = with(&draw.clone().observed());
            let error = relative_error(&values(&observed.gradient), &expected);
            assert!(error < 1e-13, "{name}, observed, is off by {error:e}");
            let summed: Vec<Vec<usize>> = (0..=steps).map(|depth| draw.summed(depth)).collect();
            assert_eq!(tasks, summed.concat().len(), "{name}, observed");
            let idle = (0..3).filter(|task| !summed.concat().contains(task)).count();
            assert_eq!(observed.evaluations.inner, (3 * steps + tasks + idle) as u64, "{name}, observed");
            for (depth, tasks) in summed.into_iter().enumerate().filter(|(_, tasks)| !tasks.is_empty()) {
                let (found, gradient) = observed.partial_gradient(depth).expect("it is summed");
                assert_eq!(found, tasks, "{name}");
                let error = relative_error(&values(&gradient), &values(&truncated[depth].select(&tasks)));
                assert!(error < 1e-13, "{name}, depth {depth}, is off by {error:e}");
            }
        }
    }
}

#[test]
fn clipping_does_not_reach_tasks_without_a_product() {
    let (problem, theta) = WeightedRegression::new(3);
    // Task 1 is exact, the others first-order.
    let mut draw = Draw::truncated(3, 4, 0);
    draw.add(1, 4, 1.0);
    let gradients = |bound| {
        let found = estimate(&problem, &theta, &draw.clone().clipped(bound), Memory::Store).gradient;
        [0, 1, 2].map(|task| values(&found.select(&[task])))
    };
    let (plain, clipped) = (gradients(None), gradients(Some(1e-3)));
    assert_ne!(clipped[1], plain[1]);
    assert_eq!([&clipped[0], &clipped[2]], [&plain[0], &plain[2]]);
}

#[test]
fn without_an_inner_step_the_gradient_is_that_of_the_outer_loss_at_the_start() {
    let (problem, theta) = WeightedRegression::new(2);
    let losses = LossWeights::last(0);
    let gradient = estimate(&problem, &theta, &Draw::truncated(2, 0, 0), Memory::Store);
    let slope = bilevel::hypergradient::differences(&problem, &theta, &losses, 1e-5);
    assert!(relative_error(&values(&gradient.gradient.mean()), &values(&slope)) < 1e-8);
    assert_eq!((gradient.evaluations.total(), gradient.iterate_bytes), (2, 0));
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let sizes = Sizes { tasks: 5, ways: 3, shots: 1, queries: 2, pixels: 9 };
    let (problem, theta) = FewShotLike::convolutional(sizes, 2, 4, 0.3);
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

#[test]
fn increments_are_differences_of_truncated_gradients() {
    // ‖Δ_j‖² reported by the walk is the squared distance of neighbouring truncated gradients.
    let sizes = Sizes { tasks: 2, ways: 3, shots: 1, queries: 2, pixels: 9 };
    let (problem, theta) = FewShotLike::convolutional(sizes, 2, 4, 0.3);
    let steps = 3;
    let truncated =
        |depth| estimate(&problem, &theta, &Draw::truncated(2, steps, depth), Memory::Store).gradient;
    let walked = estimate(&problem, &theta, &Draw::truncated(2, steps, steps).observed(), Memory::Store);
    assert_eq!(walked.increments.len(), steps);
    for (increment, depth) in walked.increments.iter().zip(1..) {
        assert_eq!(increment.step, steps - depth + 1);
        let expected = (truncated(depth) - truncated(depth - 1)).squared_norm();
        let norm = |x: burn::tensor::Tensor<1>| x.into_data().iter::<f64>().collect::<Vec<_>>();
        assert!(relative_error(&norm(increment.squared_norm.clone()), &norm(expected)) < 1e-9);
        assert!(norm(increment.curvature.clone()).iter().all(|curvature| *curvature > 0.0));
    }
}

#[test]
fn skipped_and_reweighted_products_follow_the_recursion() {
    // v ← v − f_j α_j H_j v, by hand from single products: f = (2, 0, ½) for j = 1, 2, 3.
    let sizes = Sizes { tasks: 1, ways: 3, shots: 2, queries: 2, pixels: 6 };
    let (problem, theta) = FewShotLike::perceptron(sizes, &[5], 0.3);
    let mut draw = Draw::truncated(1, 3, 3);
    [(1, 2.0), (2, 0.0), (3, 0.5)].into_iter().for_each(|(step, factor)| draw.set_factor(step, 0, factor));
    let walked = estimate(&problem, &theta, &draw, Memory::Store);
    assert_eq!(walked.evaluations.products, 2);

    let outer = theta.repeat(1);
    let product = |at: &Params, vector: &Params| {
        let leaves = at.tracked();
        let slope = problem.inner_loss(1, &outer.constant(), &leaves.moving(vector)).tangent.unwrap();
        let [product] = Params::gradients([&leaves], slope.sum());
        product.unwrap()
    };
    let mut vector = estimate(&problem, &theta, &Draw::truncated(1, 3, 0), Memory::Store).gradient;
    for (step, factor) in [(3, 0.5), (1, 2.0)] {
        let scaled = product(&adapt(&problem, &outer, step - 1).0, &vector).scale(&[-0.3 * factor]);
        vector = vector + scaled;
    }
    assert!(relative_error(&values(&walked.gradient), &values(&vector)) < 1e-12);
}

#[test]
fn a_proximal_term_keeps_the_gradient_exact_where_the_start_is_a_function_of_theta() {
    let (problem, theta) = WeightedRegression::new(2);
    exact_gradient_matches_differences(&Proximal { problem, strength: 0.7 }, &theta, 5);
}

#[test]
fn a_proximal_term_of_strength_zero_changes_no_bit() {
    let (problem, theta) = WeightedRegression::new(2);
    let draw = Draw::truncated(2, 3, 3);
    let of = |strength| {
        let problem = Proximal { problem: problem.clone(), strength };
        values(&estimate(&problem, &theta, &draw, Memory::Store).gradient)
    };
    let plain = values(&estimate(&problem, &theta, &draw, Memory::Store).gradient);
    assert_eq!(of(0.0), plain);
    assert!(relative_error(&of(0.1), &plain) > 1e-3);
}
