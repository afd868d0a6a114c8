//! A bi-level problem of one's own: how much should a ridge regression penalise each feature?
//!
//! Half of the features are noise. θ is the logarithm of every feature's penalty, φ the regression's
//! weights, fitted to few examples inside and judged on others outside. `docs/own-problem.md` walks through
//! it. To run it: `cargo run --release --example own_problem -- step-coins flex`

use burn::tensor::{Device, Tensor, TensorData};
use metaburn::estimator::{Estimator, StepCoins, Ufom};
use metaburn::problem::{Bilevel, Rates};
use metaburn::{backend, config::Coin, dual::Dual, host::host, random::generator, stack::Stack};
use rand_distr::{Distribution, StandardNormal};

const TASKS: usize = 16;
pub const FEATURES: usize = 12;
const EXAMPLES: usize = 16;
pub const INNER_STEPS: usize = 20;

/// T regressions that have nothing in common but which features are noise: the second half. Inputs
/// `[tasks, 2·examples, features]` and targets `[tasks, 2·examples, 1]`; the first half is to fit to.
pub struct Regressions(Stack);

impl Regressions {
    pub fn draw(step: u64, device: &Device) -> Self {
        let mut values = StandardNormal.sample_iter(generator(0, "regressions", step));
        let mut normal = |rows, columns| -> Tensor<3> {
            let values: Vec<f32> = values.by_ref().take(TASKS * rows * columns).collect();
            Tensor::from_data(TensorData::new(values, [TASKS, rows, columns]), device)
        };
        let (inputs, truth) = (normal(2 * EXAMPLES, FEATURES), normal(FEATURES / 2, 1));
        let signal = inputs.clone().narrow(2, 0, FEATURES / 2).matmul(truth);
        Self(Stack::new(vec![inputs, signal + normal(2 * EXAMPLES, 1)]))
    }

    /// Half the mean squared error of `weights [tasks, features, 1]` on the examples from `first` on: `[tasks]`.
    fn loss(&self, weights: &Dual<3>, first: usize) -> Dual<1> {
        let data = self.0.clone().map(|leaf| leaf.narrow(1, first, EXAMPLES)).constant();
        let error = data[0].clone().matmul(weights.clone()) - data[1].clone();
        error.squared_norm().scale(0.5 / EXAMPLES as f64)
    }
}

impl Bilevel for Regressions {
    fn tasks(&self) -> usize {
        self.0.tasks()
    }

    fn start(&self, outer: &Stack) -> Stack {
        outer.zeros_like()
    }

    fn inner_rates(&self, _step: usize, _outer: &Stack) -> Rates {
        Rates::Scalar(0.1)
    }

    fn inner_loss(&self, outer: &[Dual<3>], fast: &[Dual<3>]) -> Dual<1> {
        let root_penalties = Dual::constant((outer[0].primal.clone() * 0.5).exp());
        self.loss(&fast[0], 0) + (root_penalties * fast[0].clone()).squared_norm().scale(0.5)
    }

    fn outer_loss(&self, _outer: &Stack, fast: &Stack) -> Tensor<1> {
        self.loss(&fast.constant()[0], EXAMPLES).primal
    }

    fn select(&self, tasks: &[usize]) -> Self {
        Self(self.0.select(tasks))
    }
}

/// Learns θ by `estimator`; returns each step's validation loss and, at the end, each feature's penalty.
pub fn train(estimator: &mut dyn Estimator, opened: &backend::Opened) -> [Vec<f64>; 2] {
    let mut theta = Stack::new(vec![Tensor::full([1, FEATURES, 1], -3.0, &opened.device)]);
    let mut losses = Vec::new();
    for step in 0..200 {
        let problem = Regressions::draw(step, &opened.device);
        let draw = estimator.draw(&mut generator(0, "coin", step), TASKS, INNER_STEPS);
        let began = std::time::Instant::now();
        let estimate = opened.workers.estimate(&problem, &theta, &draw);
        losses.extend(host(estimate.outer_loss.clone().mean()));
        estimator.observe(&draw, &estimate, began.elapsed().as_secs_f64());
        theta = theta - estimate.gradient.mean().scale(&[2.0]);
    }
    [losses, host(theta.leaves()[0].clone().exp().reshape([FEATURES]))]
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let mut estimator: Box<dyn Estimator> = match words.first().map(String::as_str) {
        Some("ufom") => Box::new(Ufom::new(0.2, 0, Coin::Task)),
        None | Some("step-coins") => Box::new(StepCoins::new(0.5)),
        Some(other) => return Err(format!("`{other}` is neither ufom nor step-coins").into()),
    };
    let opened = backend::open(words.get(1).map_or("flex", String::as_str).parse()?)?;
    let [losses, penalties] = train(&mut *estimator, &opened);
    for (step, losses) in (50..).step_by(50).zip(losses.chunks(50)) {
        println!("step {step:>3}: validation loss {:.3}", losses.iter().sum::<f64>() / losses.len() as f64);
    }
    println!("penalties, the second half of them of noise: {penalties:.3?}");
    Ok(())
}
