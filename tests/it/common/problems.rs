//! Few-shot problems and labelled images for the tests, and gradients to compare with.

use super::relative_error;
use bilevel::hypergradient::{self, Draw, LossWeights, Memory, estimate};
use bilevel::rng::generator;
use bilevel::{Bilevel, Params};
use burn::tensor::{DType, Device, Tensor, TensorData};
use metaburn::data::Labelled;
use metaburn::model::{Architecture, initialise};
use metaburn::task::BatchNorm;
use metaburn::task::{Batch, FewShot};
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};
use std::sync::Arc;

/// Standard normal draws as a float64 tensor on flex.
pub fn normal<const D: usize>(shape: [usize; D], seed: u64) -> Tensor<D> {
    let mut random = generator(seed, "test", 0);
    let values: Vec<f64> = (0..shape.iter().product()).map(|_| StandardNormal.sample(&mut random)).collect();
    Tensor::from_data(TensorData::new(values, shape), (&Device::flex(), DType::F64))
}

/// A few-shot problem of random images in float64, and θ.
pub fn few_shot(
    architecture: Arc<dyn Architecture>,
    [tasks, ways, shots, queries, pixels]: [usize; 5],
    rate: f64,
    batch_norm: BatchNorm,
) -> (FewShot, Params) {
    let batch = |count: usize, seed| {
        let labels: Vec<usize> =
            (0..tasks * ways * count).map(|image| image % (ways * count) / count).collect();
        Batch::new(&*architecture, normal([tasks, ways * count, pixels], seed), &labels, ways)
    };
    let (support, query) = (batch(shots, 1), batch(queries, 2));
    // With a jitter, so that γ and β of batch norm are not at special values.
    let theta = initialise(&*architecture, 3, &Device::flex());
    let mut seed = 10;
    let theta = theta.map(|leaf| {
        seed += 1;
        let dims = leaf.dims();
        leaf.cast(DType::F64) + normal(dims, seed) * 0.1
    });
    (FewShot::new(architecture, support, query, rate, batch_norm), theta)
}

/// All values of a stack, leaf after leaf.
pub fn values(stack: &Params) -> Vec<f64> {
    stack
        .leaves()
        .iter()
        .flat_map(|leaf| leaf.clone().into_data().iter::<f64>().collect::<Vec<_>>())
        .collect()
}

/// ∇M(θ) by central differences, coordinate by coordinate.
pub fn differences<P: Bilevel>(problem: &P, theta: &Params, steps: usize) -> Vec<f64> {
    values(&hypergradient::differences(problem, theta, &LossWeights::last(steps), 1e-5))
}

/// Asserts that the exact gradient of the loss after `steps` inner steps agrees with central differences, and that the
/// gradient truncated by one step does not.
pub fn exact_gradient_matches_differences<P: Bilevel>(problem: &P, theta: &Params, steps: usize) {
    gradient_along_matches_differences(problem, theta, &LossWeights::last(steps));
}

/// The same for the outer objective with these weights of the losses along the inner loop.
pub fn gradient_along_matches_differences<P: Bilevel>(problem: &P, theta: &Params, losses: &LossWeights) {
    let steps = losses.steps();
    let draw = |depth| Draw::truncated(problem.tasks(), steps, depth).with_losses(losses.clone());
    let slope = values(&hypergradient::differences(problem, theta, losses, 1e-5));
    let exact = values(&estimate(problem, theta, &draw(steps), Memory::Store).gradient.mean());
    let error = relative_error(&exact, &slope);
    assert!(error < 1e-6, "the exact gradient is off by {error:e}");
    // The same comparison must be able to fail.
    let truncated = values(&estimate(problem, theta, &draw(steps - 1), Memory::Store).gradient.mean());
    assert!(relative_error(&truncated, &slope) > 1e-3);
}

/// `count` images of `pixels` random greys in `classes` classes; a class's own pixels are lighter.
pub fn labelled_images(count: usize, pixels: usize, classes: usize, seed: u64) -> Labelled {
    let mut random = generator(seed, "patches", 0);
    let labels: Vec<usize> = (0..count).map(|image| image % classes).collect();
    let ink = |label: usize, pixel: usize, noise: u8| {
        if pixel % classes == label { 127 + noise / 2 } else { noise / 2 }
    };
    let images = labels
        .iter()
        .flat_map(|label| (0..pixels).map(|pixel| ink(*label, pixel, random.random())).collect::<Vec<_>>())
        .collect();
    Labelled::new(pixels, classes, images, labels).expect("as many images as labels")
}
