//! Variances by statistics: the measured variance of an estimator is within four standard errors of its formula, and
//! adaptive estimators find the settings that are best by the formulas.

use super::problems::{FewShotLike, Sizes, WeightedRegression, normal, values};
use bilevel::estimator::allocation::{Budget, Share, descending, independent};
use bilevel::estimator::{
    AdaptiveStepCoins, AdaptiveTelescoping, AdaptiveUfom, Coefficient, Costs, Estimator, SecondMoments,
    StepCoins, Telescoping, Tracker, Ufom, best_q,
};
use bilevel::estimator::{Coin, CostUnit, LevelRule, Levels, Probabilities, Tuning, learn};
use bilevel::hypergradient::{Draw, Memory, Workers, estimate};
use bilevel::rng::generator;
use bilevel::variance::{ErrorAnalysis, Mean, Price, Trial, TrialResult};
use bilevel::{Bilevel, Dual, Params, Rates};
use burn::tensor::Tensor;

const STEPS: usize = 4;
const TASKS: usize = 3;
/// Copies of each task in a trial; each has its own draw.
const COPIES: usize = 500;
/// Draws for all copies.
const DRAWS: u64 = 8;

const TUNING: Tuning = Tuning { exponent: 2.0, beta: 0.9, floor: 0.05, costs: CostUnit::Counted };

/// A problem of tasks and weights so small that thousands of draws take seconds.
fn small(tasks: usize, rate: f64) -> (FewShotLike, Params) {
    let sizes = Sizes { tasks, ways: 2, shots: 2, queries: 2, pixels: 4 };
    FewShotLike::perceptron(sizes, &[3], rate)
}

fn diagnosis<P: Bilevel>(problem: &P, theta: &Params, steps: usize) -> ErrorAnalysis {
    ErrorAnalysis::of(problem, theta, steps, Workers::TOGETHER, Memory::Store)
}

/// Bias and variance of `estimator` over all tasks of `problem`.
fn verdict<P: Bilevel>(problem: &P, theta: &Params, steps: usize, estimator: &dyn Estimator) -> TrialResult {
    let copies: Vec<usize> = (0..COPIES * problem.tasks()).map(|at| at % problem.tasks()).collect();
    let copies = problem.select(&copies);
    Trial::new(&copies, theta, steps, Workers::TOGETHER, Memory::Store).run(estimator, DRAWS, 11)
}

/// Asserts that the variance of `estimator` is `formula` within four standard errors, and that those are small.
fn assert_variance_matches<P: Bilevel>(
    problem: &P,
    theta: &Params,
    estimator: &dyn Estimator,
    formula: f64,
    name: &str,
) {
    let Mean { value, standard_error: error } = verdict(problem, theta, STEPS, estimator).variance;
    let off = (value - formula).abs() / error;
    assert!(off < 4.0, "{name}: {value:e} by trial, {formula:e} by formula: {off} standard errors");
    assert!(error < 0.04 * formula, "{name}: a standard error of {error:e} is too large for {formula:e}");
}

/// `estimator` after `updates` steps on the problem.
fn trained<P: Bilevel, E: Estimator>(problem: &P, theta: &Params, updates: u64, mut estimator: E) -> E {
    train(problem, theta, STEPS, updates, &mut estimator);
    estimator
}

fn train<P: Bilevel>(problem: &P, theta: &Params, steps: usize, updates: u64, estimator: &mut dyn Estimator) {
    for update in 0..updates {
        let draw = estimator.draw(&mut generator(12, "coin", update), problem.tasks(), steps);
        learn(estimator, &draw, &estimate(problem, theta, &draw, Memory::Store), 1.0);
    }
}

/// Σ_l (1/s_l − 1) (𝔻²_{K_{l−1}} − 𝔻²_{K_l}).
fn telescope_variance(diagnosis: &ErrorAnalysis, depths: &[usize], survival: &[f64]) -> f64 {
    let error = |depth: usize| diagnosis.truncations[depth].error.value;
    let levels = depths.windows(2).map(|pair| error(pair[0]) - error(pair[1]));
    levels.zip(survival).map(|(level, chance)| (1.0 / chance - 1.0) * level).sum()
}

fn check_ufom_and_telescoping<P: Bilevel>(problem: &P, theta: &Params) {
    let found = diagnosis(problem, theta, STEPS);
    for (q, depth) in [(0.1, 0), (0.5, 0), (0.3, 2)] {
        let formula = (1.0 / q - 1.0) * found.truncations[depth].error.value;
        assert_variance_matches(problem, theta, &Ufom::new(q, depth, Coin::Task), formula, "UFOM");
    }

    let [every, powers] = [LevelRule::Every, LevelRule::Powers].map(Levels::Rule);
    let geometric = |survival: f64, levels: &Levels, depth| Telescoping {
        survival,
        levels: levels.clone(),
        depth,
        coin: Coin::Task,
    };
    let chances = |survival: f64| (1..=STEPS as i32).map(|level| survival.powi(level)).collect::<Vec<_>>();
    let formula = telescope_variance(&found, &[0, 1, 2, 3, 4], &chances(0.7));
    assert_variance_matches(problem, theta, &geometric(0.7, &every, 0), formula, "telescoping at every step");
    let formula = telescope_variance(&found, &[0, 1, 2, 4], &chances(0.6));
    assert_variance_matches(problem, theta, &geometric(0.6, &powers, 0), formula, "telescoping in powers");
    let formula = telescope_variance(&found, &[1, 2, 3, 4], &chances(0.6));
    assert_variance_matches(problem, theta, &geometric(0.6, &every, 1), formula, "telescoping from one step");

    // An exponent so small that saving pays.
    let tuning = Tuning { exponent: 0.3, ..TUNING };
    let estimator = AdaptiveTelescoping::new(every, 0, Coin::Task, tuning);
    let estimator = trained(problem, theta, 300, estimator);
    let survival = estimator.survival(TASKS, STEPS);
    assert!(survival[0] > 1.05 * survival[STEPS - 1], "the probabilities should differ: {survival:?}");
    let formula = telescope_variance(&found, &[0, 1, 2, 3, 4], &survival);
    assert_variance_matches(problem, theta, &estimator, formula, "adaptive telescoping");
}

#[test]
fn ufom_and_telescoping_on_a_network() {
    let (problem, theta) = small(TASKS, 0.3);
    check_ufom_and_telescoping(&problem, &theta);
}

#[test]
fn ufom_and_telescoping_if_theta_is_not_the_initial_weights() {
    let (problem, theta) = WeightedRegression::new(TASKS);
    check_ufom_and_telescoping(&problem, &theta);
}

/// Squared norms of a stack's tasks.
fn squares(stack: &Params) -> Vec<f64> {
    (0..stack.tasks())
        .map(|task| values(&stack.select(&[task])).iter().map(|value| value * value).sum())
        .collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn truncated<P: Bilevel>(problem: &P, theta: &Params, steps: usize, depth: usize) -> Params {
    estimate(problem, theta, &Draw::truncated(problem.tasks(), steps, depth), Memory::Store).gradient
}

#[test]
fn the_variance_of_tracking_ufom_is_that_of_the_remaining_error() {
    let (problem, theta) = small(TASKS, 0.3);
    let (q, depth) = (0.3, 1);
    for coefficient in [Coefficient::Fitted, Coefficient::Fixed(0.6)] {
        let mut ufom = Ufom::new(q, depth, Coin::Task);
        ufom.tracker = Some(Tracker::new(coefficient, 0.9));
        // Trained at another θ, so that b̂ is not the mean error here.
        let ufom = trained(&problem, &theta.clone().map(|leaf| leaf * 1.1), 100, ufom);
        let draw = ufom.draw(&mut generator(0, "coin", 0), TASKS, STEPS);
        let bias = draw.offset().expect("it tracks").vector.clone();
        let c = ufom.tracker.as_ref().expect("it tracks").coefficient();
        let error = truncated(&problem, &theta, STEPS, STEPS) - truncated(&problem, &theta, STEPS, depth);
        let left = mean(&squares(&(error.clone() - bias.scale(&[c]).repeat(TASKS))));
        let plain = mean(&squares(&error));
        assert!(
            (left / plain - 1.0).abs() > 0.05,
            "tracking changes too little: {left:e} of {plain:e} is left"
        );
        assert_variance_matches(&problem, &theta, &ufom, (1.0 / q - 1.0) * left, "tracking UFOM");
    }
}

/// Gradients of one task for given outcomes of its coins, one a mask: `Some(true)` takes the product with weight 1/p,
/// `Some(false)` skips it, `None` takes it unweighted.
fn gradients_of_outcomes<P: Bilevel>(
    one: &P,
    theta: &Params,
    p: &[f64],
    masks: &[Vec<Option<bool>>],
) -> Params {
    let mut draw = Draw::truncated(masks.len(), p.len(), p.len());
    for (task, mask) in masks.iter().enumerate() {
        for (step, (up, p)) in (1..).zip(mask.iter().zip(p)) {
            draw.set_factor(step, task, up.map_or(1.0, |up| if up { 1.0 / p } else { 0.0 }));
        }
    }
    estimate(&one.select(&vec![0; masks.len()]), theta, &draw, Memory::Store).gradient
}

/// All outcomes of `count` coins.
fn outcomes(count: usize) -> Vec<Vec<Option<bool>>> {
    (0..1 << count).map(|bits: usize| (0..count).map(|at| Some(bits >> at & 1 == 1)).collect()).collect()
}

/// The probability of an outcome.
fn chance(mask: &[Option<bool>], p: &[f64]) -> f64 {
    mask.iter().zip(p).map(|(up, p)| up.map_or(1.0, |up| if up { *p } else { 1.0 - p })).product()
}

fn step_coins<P: Bilevel>(problem: &P, theta: &Params) {
    let one = problem.select(&[0]);
    let p = [0.6, 0.3, 0.9, 0.5];
    let exact = truncated(&one, theta, STEPS, STEPS);
    let masks = outcomes(STEPS);
    let errors = squares(&(gradients_of_outcomes(&one, theta, &p, &masks) - exact.repeat(masks.len())));
    let enumerated: f64 = masks.iter().zip(errors).map(|(mask, error)| chance(mask, &p) * error).sum();

    // Σ_j (1/p_j − 1) E‖P_{<j} α_jH_jv_j‖²: the difference that the product of step j makes, over all outcomes of the coins
    // of later steps, with earlier products unweighted.
    let mut martingale = 0.0;
    for at in 0..STEPS {
        let masks: Vec<_> =
            outcomes(STEPS - at - 1).into_iter().map(|later| (vec![None; at], later)).collect();
        let with = |own: Option<bool>| {
            let whole: Vec<Vec<Option<bool>>> = masks
                .iter()
                .map(|(earlier, later)| [earlier.clone(), vec![own], later.clone()].concat())
                .collect();
            gradients_of_outcomes(&one, theta, &p, &whole)
        };
        let differences = squares(&(with(None) - with(Some(false))));
        let pairs = masks.iter().zip(differences);
        let expected: f64 = pairs.map(|((_, later), square)| chance(later, &p[at + 1..]) * square).sum();
        martingale += (1.0 / p[at] - 1.0) * expected;
    }
    assert!((martingale / enumerated - 1.0).abs() < 1e-9, "{martingale:e} for {enumerated:e}");

    let estimator = StepCoins { p: Probabilities::Each(p.to_vec()), coin: Coin::Task };
    assert_variance_matches(&one, theta, &estimator, enumerated, "step coins");
}

#[test]
fn the_variance_of_step_coins_is_a_sum_over_martingale_differences() {
    let (problem, theta) = small(1, 0.3);
    step_coins(&problem, &theta);
    let (problem, theta) = WeightedRegression::new(1);
    step_coins(&problem, &theta);
}

#[test]
fn at_a_small_rate_the_variance_of_step_coins_follows_from_the_increments() {
    // The Jacobians are near the identity, and second-order noise is small: 5 % are allowed for both.
    let (problem, theta) = small(TASKS, 0.01);
    let steps = 10;
    let found = diagnosis(&problem, &theta, steps);
    let p = 0.3;
    let formula: f64 = found.steps.iter().map(|step| (1.0 / p - 1.0) * step.increment.value).sum();
    let Mean { value, standard_error: error } = verdict(&problem, &theta, steps, &StepCoins::new(p)).variance;
    assert!((value - formula).abs() < 4.0 * error + 0.05 * formula, "{value:e} ± {error:e} for {formula:e}");
    assert!(error < 0.05 * formula);
}

#[test]
fn adaptive_telescoping_finds_the_best_survival_probabilities() {
    let (problem, theta) = small(1, 0.3);
    let found = diagnosis(&problem, &theta, STEPS);
    let tuning = Tuning { exponent: 0.3, ..TUNING };
    for (rule, depths) in [(LevelRule::Every, vec![0, 1, 2, 3, 4]), (LevelRule::Powers, vec![0, 1, 2, 4])] {
        let estimator = AdaptiveTelescoping::new(Levels::Rule(rule), 0, Coin::Task, tuning);
        let estimator = trained(&problem, &theta, 300, estimator);
        let error = |depth: usize| found.truncations[depth].error.value;
        let share = |pair: &[usize]| Share {
            variance: error(pair[0]) - error(pair[1]),
            cost: (pair[1] - pair[0]) as f64,
            floor: tuning.floor,
        };
        let shares: Vec<Share> = depths.windows(2).map(share).collect();
        let budget = Budget { exact: found.exact.value, fixed: STEPS as f64 + 1.0, exponent: 0.3 };
        let best = descending(&shares, budget);
        assert!(best.iter().any(|chance| (0.06..0.99).contains(chance)), "all of {best:?} are at a bound");
        let survival = estimator.survival(1, STEPS);
        for (chance, best) in survival.iter().zip(&best) {
            assert!((chance / best - 1.0).abs() < 1e-6, "{survival:?} instead of {best:?}");
        }
    }
}

#[test]
fn adaptive_ufom_follows_a_changing_problem() {
    let mut estimator = AdaptiveUfom::new(0, Coin::Task, TUNING);
    let mut ratios = Vec::new();
    for rate in [0.02, 0.1, 0.02] {
        let (problem, theta) = small(1, rate);
        let found = diagnosis(&problem, &theta, STEPS);
        let moments = SecondMoments { exact: found.exact.value, error: found.error() };
        let best = best_q(moments, Costs { fixed: STEPS as f64 + 1.0, random: STEPS as f64 }, 2.0);
        assert!(best > 0.05 && best < 0.95, "the best q at rate {rate} is {best}");
        train(&problem, &theta, STEPS, 1000, &mut estimator);
        let q = estimator.q(1, STEPS);
        assert!((q / best - 1.0).abs() < 0.1, "q = {q} instead of {best} at rate {rate}");
        ratios.push(found.error() / found.exact.value);
    }
    assert!(ratios[1] > 5.0 * ratios[0], "the problems should differ: {ratios:?}");
}

#[test]
fn adaptive_step_coins_find_the_best_probabilities_at_a_small_rate() {
    let (problem, theta) = small(1, 0.05);
    let steps = 10;
    let found = diagnosis(&problem, &theta, steps);
    let tuning = Tuning { beta: 0.995, ..TUNING };
    let mut estimator = AdaptiveStepCoins::new(Coin::Task, tuning, 0.0);
    train(&problem, &theta, steps, 2000, &mut estimator);
    let share = |step: &bilevel::variance::Step| Share {
        variance: step.increment.value,
        cost: 1.0,
        floor: tuning.floor,
    };
    let shares: Vec<Share> = found.steps.iter().map(share).collect();
    let budget = Budget { exact: found.exact.value, fixed: steps as f64 + 1.0, exponent: 2.0 };
    let (p, best) = (estimator.probabilities(1, steps), independent(&shares, budget));
    assert!(best.iter().any(|p| (0.06..0.99).contains(p)), "all of {best:?} are at a bound");
    // The rest is noise: averages over some hundred noisy products.
    for (p, best) in p.iter().zip(&best) {
        assert!((p / best - 1.0).abs() < 0.15, "{p} instead of {best}");
    }
}

/// L_in = θ·φ, L_out = ½‖φ − 1‖², V(θ) = 0, for any number of equal tasks: an inner step has no curvature, but changes the
/// gradient in θ.
struct Linear {
    tasks: usize,
}

impl Bilevel for Linear {
    fn tasks(&self) -> usize {
        self.tasks
    }

    fn start(&self, outer: &Params) -> Params {
        outer.zeros_like()
    }

    fn inner_rates(&self, _step: usize, _outer: &Params) -> Rates {
        Rates::Scalar(0.1)
    }

    fn inner_loss(&self, _step: usize, outer: &[Dual<3>], fast: &[Dual<3>]) -> Dual<1> {
        (outer[0].clone() * fast[0].clone()).sum_dim(1).reshape([self.tasks])
    }

    fn outer_loss(&self, _step: usize, _outer: &Params, fast: &Params) -> Tensor<1> {
        fast.clone().map(|leaf| leaf - 1).squared_norm().mul_scalar(0.5)
    }

    fn select(&self, tasks: &[usize]) -> Self {
        Self { tasks: tasks.len() }
    }
}

#[test]
fn adaptive_step_coins_adapt_to_an_inner_loss_without_curvature() {
    let (problem, theta) = (Linear { tasks: 1 }, Params::new(vec![normal([1, 3, 1], 1)]));
    let tuning = Tuning { exponent: 0.3, beta: 0.99, ..TUNING };
    let coins = trained(&problem, &theta, 600, AdaptiveStepCoins::new(Coin::Task, tuning, 0.5));
    // v = φ_r − 1 = −0.1 r θ − 1 at every step, and a step adds −0.1 v to the gradient.
    let slope = values(&theta).into_iter().map(|value| (-0.1 * STEPS as f64 * value - 1.0).powi(2));
    let contribution = 0.1 * 0.1 * slope.sum::<f64>();
    for found in coins.metrics(1, STEPS)["step_second_moments"].as_array().expect("a list") {
        let found = found.as_f64().expect("a number");
        assert!((found / contribution - 1.0).abs() < 1e-9, "{found} instead of {contribution}");
    }
    // The best p by the formulas is 0.26; the second moment of the gradient is estimated from noisy estimates.
    let p = coins.probabilities(1, STEPS);
    assert!(p.iter().all(|p| (0.1..0.7).contains(p)), "{p:?}");
}

#[test]
fn a_diagnosis_matches_direct_computation() {
    // More tasks than are computed at once.
    let tasks = 18;
    let (problem, theta) = small(tasks, 0.3);
    let found = diagnosis(&problem, &theta, STEPS);
    let on_threads =
        ErrorAnalysis::of(&problem, &theta, STEPS, Workers { threads: 2, chunk: 5 }, Memory::Store);
    let gradients: Vec<Params> = (0..=STEPS).map(|depth| truncated(&problem, &theta, STEPS, depth)).collect();
    let exact = squares(&gradients[STEPS]);
    let same = |Mean { value, standard_error }: Mean, each: &[f64]| {
        let spread = each.iter().map(|one| (one - mean(each)).powi(2)).sum::<f64>();
        let expected = (spread / (each.len() * (each.len() - 1)) as f64).sqrt();
        let scale = mean(each).abs() + expected;
        assert!((value - mean(each)).abs() <= 1e-9 * scale, "{value:e} instead of {:e}", mean(each));
        let off = (standard_error - expected).abs();
        assert!(off <= 1e-9 * scale, "± {standard_error:e} instead of {expected:e}");
    };
    assert_eq!(found.tasks, tasks);
    same(found.exact, &exact);
    same(on_threads.exact, &exact);
    for (depth, truncation) in found.truncations.iter().enumerate() {
        let errors = squares(&(gradients[STEPS].clone() - gradients[depth].clone()));
        same(truncation.error, &errors);
        same(on_threads.truncations[depth].error, &errors);
        let relative: Vec<f64> =
            errors.iter().zip(&exact).map(|(error, exact)| (error / exact).sqrt()).collect();
        same(truncation.relative, &relative);
        let cosine = |task: usize| {
            let [a, b] = [&gradients[depth], &gradients[STEPS]].map(|stack| values(&stack.select(&[task])));
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt()
        };
        same(truncation.cosine, &(0..tasks).map(cosine).collect::<Vec<f64>>());
    }
    for (at, step) in found.steps.iter().enumerate() {
        let depth = STEPS - at;
        let increments = squares(&(gradients[depth].clone() - gradients[depth - 1].clone()));
        same(step.increment, &increments);
        // V is the identity and θ is in no loss, so g_k is v_{r−k}.
        let before = squares(&gradients[depth - 1]);
        let curvatures: Vec<f64> = increments.iter().zip(before).map(|(a, b)| (a / b).sqrt()).collect();
        same(step.curvature, &curvatures);
        assert!((step.largest_curvature / curvatures.iter().copied().fold(0.0, f64::max) - 1.0).abs() < 1e-9);
        let levels = found.truncations[depth - 1].error.value - found.truncations[depth].error.value;
        assert!((step.level.value - levels).abs() < 1e-9 * found.exact.value);
    }
    let errors = gradients[STEPS].clone() - gradients[0].clone();
    let errors: Vec<Vec<f64>> = (0..tasks).map(|task| values(&errors.select(&[task]))).collect();
    let mut between = 0.0;
    for one in 0..tasks {
        for other in (0..tasks).filter(|other| *other != one) {
            between += errors[one].iter().zip(&errors[other]).map(|(a, b)| a * b).sum::<f64>();
        }
    }
    between /= (tasks * (tasks - 1)) as f64;
    let systematic = found.systematic.expect("there are many tasks").value;
    assert!((systematic - between).abs() < 1e-9 * found.error(), "{systematic:e} instead of {between:e}");
    assert!((found.tracked_error() - (found.error() - between.max(0.0))).abs() < 1e-9 * found.error());
    assert_eq!(diagnosis(&problem.select(&[0]), &theta, STEPS).systematic, None);

    let written = serde_json::to_string(&found).expect("a diagnosis can be written");
    assert_eq!(serde_json::from_str::<ErrorAnalysis>(&written).expect("a diagnosis can be read"), found);
}

#[test]
fn no_setting_near_the_best_one_is_better() {
    let (problem, theta) = small(TASKS, 0.05);
    let steps = 10;
    let found = diagnosis(&problem, &theta, steps);
    for price in [Price::counted(steps), Price { fixed: 0.05, product: 0.015 }] {
        let contenders = found.tuned_estimators(price, 2.0, 0.0);
        let named = |name: &str| contenders.iter().find(|contender| contender.name == name).expect(name);
        let time = |name: &str| named(name).time.expect("it is unbiased");
        let exact = named("exact");
        assert_eq!((exact.time, exact.variance, exact.products), (Some(1.0), Some(0.0), 10.0));
        assert_eq!((named("first-order").cost, named("first-order").time), (1.0, None));

        // UFOM: cost, variance and time by their formulas; no q near the best one is better.
        let ratio = found.error() / found.exact.value;
        let ufom = |q: f64| {
            let (cost, all) = (price.of(10.0 * q), price.of(10.0));
            cost / all * (1.0 + (1.0 / q - 1.0) * ratio).powi(2)
        };
        assert!((time("UFOM(0.1)") / ufom(0.1) - 1.0).abs() < 1e-12);
        let q = named("best UFOM").setting[0];
        assert!((time("best UFOM") / ufom(q) - 1.0).abs() < 1e-12);
        assert!([0.9, 1.1].iter().all(|factor| ufom((q * factor).min(1.0)) >= ufom(q)));

        // A richer family is never worse.
        let order = ["best telescope, every step", "best telescope, powers of two", "best UFOM", "exact"];
        assert!(order.map(time).is_sorted_by(|a, b| *a <= b * (1.0 + 1e-9)), "{:?}", order.map(time));
        assert!(time("best tracked UFOM") <= time("best UFOM"));
        for p in [0.1, 0.2, 0.5] {
            let fixed = named(&format!("step coins({p})"));
            let increments: f64 = found.steps.iter().map(|step| step.increment.value).sum();
            let variance = (1.0 / p - 1.0) * increments / found.exact.value;
            assert!((fixed.variance.expect("it is unbiased") / variance - 1.0).abs() < 1e-9);
            assert!((fixed.products - 10.0 * p).abs() < 1e-9);
            assert!(time("best step coins") <= fixed.time.expect("it is unbiased") * (1.0 + 1e-9));
        }
        // With the floor set by the curvature.
        let floored = found.tuned_estimators(price, 2.0, 20.0);
        let floored =
            floored.iter().find(|contender| contender.name == "best step coins").expect("it is there");
        for (p, step) in floored.setting.iter().zip(&found.steps) {
            assert!(*p >= (20.0 * step.largest_curvature).min(1.0) * (1.0 - 1e-12));
        }
        assert!(floored.products > named("best step coins").products);
    }
}
