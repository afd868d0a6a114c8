//! Unbiasedness by statistics: the mean of many draws lies within four standard errors of the exact
//! gradient in every coordinate, and the same test refuses the biased estimators.

mod common;

use common::problems::{Weighted, few_shot, values};
use metaburn::config::{BatchNorm, Coin};
use metaburn::estimator::{Estimator, Exact, FirstOrder, Truncated, Ufom};
use metaburn::hypergradient::estimate;
use metaburn::model::MlpConfig;
use metaburn::problem::Bilevel;
use metaburn::random::generator;
use metaburn::stack::Stack;
use std::sync::Arc;

const STEPS: usize = 4;
const DRAWS: usize = 4000;
/// Draws made in one meta-batch of copies of the same task.
const TOGETHER: usize = 500;
/// Allowance for rounding where the spread is zero.
const ROUNDING: f64 = 1e-12;

/// The largest |mean − exact| in standard errors over coordinates, for `DRAWS` draws on task 0.
fn worst_deviation<P: Bilevel>(problem: &P, theta: &Stack, estimator: &dyn Estimator) -> f64 {
    let one = problem.select(&[0]);
    let mut coins = generator(5, "coin", 0);
    let exact = values(&estimate(&one, theta, &Exact.draw(&mut coins, 1, STEPS)).gradient);
    let copies = problem.select(&[0; TOGETHER]);
    let (mut sum, mut squares) = (vec![0.0; exact.len()], vec![0.0; exact.len()]);
    for batch in 0..DRAWS / TOGETHER {
        let mut coins = generator(5, "coin", 1 + batch as u64);
        let draw = estimator.draw(&mut coins, TOGETHER, STEPS);
        let estimates = estimate(&copies, theta, &draw).gradient;
        for task in 0..TOGETHER {
            for (at, value) in values(&estimates.select(&[task])).into_iter().enumerate() {
                sum[at] += value;
                squares[at] += value * value;
            }
        }
    }
    let count = DRAWS as f64;
    (0..exact.len())
        .map(|at| {
            let mean = sum[at] / count;
            let variance = (squares[at] / count - mean * mean).max(0.0);
            (mean - exact[at]).abs() / ((variance / count).sqrt() + ROUNDING)
        })
        .fold(0.0, f64::max)
}

fn check<P: Bilevel>(problem: &P, theta: &Stack) {
    for (q, depth) in [(0.1, 0), (0.5, 0), (0.2, 2), (1.0, 0)] {
        let ufom = Ufom { q, depth, coin: Coin::Task };
        let worst = worst_deviation(problem, theta, &ufom);
        assert!(worst < 4.0, "UFOM(q = {q}, K = {depth}) is off by {worst} standard errors");
        assert!(ufom.is_unbiased(STEPS));
    }
    let biased: [(&str, &dyn Estimator); 2] =
        [("first-order", &FirstOrder), ("truncated", &Truncated { depth: STEPS - 1 })];
    for (name, estimator) in biased {
        let worst = worst_deviation(problem, theta, estimator);
        assert!(worst > 1e3, "{name} should be far off, and is by {worst} standard errors");
        assert!(!estimator.is_unbiased(STEPS));
    }
}

#[test]
fn ufom_on_a_few_shot_problem() {
    let network = Arc::new(MlpConfig::new(4, &[3], 2));
    let (problem, theta) = few_shot(network, [1, 2, 2, 2, 4], 0.3, BatchNorm::Transductive);
    check(&problem, &theta);
}

#[test]
fn ufom_where_outer_parameters_are_not_weights() {
    let (problem, theta) = Weighted::new(1);
    check(&problem, &theta);
}

#[test]
fn a_coin_for_the_whole_step_is_one_coin_and_unbiased() {
    let (problem, theta) = Weighted::new(2);
    let mut coins = generator(5, "coin", 0);
    let exact = values(&estimate(&problem, &theta, &Exact.draw(&mut coins, 2, STEPS)).gradient.mean());
    let ufom = Ufom { q: 0.3, depth: 0, coin: Coin::Step };
    let estimates: Vec<Vec<f64>> = (0..1500)
        .map(|step| {
            let draw = ufom.draw(&mut generator(6, "coin", step), 2, STEPS);
            let products = draw.cost().products;
            assert!(products == 0 || products == 2 * STEPS as u64, "both tasks or neither, not {products}");
            values(&estimate(&problem, &theta, &draw).gradient.mean())
        })
        .collect();
    let count = estimates.len() as f64;
    for (at, exact) in exact.iter().enumerate() {
        let mean = estimates.iter().map(|estimate| estimate[at]).sum::<f64>() / count;
        let variance =
            estimates.iter().map(|estimate| (estimate[at] - mean).powi(2)).sum::<f64>() / (count - 1.0);
        let error = (mean - exact).abs() / ((variance / count).sqrt() + ROUNDING);
        assert!(error < 4.0, "coordinate {at} is off by {error} standard errors");
    }
}
