//! Data hyper-cleaning on MNIST: half of 5000 training labels are wrong; which?
//!
//! Prints the test accuracy of the classifier trained on everything and of the oracle's, trained on the right
//! half alone, then θ's way: after every fifth outer step the accuracy of the classifier trained by its weights,
//! and the F1 score of finding the wrong labels, those whose weight fell below ½.
//!
//! First `metaburn data fetch mnist`; the words are MNIST's folder, the device, and keys of a configuration, a budget
//! among them: `cargo run --release --example hyper_cleaning -- datasets/mnist flex outer.steps=40`

use bilevel::hypergradient::adapt;
use bilevel::readback::read;
use bilevel::{Params, device};
use burn::tensor::DType;
use metaburn::config::Config;
use metaburn::data::{Mislabelled, mnist};
use metaburn::task::{Batch, HyperCleaning, f1};
use metaburn::train::outer_loop;
use std::path::Path;
use std::time::Instant;

const EXAMPLES: usize = 5000;
/// α of the sum over all examples: 0.4 of their mean. With twice that, training on everything oscillates.
const INNER_RATE: f64 = 0.4 / EXAMPLES as f64;
/// What a run has unless its words say otherwise.
const USUAL: [&str; 4] =
    ["inner.steps=100", "outer.optimizer=adam", "outer.rate=0.2", "outer.schedule=constant"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let word = |place: usize, usual| words.get(place).map_or(usual, String::as_str);
    let keys: Vec<String> =
        USUAL.map(String::from).into_iter().chain(words.iter().skip(2).cloned()).collect();
    let config = Config::load(None, &keys)?;
    let opened = device::open(word(1, "flex").parse()?)?;
    let batch = |set| Batch::of(set, (&opened.device, DType::F32));

    let digits = mnist::load(Path::new(word(0, "datasets/mnist")))?;
    let [train, validation] = digits.train.parts([EXAMPLES, EXAMPLES], config.seed)?;
    let Mislabelled { set: train, wrong } = train.mislabelled(0.5, config.seed)?;
    let problem = HyperCleaning::new(batch(&train), batch(&validation), INNER_RATE);
    let test = batch(&digits.test);
    let accuracy = |theta: &Params| {
        let (fast, _) = adapt(&problem, theta, config.inner.steps);
        100.0 * read(problem.assess(&fast, &test).accuracy)[0]
    };
    println!("trained on everything: {:.2} %", accuracy(&problem.keeping(|_| true)));
    println!("trained on the right half: {:.2} %", accuracy(&problem.keeping(|example| !wrong[example])));

    let mut outer = outer_loop(&config, problem.undecided(), opened.workers);
    let mut seconds = 0.0;
    while outer.progress() < 1.0 {
        let began = Instant::now();
        let loss = outer.step(&problem)?.loss;
        seconds += began.elapsed().as_secs_f64();
        if outer.steps().is_multiple_of(5) {
            let weights = HyperCleaning::weights(outer.theta());
            let found: Vec<bool> = weights.iter().map(|weight| *weight < 0.5).collect();
            let (steps, evaluations) = (outer.steps(), outer.evaluations().total());
            let (percent, score) = (accuracy(outer.theta()), f1(&found, &wrong));
            println!(
                "step {steps:>3}: validation loss {loss:.4}, test {percent:.2} %, F1 {score:.4}, \
                 {evaluations} gradient evaluations, {seconds:.1} s"
            );
        }
    }
    Ok(())
}
