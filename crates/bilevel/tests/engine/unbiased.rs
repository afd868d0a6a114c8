//! Unbiasedness by statistics: the mean of many draws is within four standard errors of the exact gradient in every
//! coordinate. The same test rejects the biased estimators.

use super::problems::{FewShotLike, Sizes, WeightedRegression, values};
use bilevel::estimator::{
    AdaptiveStepCoins, AdaptiveTelescoping, AdaptiveUfom, Coefficient, Costs, Estimator, Exact, FirstOrder,
    Reference, SecondMoments, StepCoins, Telescoping, Tracker, Truncated, Ufom, best_q,
};
use bilevel::estimator::{Coin, CostUnit, LevelRule, Levels, Probabilities, Tuning, learn};
use bilevel::hypergradient::{Draw, LossWeights, Memory, estimate};
use bilevel::rng::generator;
use bilevel::{Bilevel, Params};

const STEPS: usize = 4;
const DRAWS: usize = 4000;
/// Draws in one meta-batch of copies of the same task.
const TOGETHER: usize = 500;
/// Allowance for rounding where the spread is zero.
const ROUNDING: f64 = 1e-12;

/// The outer loss after the last inner step.
fn last() -> LossWeights {
    LossWeights::last(STEPS)
}

/// The largest |mean − exact| in standard errors over coordinates, for `DRAWS` draws on task 0.
fn worst_deviation<P: Bilevel>(
    problem: &P,
    theta: &Params,
    estimator: &dyn Estimator,
    losses: &LossWeights,
) -> f64 {
    let one = problem.select(&[0]);
    let mut coins = generator(5, "coin", 0);
    let draw = Exact {}.draw(&mut coins, 1, STEPS).with_losses(losses.clone());
    let exact = values(&estimate(&one, theta, &draw, Memory::Store).gradient);
    let copies = problem.select(&[0; TOGETHER]);
    let (mut sum, mut squares) = (vec![0.0; exact.len()], vec![0.0; exact.len()]);
    for batch in 0..DRAWS / TOGETHER {
        let mut coins = generator(5, "coin", 1 + batch as u64);
        let draw = estimator.draw(&mut coins, TOGETHER, STEPS).with_losses(losses.clone());
        let estimates = estimate(&copies, theta, &draw, Memory::Store).gradient;
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
        // `f64::max` would pass over a NaN.
        .inspect(|off| assert!(off.is_finite(), "an estimate is not finite"))
        .fold(0.0, f64::max)
}

/// Settings of adaptive estimators, with counted costs.
const TUNING: Tuning = Tuning { exponent: 2.0, beta: 0.99, floor: 0.05, costs: CostUnit::Counted };

/// `estimator` after 200 steps on the problem; it is not updated further.
fn trained<P: Bilevel, E: Estimator>(
    problem: &P,
    theta: &Params,
    mut estimator: E,
    losses: &LossWeights,
) -> E {
    for step in 0..200 {
        let draw = estimator.draw(&mut generator(7, "coin", step), problem.tasks(), STEPS);
        let draw = draw.with_losses(losses.clone());
        learn(&mut estimator, &draw, &estimate(problem, theta, &draw, Memory::Store), 1.0);
    }
    estimator
}

/// A tracking UFOM, trained at another θ than it is tested at, so that b̂ is not the error itself.
fn tracking<P: Bilevel>(
    problem: &P,
    theta: &Params,
    depth: usize,
    coefficient: Coefficient,
    losses: &LossWeights,
) -> Ufom {
    let mut ufom = Ufom::new(0.3, depth, Coin::Task);
    ufom.tracker = Some(Tracker::new(coefficient, 0.9));
    let moved = theta.clone().map(|leaf| leaf * 1.2);
    let trained = trained(problem, &moved, ufom, losses);
    let tracker = trained.tracker.as_ref().expect("it tracks");
    let report = tracker.metrics();
    assert!(report["bias_norm"].as_f64() > Some(1e-3), "b̂ is nearly zero: {report:?}");
    assert!(tracker.coefficient().abs() > 0.1, "c is nearly zero: {report:?}");
    trained
}

fn check<P: Bilevel>(problem: &P, theta: &Params, losses: &LossWeights) {
    let ufom = |q, depth| Ufom::new(q, depth, Coin::Task);
    let adaptive = trained(problem, theta, AdaptiveUfom::new(0, Coin::Task, TUNING), losses);
    let coins = trained(problem, theta, AdaptiveStepCoins::new(Coin::Task, TUNING, 0.5), losses);
    assert!(coins.probabilities(1, STEPS).iter().any(|p| *p < 0.9), "{:?}", coins.probabilities(1, STEPS));
    let every = || Levels::Rule(LevelRule::Every);
    let telescope = |survival, levels, coin| Telescoping { survival, levels, depth: 0, coin };
    let telescoping =
        AdaptiveTelescoping::new(every(), 0, Coin::Task, Tuning { exponent: 0.3, floor: 0.2, ..TUNING });
    let telescoping = trained(problem, theta, telescoping, losses);
    let survival = telescoping.survival(1, STEPS);
    assert!(survival.is_sorted_by(|a, b| a >= b) && survival[STEPS - 1] < 1.0, "{survival:?}");
    let uneven = Probabilities::Each(vec![0.6, 0.2, 0.9, 0.4]);
    let unbiased: Vec<(&str, Box<dyn Estimator>)> = vec![
        ("UFOM(0.1)", Box::new(ufom(0.1, 0))),
        ("UFOM(0.5)", Box::new(ufom(0.5, 0))),
        ("UFOM(0.2) on two steps", Box::new(ufom(0.2, 2))),
        ("UFOM(1)", Box::new(ufom(1.0, 0))),
        ("UFOM(0.25), stratified", Box::new(Ufom::new(0.25, 0, Coin::Stratified))),
        ("adaptive UFOM", Box::new(adaptive)),
        ("tracking UFOM", Box::new(tracking(problem, theta, 0, Coefficient::Fitted, losses))),
        (
            "tracking UFOM on two steps",
            Box::new(tracking(problem, theta, 2, Coefficient::Fixed(0.7), losses)),
        ),
        ("step coins(0.3)", Box::new(StepCoins::new(0.3))),
        ("step coins(1)", Box::new(StepCoins::new(1.0))),
        ("step coins, uneven", Box::new(StepCoins { p: uneven, coin: Coin::Task })),
        ("step coins, stratified", Box::new(StepCoins { coin: Coin::Stratified, ..StepCoins::new(0.3) })),
        ("adaptive step coins", Box::new(coins)),
        ("telescoping", Box::new(telescope(0.7, every(), Coin::Task))),
        ("telescoping in powers", Box::new(telescope(0.5, Levels::Rule(LevelRule::Powers), Coin::Task))),
        (
            "telescoping by a list, stratified",
            Box::new(telescope(0.5, Levels::At(vec![3]), Coin::Stratified)),
        ),
        ("adaptive telescoping", Box::new(telescoping)),
    ];
    for (name, estimator) in unbiased {
        let worst = worst_deviation(problem, theta, &*estimator, losses);
        assert!(worst < 4.0, "{name} is off by {worst} standard errors");
        assert!(estimator.is_unbiased(STEPS));
    }
    let biased: [(&str, &dyn Estimator); 2] =
        [("first-order", &FirstOrder {}), ("truncated", &Truncated { depth: STEPS - 1 })];
    for (name, estimator) in biased {
        let worst = worst_deviation(problem, theta, estimator, losses);
        assert!(worst > 1e3, "{name} should be far off, and is by {worst} standard errors");
        assert!(!estimator.is_unbiased(STEPS));
    }
}

#[test]
fn every_estimator_on_a_network() {
    let sizes = Sizes { tasks: 1, ways: 2, shots: 2, queries: 2, pixels: 4 };
    let (problem, theta) = FewShotLike::convolutional(sizes, 1, 2, 0.3);
    check(&problem, &theta, &last());
}

#[test]
fn every_estimator_if_theta_is_not_the_initial_weights() {
    let (problem, theta) = WeightedRegression::new(1);
    check(&problem, &theta, &last());
}

#[test]
fn every_estimator_with_losses_along_the_way() {
    let losses = LossWeights::new(vec![0.1, 0.0, 0.3, 0.2, 0.4]);
    let (problem, theta) = WeightedRegression::new(1);
    check(&problem, &theta, &losses);
    let sizes = Sizes { tasks: 1, ways: 2, shots: 2, queries: 2, pixels: 4 };
    let (problem, theta) = FewShotLike::convolutional(sizes, 1, 2, 0.3);
    check(&problem, &theta, &losses);
}

#[test]
fn one_coin_for_all_tasks_is_unbiased() {
    let (problem, theta) = WeightedRegression::new(2);
    let mut coins = generator(5, "coin", 0);
    let exact = values(
        &estimate(&problem, &theta, &Exact {}.draw(&mut coins, 2, STEPS), Memory::Store).gradient.mean(),
    );
    let ufom = Ufom::new(0.3, 0, Coin::Step);
    let estimates: Vec<Vec<f64>> = (0..1500)
        .map(|step| {
            let draw = ufom.draw(&mut generator(6, "coin", step), 2, STEPS);
            let products = draw.cost().products;
            assert!(products == 0 || products == 2 * STEPS as u64, "both tasks or neither, not {products}");
            values(&estimate(&problem, &theta, &draw, Memory::Store).gradient.mean())
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
fn adaptive_ufom_converges_to_the_best_q() {
    // With one task 𝕍² and 𝔻² are two numbers, and the best q has a closed form.
    let sizes = Sizes { tasks: 1, ways: 2, shots: 2, queries: 2, pixels: 4 };
    let (problem, theta) = FewShotLike::perceptron(sizes, &[3], 0.05);
    let truncated =
        |depth| estimate(&problem, &theta, &Draw::truncated(1, STEPS, depth), Memory::Store).gradient;
    let (exact, first_order) = (truncated(STEPS), truncated(0));
    let squared = |stack: Params| values(&stack).iter().map(|value| value * value).sum::<f64>();
    let moments = SecondMoments { exact: squared(exact.clone()), error: squared(exact - first_order) };
    let costs = Costs { fixed: STEPS as f64 + 1.0, random: STEPS as f64 };
    let best = best_q(moments, costs, 2.0);
    assert!(best > 0.05 && best < 1.0, "the problem should have a best q inside its range, not {best}");
    let mut counted = trained(&problem, &theta, AdaptiveUfom::new(0, Coin::Task, TUNING), &last());
    assert!((counted.q(1, STEPS) - best).abs() < 1e-9);

    // Measured costs that make products expensive lower q, and the state can be restored.
    counted.tuning.costs = CostUnit::Measured;
    for step in 200..500 {
        let draw = counted.draw(&mut generator(7, "coin", step), 1, STEPS);
        let seconds = 1.0 + 10.0 * draw.cost().products as f64;
        learn(&mut counted, &draw, &estimate(&problem, &theta, &draw, Memory::Store), seconds);
    }
    let expensive = Costs { fixed: 1.0, random: 10.0 * STEPS as f64 };
    assert!((counted.q(1, STEPS) - best_q(moments, expensive, 2.0).max(0.05)).abs() < 1e-6);
    let mut restored = AdaptiveUfom::new(0, Coin::Task, counted.tuning);
    restored.restore(&counted.state()).unwrap();
    assert_eq!(restored.q(1, STEPS), counted.q(1, STEPS));
    assert_eq!(restored.metrics(1, STEPS), counted.metrics(1, STEPS));
}

#[test]
fn step_coins_have_less_variance_than_ufom_at_the_same_cost() {
    // At a small rate the increments are aligned, and independent coins average over them.
    let sizes = Sizes { tasks: 1, ways: 2, shots: 2, queries: 2, pixels: 4 };
    let (problem, theta) = FewShotLike::perceptron(sizes, &[3], 0.02);
    let steps = 10;
    let exact = estimate(&problem, &theta, &Draw::truncated(1, steps, steps).observed(), Memory::Store);
    let copies = problem.select(&[0; TOGETHER]);
    let variance = |estimator: &dyn Estimator| {
        let draw = estimator.draw(&mut generator(8, "coin", 0), TOGETHER, steps);
        let error =
            estimate(&copies, &theta, &draw, Memory::Store).gradient - exact.gradient.repeat(TOGETHER);
        error.squared_norm().mean().into_scalar::<f64>()
    };
    let p = 0.2;
    let ufom = variance(&Ufom::new(p, 0, Coin::Stratified));
    let coins = variance(&StepCoins::new(p));
    assert!(coins < 0.3 * ufom, "step coins have {coins:e}, UFOM {ufom:e}");
    let predicted: f64 =
        exact.increments.iter().map(|increment| increment.squared_norm.clone().into_scalar::<f64>()).sum();
    let ratio = coins / ((1.0 / p - 1.0) * predicted);
    assert!((0.7..1.4).contains(&ratio), "the variance is {ratio} times Σ(1/p − 1)‖Δ_j‖²");
}

#[test]
fn the_published_codes_behaviour_can_be_reproduced() {
    let sizes = Sizes { tasks: 1, ways: 2, shots: 2, queries: 2, pixels: 4 };
    let (problem, theta) = FewShotLike::perceptron(sizes, &[3], 0.3);
    let report = |estimator: &AdaptiveUfom, key: &str| estimator.metrics(1, STEPS)[key].as_f64().unwrap();
    let always = Tuning { floor: 0.5, ..TUNING };
    // After one exact draw at q = ½, theirs is 𝔻² of the rescaled difference, over 10.
    let after_one_exact_draw = |reference: Option<Reference>| {
        let mut estimator = AdaptiveUfom::new(0, Coin::Task, always);
        estimator.reference = reference;
        let mut index = 0;
        while report(&estimator, "exact_draws") < 1.0 {
            let draw = estimator.draw(&mut generator(7, "coin", index), 1, STEPS);
            learn(&mut estimator, &draw, &estimate(&problem, &theta, &draw, Memory::Store), 1.0);
            index += 1;
        }
        estimator
    };
    let (ours, theirs) = (after_one_exact_draw(None), after_one_exact_draw(Some(Reference { clip: None })));
    let ratio = report(&theirs, "error_second_moment") / report(&ours, "error_second_moment");
    assert!((ratio - 1.0 / (0.5 * 0.5 * 10.0)).abs() < 1e-12, "{ratio}");
    assert_eq!(report(&theirs, "exact_second_moment"), report(&ours, "exact_second_moment"));
    assert!(theirs.is_unbiased(STEPS) && worst_deviation(&problem, &theta, &theirs, &last()) < 4.0);

    // Clipping inside the backward pass biases it, and `is_unbiased` says so.
    let clipped = after_one_exact_draw(Some(Reference { clip: Some(1e-3) }));
    assert!(!clipped.is_unbiased(STEPS));
    let worst = worst_deviation(&problem, &theta, &clipped, &last());
    assert!(worst > 10.0, "clipping should bias, and is off by {worst} standard errors");
}

#[test]
fn tracking_removes_a_constant_truncation_error() {
    // One task at one θ: its truncation error is constant, so that tracking makes exact draws unnecessary.
    let (problem, theta) = WeightedRegression::new(1);
    for coefficient in [Coefficient::Fitted, Coefficient::Fixed(1.0)] {
        let mut adaptive = AdaptiveUfom::new(1, Coin::Task, Tuning { beta: 0.8, ..TUNING });
        let plain = trained(&problem, &theta, adaptive.clone(), &last());
        adaptive.tracker = Some(Tracker::new(coefficient, 0.8));
        let tracking = trained(&problem, &theta, adaptive, &last());
        let report = tracking.metrics(1, STEPS);
        assert!(report["tracked_over_plain"].as_f64() < Some(0.05), "{report:?}");
        assert!((report["bias_coefficient"].as_f64().unwrap() - 1.0).abs() < 1e-6, "{report:?}");
        assert!(
            plain.q(1, STEPS) > 2.0 * tracking.q(1, STEPS),
            "{} {}",
            plain.q(1, STEPS),
            tracking.q(1, STEPS)
        );

        let mut restored = AdaptiveUfom::new(1, Coin::Task, tracking.tuning);
        restored.tracker = Some(Tracker::new(coefficient, 0.8));
        restored.restore(&tracking.state()).unwrap();
        assert_eq!(restored.metrics(1, STEPS), report);
        assert!(AdaptiveUfom::new(1, Coin::Task, tracking.tuning).restore(&tracking.state()).is_err());
    }
}
