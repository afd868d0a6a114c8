//! Unbiasedness by statistics: the mean of many draws lies within four standard errors of the exact
//! gradient in every coordinate, and the same test refuses the biased estimators.

mod common;

use common::problems::{Weighted, few_shot, values};
use metaburn::config::{BatchNorm, Coin, CostUnit};
use metaburn::estimator::{
    AdaptiveUfom, Costs, Estimator, Exact, FirstOrder, SecondMoments, StepCoins, Truncated, Ufom, best_q,
};
use metaburn::hypergradient::{Draw, estimate};
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

/// Adaptive UFOM as some steps on the problem have made it; frozen from then on.
fn adapted<P: Bilevel>(problem: &P, theta: &Stack) -> AdaptiveUfom {
    let mut adaptive = adaptive(CostUnit::Counted);
    for step in 0..200 {
        let draw = adaptive.draw(&mut generator(7, "coin", step), problem.tasks(), STEPS);
        adaptive.observe(&draw, &estimate(problem, theta, &draw), 1.0);
    }
    adaptive
}

fn adaptive(unit: CostUnit) -> AdaptiveUfom {
    let learned = Default::default();
    AdaptiveUfom { depth: 0, coin: Coin::Task, exponent: 2.0, beta: 0.99, floor: 0.05, unit, learned }
}

fn check<P: Bilevel>(problem: &P, theta: &Stack) {
    let ufom = |q, depth| Ufom { q, depth, coin: Coin::Task };
    let stratified = Ufom { coin: Coin::Stratified, ..ufom(0.25, 0) };
    let unbiased: [(&str, &dyn Estimator); 8] = [
        ("UFOM(0.1)", &ufom(0.1, 0)),
        ("UFOM(0.5)", &ufom(0.5, 0)),
        ("UFOM(0.2) on two steps", &ufom(0.2, 2)),
        ("UFOM(1)", &ufom(1.0, 0)),
        ("UFOM(0.25), stratified", &stratified),
        ("adaptive UFOM", &adapted(problem, theta)),
        ("step coins(0.3)", &StepCoins { p: 0.3 }),
        ("step coins(1)", &StepCoins { p: 1.0 }),
    ];
    for (name, estimator) in unbiased {
        let worst = worst_deviation(problem, theta, estimator);
        assert!(worst < 4.0, "{name} is off by {worst} standard errors");
        assert!(estimator.is_unbiased(STEPS));
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

#[test]
fn adaptive_ufom_finds_the_best_q_of_its_problem() {
    // One task, so that 𝕍² and 𝔻² are two numbers: the closed form of them is what it must reach.
    let network = Arc::new(MlpConfig::new(4, &[3], 2));
    let (problem, theta) = few_shot(network, [1, 2, 2, 2, 4], 0.05, BatchNorm::Transductive);
    let truncated = |depth| estimate(&problem, &theta, &Draw::truncated(1, STEPS, depth)).gradient;
    let (exact, first_order) = (truncated(STEPS), truncated(0));
    let squared = |stack: Stack| values(&stack).iter().map(|value| value * value).sum::<f64>();
    let moments = SecondMoments { exact: squared(exact.clone()), error: squared(exact - first_order) };
    let costs = Costs { fixed: STEPS as f64 + 1.0, random: STEPS as f64 };
    let best = best_q(moments, costs, 2.0);
    assert!(best > 0.05 && best < 1.0, "the problem should have a best q inside its range, not {best}");
    let mut counted = adapted(&problem, &theta);
    assert!((counted.q(1, STEPS) - best).abs() < 1e-9);

    // Times that make products dear pull it down, and its state carries all it knows.
    counted.unit = CostUnit::Measured;
    for step in 200..500 {
        let draw = counted.draw(&mut generator(7, "coin", step), 1, STEPS);
        let seconds = 1.0 + 10.0 * draw.cost().products as f64;
        counted.observe(&draw, &estimate(&problem, &theta, &draw), seconds);
    }
    let dear = Costs { fixed: 1.0, random: 10.0 * STEPS as f64 };
    assert!((counted.q(1, STEPS) - best_q(moments, dear, 2.0).max(0.05)).abs() < 1e-6);
    let mut restored = adaptive(CostUnit::Measured);
    restored.restore(&counted.state()).unwrap();
    assert_eq!(restored.q(1, STEPS), counted.q(1, STEPS));
    assert_eq!(restored.report(1, STEPS), counted.report(1, STEPS));
}

#[test]
fn step_coins_err_less_than_ufom_at_the_same_cost() {
    // Small steps: the increments are aligned, and independent coins average over them.
    let network = Arc::new(MlpConfig::new(4, &[3], 2));
    let (problem, theta) = few_shot(network, [1, 2, 2, 2, 4], 0.02, BatchNorm::Transductive);
    let steps = 10;
    let exact = estimate(&problem, &theta, &Draw::truncated(1, steps, steps).observed());
    let copies = problem.select(&[0; TOGETHER]);
    let variance = |estimator: &dyn Estimator| {
        let draw = estimator.draw(&mut generator(8, "coin", 0), TOGETHER, steps);
        let error = estimate(&copies, &theta, &draw).gradient - exact.gradient.repeat(TOGETHER);
        error.squared_norm().mean().into_scalar::<f64>()
    };
    let p = 0.2;
    let ufom = variance(&Ufom { q: p, depth: 0, coin: Coin::Stratified });
    let coins = variance(&StepCoins { p });
    assert!(coins < 0.3 * ufom, "step coins have {coins:e}, UFOM {ufom:e}");
    let predicted: f64 =
        exact.increments.iter().map(|increment| increment.squared_norm.clone().into_scalar::<f64>()).sum();
    let ratio = coins / ((1.0 / p - 1.0) * predicted);
    assert!((0.7..1.4).contains(&ratio), "the variance is {ratio} times Σ(1/p − 1)‖Δ_j‖²");
}
