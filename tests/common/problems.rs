//! Small bi-level problems for the tests, in float64 on flex.

use super::relative;
use burn::tensor::{DType, Device, Tensor, TensorData};
use metaburn::config::BatchNorm;
use metaburn::data::Labelled;
use metaburn::dual::Dual;
use metaburn::hypergradient::{self, Draw, estimate};
use metaburn::model::{Architecture, initialise};
use metaburn::problem::{Batch, Bilevel, FewShot, Rates};
use metaburn::random::generator;
use metaburn::stack::Stack;
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};
use std::sync::Arc;

/// Normal draws as a float64 tensor.
pub fn normal<const D: usize>(shape: [usize; D], seed: u64) -> Tensor<D> {
    let mut random = generator(seed, "test", 0);
    let values: Vec<f64> = (0..shape.iter().product()).map(|_| StandardNormal.sample(&mut random)).collect();
    Tensor::from_data(TensorData::new(values, shape), (&Device::flex(), DType::F64))
}

/// A few-shot problem of random images, and θ.
pub fn few_shot(
    architecture: Arc<dyn Architecture>,
    [tasks, ways, shots, queries, pixels]: [usize; 5],
    rate: f64,
    batch_norm: BatchNorm,
) -> (FewShot, Stack) {
    let batch = |count: usize, seed| {
        let labels: Vec<usize> =
            (0..tasks * ways * count).map(|image| image % (ways * count) / count).collect();
        Batch::new(&*architecture, normal([tasks, ways * count, pixels], seed), &labels, ways)
    };
    let (support, query) = (batch(shots, 1), batch(queries, 2));
    // A jitter, so that batch norm's γ and β are nowhere special.
    let theta = initialise(&*architecture, 3, &Device::flex());
    let mut seed = 10;
    let theta = theta.map(|leaf| {
        seed += 1;
        let dims = leaf.dims();
        leaf.cast(DType::F64) + normal(dims, seed) * 0.1
    });
    (FewShot::new(architecture, support, query, rate, batch_norm), theta)
}

/// A problem where θ and φ differ and θ enters everywhere: softmax regression whose examples are
/// weighted by θ (inner), regularised by it (outer), and started from a function of it.
#[derive(Clone)]
pub struct Weighted {
    /// `[tasks, examples, features]`
    pub train: Tensor<3>,
    /// `[tasks, examples, classes]`
    pub train_labels: Tensor<3>,
    pub validation: Tensor<3>,
    pub validation_labels: Tensor<3>,
}

impl Weighted {
    /// `tasks` tasks of six training and four validation examples, three features, three classes.
    pub fn new(tasks: usize) -> (Self, Stack) {
        let labels = |count: usize| {
            let one_hot: Vec<f64> = (0..tasks * count * 3)
                .map(|at| if (at / 3 * 7 / 2) % 3 == at % 3 { 1.0 } else { 0.0 })
                .collect();
            Tensor::from_data(TensorData::new(one_hot, [tasks, count, 3]), (&Device::flex(), DType::F64))
        };
        let problem = Self {
            train: normal([tasks, 6, 3], 1),
            train_labels: labels(6),
            validation: normal([tasks, 4, 3], 2),
            validation_labels: labels(4),
        };
        (problem, Stack::new(vec![normal([1, 6, 1], 3), normal([1, 3, 3], 4)]))
    }
}

impl Bilevel for Weighted {
    fn tasks(&self) -> usize {
        self.train.dims()[0]
    }

    fn start(&self, outer: &Stack) -> Stack {
        Stack::new(vec![outer.leaves()[1].clone().tanh()])
    }

    fn inner_rates(&self, step: usize, _outer: &Stack) -> Rates {
        Rates::Scalar(0.5 / step as f64)
    }

    fn inner_loss(&self, outer: &[Dual<3>], fast: &[Dual<3>]) -> Dual<1> {
        let logits = Dual::constant(self.train.clone()).matmul(fast[0].clone());
        let losses = (logits.log_softmax(2) * Dual::constant(self.train_labels.clone())).sum_dim(2);
        let tasks = self.tasks();
        (outer[0].clone().sigmoid() * losses).sum_dim(1).scale(-1.0).reshape([tasks])
    }

    fn outer_loss(&self, outer: &Stack, fast: &Stack) -> Tensor<1> {
        let logits = Dual::constant(self.validation.clone().matmul(fast.leaves()[0].clone()));
        let losses =
            (logits.log_softmax(2) * Dual::constant(self.validation_labels.clone())).sum_dim(2).sum_dim(1);
        let weights = outer.leaves()[0].clone().square().sum_dim(1).mul_scalar(0.05);
        (weights - losses.primal).reshape([self.tasks()])
    }

    fn select(&self, tasks: &[usize]) -> Self {
        let tasks = metaburn::stack::task_indices(tasks, &Device::flex());
        let pick = |x: &Tensor<3>| x.clone().select(0, tasks.clone());
        Self {
            train: pick(&self.train),
            train_labels: pick(&self.train_labels),
            validation: pick(&self.validation),
            validation_labels: pick(&self.validation_labels),
        }
    }
}

/// Every value of a stack, leaf after leaf.
pub fn values(stack: &Stack) -> Vec<f64> {
    stack
        .leaves()
        .iter()
        .flat_map(|leaf| leaf.clone().into_data().iter::<f64>().collect::<Vec<_>>())
        .collect()
}

/// ∇M(θ) by central differences, coordinate by coordinate.
pub fn differences<P: Bilevel>(problem: &P, theta: &Stack, steps: usize) -> Vec<f64> {
    values(&hypergradient::differences(problem, theta, steps, 1e-5))
}

/// That the exact gradient is ∇M's central differences, and that the gradient truncated by one step is not.
pub fn exact_is_the_slope<P: Bilevel>(problem: &P, theta: &Stack, steps: usize) {
    let draw = |depth| Draw::truncated(problem.tasks(), steps, depth);
    let slope = differences(problem, theta, steps);
    let exact = values(&estimate(problem, theta, &draw(steps)).gradient.mean());
    let error = relative(&exact, &slope);
    assert!(error < 1e-6, "exact gradient is off by {error:e}");
    // The same comparison must be able to fail: a truncated gradient is another vector.
    let truncated = values(&estimate(problem, theta, &draw(steps - 1)).gradient.mean());
    assert!(relative(&truncated, &slope) > 1e-3);
}

/// `count` images of `pixels` random greys in `classes` classes, each lighter where its class's pixels are.
pub fn patches(count: usize, pixels: usize, classes: usize, seed: u64) -> Labelled {
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
