//! Unbiasedness. Where a draw has finitely many outcomes, the expected value of the estimate is the exact gradient up to
//! rounding. Of estimators that have adapted, the mean of many draws is within four standard errors of it in every
//! coordinate. Both comparisons reject biased estimators.

use super::enumerated::expectation;
use super::problems::{FewShotLike, Sizes, WeightedRegression, relative_error, values};
use bilevel::Choice;
use bilevel::estimator::{
    AdaptiveStepCoins, AdaptiveTelescoping, AdaptiveUfom, Coefficient, Costs, Estimator, EstimatorName,
    Exact, FirstOrder, Reference, SecondMoments, Settings, StepCoins, StepCoinsSettings, Telescoping,
    TelescopingSettings, Tracker, Truncated, Ufom, UfomSettings, best_q,
};
use bilevel::estimator::{Coin, CostUnit, LevelRule, Levels, Probabilities, Tuning, learn};
use bilevel::hypergradient::{Draw, LossWeights, Memory, estimate};
use bilevel::panics::catch;
use bilevel::rng::generator;
use bilevel::{Bilevel, Params};
use rand::{Rng, RngExt};

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

/// For each random number of a draw, the values at which the draw changes.
type Thresholds = Vec<Vec<f64>>;

/// UFOM(q) with a weight of the difference to the exact gradient that is 10 % too large.
struct Overweighted {
    q: f64,
}

impl Estimator for Overweighted {
    fn draw(&self, coins: &mut dyn Rng, tasks: usize, steps: usize) -> Draw {
        let mut draw = Draw::truncated(tasks, steps, 0);
        for task in 0..tasks {
            if coins.random::<f64>() < self.q {
                draw.add(task, 0, -1.1 / self.q);
                draw.add(task, steps, 1.1 / self.q);
            }
        }
        draw
    }

    fn is_unbiased(&self, _steps: usize) -> bool {
        false
    }

    fn max_depth(&self, steps: usize) -> usize {
        steps
    }
}

/// The exact gradient of the only task of `problem`.
fn exact<P: Bilevel>(problem: &P, theta: &Params, losses: &LossWeights) -> Vec<f64> {
    let draw = Draw::truncated(1, STEPS, STEPS).with_losses(losses.clone());
    values(&estimate(problem, theta, &draw, Memory::Store).gradient)
}

/// Estimators whose draws follow a fixed law: their expected values, over all outcomes, are the exact gradient up to
/// rounding.
fn check_fixed<P: Bilevel>(problem: &P, theta: &Params, losses: &LossWeights) {
    let ufom = |q, depth| Ufom::new(q, depth, Coin::Task);
    let every = || Levels::Rule(LevelRule::Every);
    let telescope = |survival, levels, coin| Telescoping { survival, levels, depth: 0, coin };
    // P(N ≥ l) of each level, ascending.
    let levels = |survival: f64, count: i32| -> Thresholds {
        vec![(1..=count).rev().map(|level| survival.powi(level)).collect()]
    };
    let uneven = vec![0.6, 0.2, 0.9, 0.4];
    let each = |p: &[f64]| -> Thresholds { p.iter().map(|p| vec![*p]).collect() };
    let tracked = |depth, coefficient| tracking(problem, theta, depth, coefficient, losses);
    let stratified = StepCoins { coin: Coin::Stratified, ..StepCoins::new(0.3) };
    let unbiased: Vec<(&str, Box<dyn Estimator>, Thresholds)> = vec![
        ("UFOM(0.1)", Box::new(ufom(0.1, 0)), each(&[0.1])),
        ("UFOM(0.5)", Box::new(ufom(0.5, 0)), each(&[0.5])),
        ("UFOM(0.2) on two steps", Box::new(ufom(0.2, 2)), each(&[0.2])),
        ("UFOM(1)", Box::new(ufom(1.0, 0)), each(&[1.0])),
        ("UFOM(0.25), stratified", Box::new(Ufom::new(0.25, 0, Coin::Stratified)), each(&[0.25])),
        ("tracking UFOM", Box::new(tracked(0, Coefficient::Fitted)), each(&[0.3])),
        ("tracking UFOM on two steps", Box::new(tracked(2, Coefficient::Fixed(0.7))), each(&[0.3])),
        ("step coins(0.3)", Box::new(StepCoins::new(0.3)), each(&[0.3; STEPS])),
        ("step coins(1)", Box::new(StepCoins::new(1.0)), each(&[1.0; STEPS])),
        ("step coins, stratified", Box::new(stratified), each(&[0.3; STEPS])),
        (
            "step coins, uneven",
            Box::new(StepCoins { p: Probabilities::Each(uneven.clone()), coin: Coin::Task }),
            each(&uneven),
        ),
        ("telescoping", Box::new(telescope(0.7, every(), Coin::Task)), levels(0.7, 4)),
        (
            "telescoping in powers",
            Box::new(telescope(0.5, Levels::Rule(LevelRule::Powers), Coin::Task)),
            levels(0.5, 3),
        ),
        (
            "telescoping by a list, stratified",
            Box::new(telescope(0.5, Levels::At(vec![3]), Coin::Stratified)),
            levels(0.5, 2),
        ),
    ];
    let exact = exact(problem, theta, losses);
    let error = |estimator: &dyn Estimator, thresholds: &[Vec<f64>]| {
        relative_error(&expectation(problem, theta, estimator, thresholds, losses), &exact)
    };
    for (name, estimator, thresholds) in unbiased {
        let error = error(&*estimator, &thresholds);
        assert!(error < 1e-12, "{name} is off by {error:e}");
        assert!(estimator.is_unbiased(STEPS));
    }
    // The same comparison must be able to fail.
    let biased: [(&str, &dyn Estimator, Thresholds); 3] = [
        ("first-order", &FirstOrder {}, Vec::new()),
        ("truncated", &Truncated { depth: STEPS - 1 }, Vec::new()),
        ("overweighted UFOM", &Overweighted { q: 0.2 }, each(&[0.2])),
    ];
    for (name, estimator, thresholds) in biased {
        let error = error(estimator, &thresholds);
        assert!(error > 1e-5, "{name} should be far off, and is by {error:e}");
        assert!(!estimator.is_unbiased(STEPS));
    }
}

/// Estimators that have adapted: the mean of many draws is the exact gradient up to four standard errors.
fn check_adapted<P: Bilevel>(problem: &P, theta: &Params, losses: &LossWeights) {
    let adaptive = trained(problem, theta, AdaptiveUfom::new(0, Coin::Task, TUNING), losses);
    let coins = trained(problem, theta, AdaptiveStepCoins::new(Coin::Task, TUNING, 0.5), losses);
    assert!(coins.probabilities(1, STEPS).iter().any(|p| *p < 0.9), "{:?}", coins.probabilities(1, STEPS));
    let tuning = Tuning { exponent: 0.3, floor: 0.2, ..TUNING };
    let telescoping = AdaptiveTelescoping::new(Levels::Rule(LevelRule::Every), 0, Coin::Task, tuning);
    let telescoping = trained(problem, theta, telescoping, losses);
    let survival = telescoping.survival(1, STEPS);
    assert!(survival.is_sorted_by(|a, b| a >= b) && survival[STEPS - 1] < 1.0, "{survival:?}");
    let unbiased: [(&str, &dyn Estimator); 3] = [
        ("adaptive UFOM", &adaptive),
        ("adaptive step coins", &coins),
        ("adaptive telescoping", &telescoping),
    ];
    for (name, estimator) in unbiased {
        let worst = worst_deviation(problem, theta, estimator, losses);
        assert!(worst < 4.0, "{name} is off by {worst} standard errors");
        assert!(estimator.is_unbiased(STEPS));
    }
    let biased: [(&str, &dyn Estimator); 2] =
        [("first-order", &FirstOrder {}), ("truncated", &Truncated { depth: STEPS - 1 })];
    for (name, estimator) in biased {
        let worst = worst_deviation(problem, theta, estimator, losses);
        assert!(worst > 1e3, "{name} should be far off, and is by {worst} standard errors");
    }
}

fn check<P: Bilevel>(problem: &P, theta: &Params, losses: &LossWeights) {
    check_fixed(problem, theta, losses);
    check_adapted(problem, theta, losses);
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
    let exact = estimate(&problem, &theta, &Draw::truncated(2, STEPS, STEPS), Memory::Store);
    let exact = values(&exact.gradient.mean());
    let error = |estimator: &dyn Estimator, thresholds: &[Vec<f64>]| {
        relative_error(&expectation(&problem, &theta, estimator, thresholds, &last()), &exact)
    };
    let ufom = Ufom::new(0.3, 0, Coin::Step);
    for step in 0..20 {
        let products = ufom.draw(&mut generator(6, "coin", step), 2, STEPS).cost().products;
        assert!(products == 0 || products == 2 * STEPS as u64, "both tasks or neither, not {products}");
    }
    assert!(error(&ufom, &[vec![0.3]]) < 1e-12);

    // In an outer step with a probe, the product of one task is certain.
    let coins = AdaptiveStepCoins::new(Coin::Step, TUNING, 0.5);
    let coins = trained(&problem, &theta, coins, &last());
    let draw = coins.draw(&mut generator(6, "coin", 0), 2, STEPS);
    let probed: Vec<usize> = (1..=STEPS).flat_map(|step| draw.probed(step)).collect();
    assert_eq!(probed.len(), 1, "one product of one task is probed after 200 outer steps");
    let p = coins.probabilities(2, STEPS);
    assert!(p.iter().any(|p| *p < 0.9), "{p:?}");
    let thresholds: Thresholds = p.iter().map(|p| vec![*p]).collect();
    assert!(error(&coins, &thresholds) < 1e-12);
}

#[test]
fn without_an_inner_step_all_but_reptile_give_the_exact_gradient() {
    let (problem, theta) = WeightedRegression::new(2);
    let exact = estimate(&problem, &theta, &Draw::truncated(2, 0, 0), Memory::Store);
    for name in EstimatorName::ALL.iter().filter(|name| **name != EstimatorName::Reptile) {
        let mut estimator = name.default_settings().build();
        assert!(estimator.is_unbiased(0), "{name}");
        // Twice, since adaptive estimators learn.
        for step in 0..2 {
            let draw = estimator.draw(&mut generator(5, "coin", step), 2, 0);
            let found = estimate(&problem, &theta, &draw, Memory::Store);
            let error = relative_error(&values(&found.gradient), &values(&exact.gradient));
            assert!(error < 1e-12, "{name} is off by {error:e}");
            assert_eq!(found.evaluations, exact.evaluations, "{name}");
            learn(&mut *estimator, &draw, &found, 1.0);
        }
    }
}

#[test]
fn probabilities_outside_of_their_range_are_refused() {
    for p in [0.0, -0.1, 1.1, f64::NAN, f64::INFINITY] {
        let tuning = Tuning { floor: p, ..TUNING };
        let telescoping = TelescopingSettings::Fixed {
            survival: p,
            levels: Levels::default(),
            truncate: 0,
            coin: Coin::Task,
        };
        let each = Probabilities::Each(vec![0.5, p]);
        let all: [(&str, &dyn Fn()); 9] = [
            ("UFOM", &|| drop(Ufom::new(p, 0, Coin::Task))),
            ("settings of UFOM", &|| drop(UfomSettings { q: p, ..UfomSettings::default() }.build())),
            ("step coins", &|| drop(StepCoins::new(p))),
            ("settings of step coins", &|| drop(StepCoinsSettings::fixed(p).build())),
            ("uneven step coins", &|| {
                drop(StepCoinsSettings::Fixed { p: each.clone(), coin: Coin::Task }.build());
            }),
            ("settings of telescoping", &|| drop(telescoping.build())),
            ("adaptive UFOM", &|| drop(AdaptiveUfom::new(0, Coin::Task, tuning))),
            ("adaptive step coins", &|| drop(AdaptiveStepCoins::new(Coin::Task, tuning, 0.5))),
            ("adaptive telescoping", &|| {
                drop(AdaptiveTelescoping::new(Levels::default(), 0, Coin::Task, tuning));
            }),
        ];
        for (name, build) in all {
            assert!(catch(build).is_err(), "{name} with {p}");
        }
        // The fields are public: what is built without a constructor is refused at its first draw.
        let drawn =
            |estimator: &dyn Estimator| catch(|| estimator.draw(&mut generator(0, "coin", 0), 1, STEPS));
        assert!(drawn(&Ufom { q: p, ..Ufom::new(0.5, 0, Coin::Task) }).is_err(), "{p}");
        assert!(drawn(&StepCoins { p: Probabilities::Same(p), coin: Coin::Task }).is_err(), "{p}");
        let telescoping = Telescoping { survival: p, levels: Levels::default(), depth: 0, coin: Coin::Task };
        assert!(drawn(&telescoping).is_err(), "{p}");
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
