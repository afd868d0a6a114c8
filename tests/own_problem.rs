//! The example of `docs/own-problem.md` does what it says, by either estimator.

#[allow(dead_code)] // its `main`
#[path = "../examples/own_problem.rs"]
mod own_problem;

use metaburn::backend::{Opened, open};
use metaburn::config::{Backend, Coin};
use metaburn::estimator::{Estimator, StepCoins, Ufom};
use metaburn::hypergradient::{Draw, differences};
use metaburn::problem::Bilevel;
use metaburn::stack::Stack;
use own_problem::{FEATURES, INNER_STEPS, Regressions, train};

fn flex() -> Opened {
    open(Backend::Flex).expect("flex is always there")
}

fn learns_which_features_are_noise(estimator: &mut dyn Estimator) {
    let [losses, penalties] = train(estimator, &flex());
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
    learns_which_features_are_noise(&mut Ufom::new(0.2, 0, Coin::Task));
}

#[test]
fn step_coins_learn_which_features_are_noise() {
    learns_which_features_are_noise(&mut StepCoins::new(0.5));
}

#[test]
fn its_exact_gradient_is_the_slope_of_its_objective() {
    let opened = flex();
    let problem = Regressions::draw(0, &opened.device);
    let theta = Stack::new(vec![burn::tensor::Tensor::full([1, FEATURES, 1], -1.0, &opened.device)]);
    let draw = Draw::truncated(problem.tasks(), INNER_STEPS, INNER_STEPS);
    let exact = opened.workers.estimate(&problem, &theta, &draw).gradient.mean();
    let slope = differences(&problem, &theta, INNER_STEPS, 1e-2);
    let norm = |stack: Stack| stack.squared_norm().into_scalar::<f64>().sqrt();
    let error = norm(exact - slope.clone()) / norm(slope);
    assert!(error < 1e-2, "off by {error}, in single precision");
}
