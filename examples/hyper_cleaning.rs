//! Data hyper-cleaning on MNIST: half of 5000 training labels are wrong; which?
//!
//! Prints the test accuracy of the classifier trained on everything and of the oracle's, trained on the right
//! half alone, then θ's way: after each of some outer steps the accuracy of the classifier trained by its weights,
//! and the F1 score of finding the wrong labels, those whose weight fell below ½.
//!
//! `metaburn data fetch mnist`, then
//! `cargo run --release --example hyper_cleaning -- datasets/mnist exact flex`

use burn::tensor::DType;
use metaburn::config::{self, Base, Budget, Coin, Moments, Optimizer, Outer, Schedule, Tracking};
use metaburn::data::{Mislabelled, mnist};
use metaburn::hypergradient::adapt;
use metaburn::problem::{Batch, HyperCleaning, f1};
use metaburn::{backend, estimator, host::host, stack::Stack, trainer::Descent};
use std::path::Path;
use std::time::Instant;

const EXAMPLES: usize = 5000;
const INNER_STEPS: usize = 100;
/// α: of the sum over all examples, of which half are worth learning from.
const INNER_RATE: f64 = 0.4 / (EXAMPLES as f64 / 2.0);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let word = |place: usize, default| words.get(place).map_or(default, String::as_str);
    let base = Base {
        truncate: 1,
        coin: Coin::Task,
        tracking: Tracking::Off,
        coefficient: None,
        tracking_beta: None,
    };
    let law = match word(1, "exact") {
        "exact" => config::Estimator::Exact,
        "first-order" => config::Estimator::FirstOrder,
        "truncated" => config::Estimator::Truncated { truncate: 1 },
        "ufom" => config::Estimator::Ufom { q: 0.1, base },
        other => return Err(format!("`{other}` is none of exact, first-order, truncated and ufom").into()),
    };
    let opened = backend::open(word(2, "flex").parse()?)?;
    let batch = |set| Batch::of(set, (&opened.device, DType::F32));

    let digits = mnist::load(Path::new(word(0, "datasets/mnist")))?;
    let [train, validation] = digits.train.parts([EXAMPLES, EXAMPLES], 0)?;
    let Mislabelled { set: train, wrong } = train.mislabelled(0.5, 0)?;
    let problem = HyperCleaning::new(batch(&train), batch(&validation), INNER_RATE);
    let test = batch(&digits.test);
    let accuracy = |theta: &Stack| {
        let (fast, _) = adapt(&problem, theta, INNER_STEPS);
        100.0 * host(problem.assess(&fast, &test).accuracy)[0]
    };
    println!("trained on everything: {:.2} %", accuracy(&problem.keeping(|_| true)));
    println!("trained on the right half: {:.2} %", accuracy(&problem.keeping(|example| !wrong[example])));

    let moments = Moments { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-8 };
    let outer = Outer {
        optimizer: Optimizer::Adam(moments),
        rate: 0.2,
        schedule: Schedule::Constant,
        meta_batch: 1,
        budget: Budget::Steps(words.get(3).map_or(Ok(40), |steps| steps.parse())?),
        clip: None,
        weight_decay: 0.0,
    };
    let law = estimator::from_config(&law);
    let mut descent = Descent::new(problem.undecided(), INNER_STEPS, law, &outer, 0, opened.workers);
    let (mut seconds, mut at) = (0.0, Instant::now());
    while descent.progress() < 1.0 {
        let step = descent.step(&problem)?;
        seconds += at.elapsed().as_secs_f64();
        if descent.steps().is_multiple_of(5) {
            let found: Vec<bool> =
                HyperCleaning::weights(descent.theta()).iter().map(|weight| *weight < 0.5).collect();
            println!(
                "step {:>3}: validation loss {:.4}, test {:.2} %, F1 {:.4}, {} gradient evaluations, {seconds:.1} s",
                descent.steps(),
                step.loss,
                accuracy(descent.theta()),
                f1(&found, &wrong),
                descent.evaluations().total(),
            );
        }
        at = Instant::now();
    }
    Ok(())
}
