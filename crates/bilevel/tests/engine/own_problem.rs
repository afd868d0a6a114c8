//! The example of `docs/own-problem.md` learns what the page says, with both estimators.

#[allow(dead_code)] // its `main`
#[path = "../../examples/own_problem.rs"]
mod example;

use bilevel::device::{Backend, Opened, open};
use bilevel::estimator::{EstimatorSettings, StepCoinsSettings, UfomSettings};
use bilevel::hypergradient::{Draw, LossWeights, Memory, differences};
use bilevel::{Bilevel, Params};
use example::{FEATURES, INNER_STEPS, Regressions, train};

fn flex() -> Opened {
    open(Backend::Flex).expect("flex is always available")
}

fn learns_which_features_are_noise(estimator: EstimatorSettings) {
    let [losses, penalties] = train(estimator, &flex()).unwrap();
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    let (first, last) = (mean(&losses[..50]), mean(&losses[150..]));
    // Measured: 1.37 → 1.04, and penalties of about 0.015 and 3.5. The targets' own noise is 0.5.
    assert!(last < 0.85 * first, "from {first} to {last}");
    let (signal, noise) = penalties.split_at(FEATURES / 2);
    let largest = signal.iter().copied().fold(0.0, f64::max);
    assert!(noise.iter().all(|penalty| *penalty > 20.0 * largest), "{signal:?}, {noise:?}");
}

#[test]
fn ufom_learns_which_features_are_noise() {
    learns_which_features_are_noise(UfomSettings { q: 0.2, ..UfomSettings::default() }.into());
}

#[test]
fn step_coins_learn_which_features_are_noise() {
    learns_which_features_are_noise(StepCoinsSettings::fixed(0.5).into());
}

#[test]
fn the_exact_gradient_matches_central_differences() {
    let opened = flex();
    let problem = Regressions::draw(0, &opened.device);
    let theta = Params::new(vec![burn::tensor::Tensor::full([1, FEATURES, 1], -1.0, &opened.device)]);
    let draw = Draw::truncated(problem.tasks(), INNER_STEPS, INNER_STEPS);
    let exact = opened.workers.estimate(&problem, &theta, &draw, Memory::Store).gradient.mean();
    let slope = differences(&problem, &theta, &LossWeights::last(INNER_STEPS), 1e-2);
    let norm = |stack: Params| stack.squared_norm().into_scalar::<f64>().sqrt();
    let error = norm(exact - slope.clone()) / norm(slope);
    assert!(error < 1e-2, "off by {error}, in single precision");
}
