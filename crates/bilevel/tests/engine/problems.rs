//! Small bi-level problems on flex, in float64, and what their tests share.

use bilevel::hypergradient::{self, Draw, LossWeights, Memory, estimate};
use bilevel::kernel::{Grid, Window};
use bilevel::rng::generator;
use bilevel::{Bilevel, Dual, Rates};
use bilevel::{Params, task_indices};
use burn::tensor::{DType, Device, Tensor, TensorData};
use rand_distr::{Distribution, Normal, StandardNormal};
use std::sync::Arc;

/// Standard normal draws as a float64 tensor.
pub fn normal<const D: usize>(shape: [usize; D], seed: u64) -> Tensor<D> {
    let mut random = generator(seed, "test", 0);
    let values: Vec<f64> = (0..shape.iter().product()).map(|_| StandardNormal.sample(&mut random)).collect();
    Tensor::from_data(TensorData::new(values, shape), (&Device::flex(), DType::F64))
}

/// ‖a − b‖ / ‖b‖.
pub fn relative_error(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
    norm(&mut a.iter().zip(b).map(|(a, b)| a - b)) / norm(&mut b.iter().copied())
}

/// All values of a stack, leaf after leaf.
pub fn values(stack: &Params) -> Vec<f64> {
    stack
        .leaves()
        .iter()
        .flat_map(|leaf| leaf.clone().into_data().iter::<f64>().collect::<Vec<_>>())
        .collect()
}

/// Asserts that the exact gradient of the loss after `steps` inner steps agrees with central differences, and that the
/// gradient truncated by one step does not.
pub fn exact_gradient_matches_differences<P: Bilevel>(problem: &P, theta: &Params, steps: usize) {
    gradient_along_matches_differences(problem, theta, &LossWeights::last(steps));
}

/// The same for the outer objective with these weights of the losses along the inner loop.
pub fn gradient_along_matches_differences<P: Bilevel>(problem: &P, theta: &Params, losses: &LossWeights) {
    let steps = losses.steps();
    let gradient = |depth| {
        let draw = Draw::truncated(problem.tasks(), steps, depth).with_losses(losses.clone());
        values(&estimate(problem, theta, &draw, Memory::Store).gradient.mean())
    };
    let differences = values(&hypergradient::differences(problem, theta, losses, 1e-5));
    let error = relative_error(&gradient(steps), &differences);
    assert!(error < 1e-6, "the exact gradient is off by {error:e}");
    // The same comparison must be able to fail.
    assert!(relative_error(&gradient(steps - 1), &differences) > 1e-3);
}

/// Softmax regression in which θ and φ differ and θ enters everywhere: it weights the examples of the inner loss,
/// regularises the outer loss, and the inner loop starts from a function of it.
#[derive(Clone)]
pub struct WeightedRegression {
    /// `[tasks, examples, features]`
    train: Tensor<3>,
    /// `[tasks, examples, classes]`
    train_labels: Tensor<3>,
    validation: Tensor<3>,
    validation_labels: Tensor<3>,
}

impl WeightedRegression {
    /// `tasks` tasks of six training and four validation examples with three features and three classes, and θ.
    pub fn new(tasks: usize) -> (Self, Params) {
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
        (problem, Params::new(vec![normal([1, 6, 1], 3), normal([1, 3, 3], 4)]))
    }
}

impl Bilevel for WeightedRegression {
    fn tasks(&self) -> usize {
        self.train.dims()[0]
    }

    fn start(&self, outer: &Params) -> Params {
        Params::new(vec![outer.leaves()[1].clone().tanh()])
    }

    fn inner_rates(&self, step: usize, _outer: &Params) -> Rates {
        Rates::Scalar(0.5 / step as f64)
    }

    fn inner_loss(&self, _step: usize, outer: &[Dual<3>], fast: &[Dual<3>]) -> Dual<1> {
        let logits = Dual::constant(self.train.clone()).matmul(fast[0].clone());
        let losses = (logits.log_softmax(2) * Dual::constant(self.train_labels.clone())).sum_dim(2);
        let tasks = self.tasks();
        (outer[0].clone().sigmoid() * losses).sum_dim(1).scale(-1.0).reshape([tasks])
    }

    fn outer_loss(&self, _step: usize, outer: &Params, fast: &Params) -> Tensor<1> {
        let logits = Dual::constant(self.validation.clone().matmul(fast.leaves()[0].clone()));
        let losses =
            (logits.log_softmax(2) * Dual::constant(self.validation_labels.clone())).sum_dim(2).sum_dim(1);
        let weights = outer.leaves()[0].clone().square().sum_dim(1).mul_scalar(0.05);
        (weights - losses.primal).reshape([self.tasks()])
    }

    fn select(&self, tasks: &[usize]) -> Self {
        let tasks = task_indices(tasks, &Device::flex());
        let pick = |x: &Tensor<3>| x.clone().select(0, tasks.clone());
        Self {
            train: pick(&self.train),
            train_labels: pick(&self.train_labels),
            validation: pick(&self.validation),
            validation_labels: pick(&self.validation_labels),
        }
    }
}

/// Few-shot classification of random images (MAML): the inner loss is the cross-entropy of the support set, the outer
/// loss that of the query set, and the inner loop starts at θ. Layers of [linear map or 3×3 convolution of stride 2,
/// batch norm, ReLU], then a linear layer; batch norm takes its statistics from the set at hand.
#[derive(Clone)]
pub struct FewShotLike {
    /// Each layer's convolution; `None` is a linear map.
    layers: Arc<[Option<Arc<Grid>>]>,
    support: Set,
    query: Set,
    rate: f64,
}

/// How many tasks, classes of each, support and query images of each class, and pixels.
#[derive(Clone, Copy)]
pub struct Sizes {
    pub tasks: usize,
    pub ways: usize,
    pub shots: usize,
    pub queries: usize,
    /// Of an image; for convolutions, of its side.
    pub pixels: usize,
}

/// Labelled images.
#[derive(Clone)]
struct Set {
    /// `[tasks, images, pixels]`
    images: Tensor<3>,
    /// `[tasks, images, ways]`
    one_hot: Tensor<3>,
}

impl Set {
    /// `count` random images of each class of each task.
    fn new(Sizes { tasks, ways, .. }: Sizes, count: usize, pixels: usize, seed: u64) -> Self {
        let images = ways * count;
        let one_hot: Vec<f64> = (0..tasks * images * ways)
            .map(|at| if at / ways % images / count == at % ways { 1.0 } else { 0.0 })
            .collect();
        let one_hot = TensorData::new(one_hot, [tasks, images, ways]);
        Self {
            images: normal([tasks, images, pixels], seed),
            one_hot: Tensor::from_data(one_hot, (&Device::flex(), DType::F64)),
        }
    }

    fn map(&self, change: impl Fn(Tensor<3>) -> Tensor<3>) -> Self {
        Self { images: change(self.images.clone()), one_hot: change(self.one_hot.clone()) }
    }
}

impl FewShotLike {
    /// A perceptron with `hidden` layers of those widths, on images of `sizes.pixels` pixels; and θ.
    pub fn perceptron(sizes: Sizes, hidden: &[usize], rate: f64) -> (Self, Params) {
        let layers = hidden.iter().map(|_| None).collect();
        let mut leaves = Leaves::default();
        let mut inputs = sizes.pixels;
        for width in hidden {
            leaves.layer(*width, inputs, 1);
            inputs = *width;
        }
        leaves.weight(sizes.ways, inputs, 1, 1.0);
        leaves.vector(sizes.ways, 0.0);
        (Self::new(layers, sizes, sizes.pixels, rate), leaves.jittered())
    }

    /// `blocks` convolutions of `filters` filters, on images of `sizes.pixels`² pixels; and θ.
    pub fn convolutional(sizes: Sizes, blocks: usize, filters: usize, rate: f64) -> (Self, Params) {
        let mut leaves = Leaves::default();
        let (mut side, mut channels, mut layers) = (sizes.pixels, 1, Vec::new());
        let window = Window { size: 3, stride: 2, padding: 1 };
        for _ in 0..blocks {
            layers.push(Some(Arc::new(Grid::new([side; 2], window))));
            leaves.layer(filters, channels, 9);
            (side, channels) = (window.positions(side), filters);
        }
        leaves.weight(sizes.ways, channels, side * side, 1.0);
        leaves.vector(sizes.ways, 0.0);
        (Self::new(layers, sizes, sizes.pixels * sizes.pixels, rate), leaves.jittered())
    }

    fn new(layers: Vec<Option<Arc<Grid>>>, sizes: Sizes, pixels: usize, rate: f64) -> Self {
        Self {
            layers: layers.into(),
            support: Set::new(sizes, sizes.shots, pixels, 1),
            query: Set::new(sizes, sizes.queries, pixels, 2),
            rate,
        }
    }

    /// The same problem in single precision.
    pub fn in_float32((problem, theta): (Self, Params)) -> (Self, Params) {
        let cast = |x: Tensor<3>| x.cast(DType::F32);
        let [support, query] = [&problem.support, &problem.query].map(|set| set.map(cast));
        (Self { support, query, ..problem }, theta.map(cast))
    }

    /// Mean cross-entropy of each task: `[tasks]`.
    fn loss(&self, weights: &[Dual<3>], set: &Set) -> Dual<1> {
        let [tasks, count, pixels] = set.images.dims();
        let is_image = self.layers.first().is_some_and(Option::is_some);
        let shape = if is_image { [tasks, count * pixels, 1] } else { [tasks, count, pixels] };
        let mut x = Dual::constant(set.images.clone().reshape(shape));
        for (layer, weights) in self.layers.iter().zip(weights.chunks_exact(3)) {
            let [weight, gamma, beta] = [0, 1, 2].map(|leaf| weights[leaf].clone());
            x = match layer {
                None => x.matmul(weight),
                Some(grid) => x.convolve(weight, grid),
            };
            let rows = x.dims()[1];
            x = x.batch_norm_relu(gamma, beta, rows, 1e-5);
        }
        let head = &weights[weights.len() - 2..];
        let [_, rows, channels] = x.dims();
        let features = x.reshape([tasks, count, rows / count * channels]);
        let logits = features.matmul(head[0].clone()) + head[1].clone();
        let likelihoods = (logits.log_softmax(2) * Dual::constant(set.one_hot.clone())).sum_dim(2);
        likelihoods.sum_dim(1).scale(-1.0 / count as f64).reshape([tasks])
    }
}

impl Bilevel for FewShotLike {
    fn tasks(&self) -> usize {
        self.support.images.dims()[0]
    }

    fn inner_rates(&self, _step: usize, _outer: &Params) -> Rates {
        Rates::Scalar(self.rate)
    }

    fn inner_loss(&self, _step: usize, _outer: &[Dual<3>], fast: &[Dual<3>]) -> Dual<1> {
        self.loss(fast, &self.support)
    }

    fn outer_loss(&self, _step: usize, _outer: &Params, fast: &Params) -> Tensor<1> {
        self.loss(&fast.constant(), &self.query).primal
    }

    fn select(&self, tasks: &[usize]) -> Self {
        let tasks = task_indices(tasks, &Device::flex());
        let [support, query] =
            [&self.support, &self.query].map(|set| set.map(|x| x.select(0, tasks.clone())));
        Self { support, query, ..self.clone() }
    }
}

/// The initial weights of a network, one leaf after the other.
#[derive(Default)]
struct Leaves(Vec<Tensor<3>>);

impl Leaves {
    /// A weight with its batch norm's γ and β.
    fn layer(&mut self, outputs: usize, channels: usize, pixels: usize) {
        self.weight(outputs, channels, pixels, 2.0);
        self.vector(outputs, 1.0);
        self.vector(outputs, 0.0);
    }

    /// `[1, pixels·channels, outputs]`, normal with variance `gain` / (channels · pixels).
    fn weight(&mut self, outputs: usize, channels: usize, pixels: usize, gain: f32) {
        let normal = Normal::new(0.0, (gain / (channels * pixels) as f32).sqrt()).expect("a deviation");
        let mut random = generator(3, "initial weights", self.0.len() as u64);
        let values: Vec<f32> = (0..outputs * channels * pixels).map(|_| normal.sample(&mut random)).collect();
        let drawn: Tensor<4> =
            Tensor::from_data(TensorData::new(values, [1, outputs, channels, pixels]), &Device::flex());
        self.0.push(drawn.permute([0, 3, 2, 1]).reshape([1, pixels * channels, outputs]).cast(DType::F64));
    }

    fn vector(&mut self, width: usize, value: f64) {
        self.0.push(Tensor::full([1, 1, width], value, (&Device::flex(), DType::F64)));
    }

    /// θ: with a jitter, so that γ and β of batch norm are not at special values.
    fn jittered(self) -> Params {
        let jitter = |(leaf, seed): (Tensor<3>, u64)| leaf.clone() + normal(leaf.dims(), seed) * 0.1;
        Params::new(self.0.into_iter().zip(11..).map(jitter).collect())
    }
}
