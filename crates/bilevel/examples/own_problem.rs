//! A complete bi-level problem: how much should a ridge regression penalise each feature?
//!
//! Half of the features are noise. θ is the logarithm of the penalty of each feature. φ are the weights of the
//! regression, fitted to some examples in the inner loop and validated on others in the outer loss.
//! `docs/own-problem.md` explains the code. To run it:
//!
//! ```sh
//! cargo run --release -p bilevel --example own_problem -- step-coins flex
//! ```

use bilevel::estimator::{EstimatorSettings, StepCoinsSettings, UfomSettings};
use bilevel::optimizer::Optimizer;
use bilevel::rng::generator;
use bilevel::{
    Bilevel, Budget, Diverged, Dual, OuterLoop, OuterSettings, Params, Rates, Schedule, device, readback,
};
use burn::tensor::{Device, Tensor, TensorData};
use rand_distr::{Distribution, StandardNormal};

const TASKS: usize = 16;
pub const FEATURES: usize = 12;
const EXAMPLES: usize = 16;
pub const INNER_STEPS: usize = 20;

/// T regressions that have only their noisy features in common: the second half. Leaves: inputs
/// `[tasks, 2·examples, features]` and targets `[tasks, 2·examples, 1]`. The first half of the examples is for fitting.
pub struct Regressions(Params);

impl Regressions {
    pub fn draw(step: u64, device: &Device) -> Self {
        let mut values = StandardNormal.sample_iter(generator(0, "regressions", step));
        let mut normal = |rows, columns| -> Tensor<3> {
            let values: Vec<f32> = values.by_ref().take(TASKS * rows * columns).collect();
            Tensor::from_data(TensorData::new(values, [TASKS, rows, columns]), device)
        };
        let (inputs, truth) = (normal(2 * EXAMPLES, FEATURES), normal(FEATURES / 2, 1));
        let signal = inputs.clone().narrow(2, 0, FEATURES / 2).matmul(truth);
        Self(Params::new(vec![inputs, signal + normal(2 * EXAMPLES, 1)]))
    }

    /// Half the mean squared error of `weights` `[tasks, features, 1]` on the examples from `first` on, `[tasks]`.
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

    fn start(&self, outer: &Params) -> Params {
        outer.zeros_like()
    }

    fn inner_rates(&self, _step: usize, _outer: &Params) -> Rates {
        Rates::Scalar(0.1)
    }

    fn inner_loss(&self, _step: usize, outer: &[Dual<3>], fast: &[Dual<3>]) -> Dual<1> {
        let root_penalties = Dual::constant((outer[0].primal.clone() * 0.5).exp());
        self.loss(&fast[0], 0) + (root_penalties * fast[0].clone()).squared_norm().scale(0.5)
    }

    fn outer_loss(&self, _step: usize, _outer: &Params, fast: &Params) -> Tensor<1> {
        self.loss(&fast.constant()[0], EXAMPLES).primal
    }

    fn select(&self, tasks: &[usize]) -> Self {
        Self(self.0.select(tasks))
    }
}

/// Trains θ with `estimator`. Returns the validation loss of each outer step and the final penalty of each feature.
///
/// # Errors
/// Returns an error if an outer step diverges.
pub fn train(
    estimator: impl Into<EstimatorSettings>,
    opened: &device::Opened,
) -> Result<[Vec<f64>; 2], Diverged> {
    let theta = Params::new(vec![Tensor::full([1, FEATURES, 1], -3.0, &opened.device)]);
    let settings = OuterSettings {
        optimizer: Optimizer::Sgd { momentum: 0.0 },
        rate: 2.0,
        schedule: Schedule::Constant,
        budget: Budget::Steps(200),
        ..OuterSettings::default()
    };
    let mut outer =
        OuterLoop::new(theta, estimator, settings).inner_steps(INNER_STEPS).workers(opened.workers);
    let mut losses = Vec::new();
    while outer.progress() < 1.0 {
        let problem = Regressions::draw(outer.steps(), &opened.device);
        losses.push(outer.step(&problem)?.loss);
    }
    Ok([losses, readback::read(outer.theta().leaves()[0].clone().exp().reshape([FEATURES]))])
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let estimator: EstimatorSettings = match arguments.first().map(String::as_str) {
        Some("ufom") => UfomSettings { q: 0.2, ..UfomSettings::default() }.into(),
        None | Some("step-coins") => StepCoinsSettings::fixed(0.5).into(),
        Some(other) => return Err(format!("the estimator must be ufom or step-coins, not `{other}`").into()),
    };
    let opened = device::open(arguments.get(1).map_or("flex", String::as_str).parse()?)?;
    let [losses, penalties] = train(estimator, &opened)?;
    for (step, losses) in (50..).step_by(50).zip(losses.chunks(50)) {
        println!("step {step:>3}: validation loss {:.3}", losses.iter().sum::<f64>() / losses.len() as f64);
    }
    println!("penalties (the second half of the features is noise): {penalties:.3?}");
    Ok(())
}
