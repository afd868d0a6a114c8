//! Data hyper-cleaning with every estimator that takes products, on small artificial images and on MNIST.

use crate::common::optional::data_set;
use crate::common::problems::{labelled_images, values};
use crate::common::relative_error;
use bilevel::Params;
use bilevel::estimator::{Estimator, StepCoins};
use bilevel::hypergradient::{LossWeights, Memory, Workers, adapt, estimate, objective};
use bilevel::readback::read;
use bilevel::rng::generator;
use burn::tensor::{DType, Device};
use metaburn::config::Config;
use metaburn::data::{Labelled, Mislabelled, mnist};
use metaburn::task::{Batch, HyperCleaning, f1};
use metaburn::train::outer_loop;

fn batch(set: &Labelled) -> Batch {
    Batch::of(set, (&Device::flex(), DType::F32))
}

/// A configuration with Adam and these `key=value` pairs, separated by spaces.
fn config(keys: &str) -> Config {
    let adam = "outer.optimizer=adam outer.rate=0.2 outer.schedule=constant";
    let keys: Vec<String> = [adam, keys].join(" ").split(' ').map(String::from).collect();
    Config::load(None, &keys).unwrap_or_else(|error| panic!("{error}"))
}

/// θ after a descent with this configuration.
fn descended(problem: &HyperCleaning, config: &Config) -> Params {
    let mut descent = outer_loop(config, problem.undecided(), Workers::TOGETHER);
    let mut sum = 0;
    while descent.progress() < 1.0 {
        sum += descent.step(problem).expect("finite").pending.spent.total();
    }
    assert_eq!(descent.evaluations().total(), sum);
    descent.theta().clone()
}

/// F1 of finding the `wrong` labels by a weight below ½.
fn score(theta: &Params, wrong: &[bool]) -> f64 {
    f1(&HyperCleaning::weights(theta).iter().map(|weight| *weight < 0.5).collect::<Vec<_>>(), wrong)
}

/// Images of which 30 % have a wrong label, and which those are.
fn mislabelled_images() -> (HyperCleaning, Vec<bool>) {
    let Mislabelled { set, wrong } = labelled_images(60, 6, 3, 1).mislabelled(0.3, 2).expect("a share");
    (HyperCleaning::new(batch(&set), batch(&labelled_images(60, 6, 3, 3)), 0.05), wrong)
}

#[test]
fn every_estimator_but_first_order_finds_wrong_labels() {
    let (problem, wrong) = mislabelled_images();
    let (theta, steps) = (problem.undecided(), 16);
    let before = objective(&problem, &theta, &LossWeights::last(steps));
    let by = |estimator: &str| {
        descended(
            &problem,
            &config(&format!("inner.steps={steps} outer.evaluations=3000 estimator.name={estimator}")),
        )
    };
    for estimator in [
        "exact",
        "truncated estimator.truncate=1",
        "truncated estimator.truncate=4",
        "ufom estimator.q=0.2 estimator.truncate=1",
        "ufom estimator.q=0.2 estimator.truncate=1 estimator.tracking=fitted",
        "adaptive estimator.truncate=1 estimator.costs=counted",
        "step-coins estimator.p=0.5",
        "step-coins estimator.costs=counted",
        "telescoping estimator.survival=0.7 estimator.truncate=1",
        "telescoping estimator.truncate=1 estimator.costs=counted",
    ] {
        let theta = by(estimator);
        let (after, score) = (objective(&problem, &theta, &LossWeights::last(steps)), score(&theta, &wrong));
        // Measured: 0.53 → 0.18, and F1 from 0.92 to 1.
        assert!(after < 0.5 * before && score > 0.85, "{estimator}: loss {before} → {after}, F1 {score}");
    }
    assert_eq!(values(&by("first-order")), values(&theta));
}

#[test]
fn the_oracle_trains_only_on_the_examples_it_keeps() {
    let set = labelled_images(12, 6, 3, 1);
    let validation = batch(&labelled_images(9, 6, 3, 2));
    let (kept, rate, steps) = ([0, 2, 3, 7, 10], 0.1, 8);
    let problem = HyperCleaning::new(batch(&set), validation.clone(), rate);
    let keeping = adapt(&problem, &problem.keeping(|example| kept.contains(&example)), steps).0;
    let alone = HyperCleaning::new(batch(&set.select(&kept)), validation, rate);
    let trained = adapt(&alone, &alone.keeping(|_| true), steps).0;
    assert!(relative_error(&values(&keeping), &values(&trained)) < 1e-6);
}

#[test]
fn f1_is_computed_from_hits_misses_and_false_alarms() {
    let flags = |text: &str| text.chars().map(|letter| letter == '1').collect::<Vec<_>>();
    assert_eq!(f1(&flags("1100"), &flags("1100")), 1.0);
    // One hit, two misses, one false alarm.
    assert_eq!(f1(&flags("100001"), &flags("111000")), 2.0 / 5.0);
    assert_eq!(f1(&flags("0000"), &flags("0101")), 0.0);
    assert_eq!(f1(&flags("00"), &flags("00")), 0.0);
}

#[test]
fn a_descent_is_the_hand_written_loop_with_clipping_and_a_rate_schedule() {
    let (problem, _) = mislabelled_images();
    let (steps, rate, most) = (8, 20.0, 0.01);
    let keys = format!(
        "inner.steps={steps} estimator.name=step-coins estimator.p=0.5 seed=7 outer.optimizer=sgd outer.rate={rate} \
         outer.schedule=linear outer.clip={most} outer.steps=4"
    );
    let config = Config::load(None, &keys.split_whitespace().map(String::from).collect::<Vec<_>>());
    let config = config.unwrap_or_else(|error| panic!("{error}"));
    let mut descent = outer_loop(&config, problem.undecided(), Workers::TOGETHER);

    let (mut theta, mut clipped) = (problem.undecided(), 0);
    for step in 0..4 {
        let draw = StepCoins::new(0.5).draw(&mut generator(7, "coin", step), 1, steps);
        let gradient = estimate(&problem, &theta, &draw, Memory::Store).gradient;
        let norm = read(gradient.clone().squared_norm())[0].sqrt();
        clipped += u32::from(norm > most);
        let shrunk = rate * (1.0 - step as f64 / 4.0) / (norm / most).max(1.0);
        theta = theta - gradient.scale(&[shrunk]);

        let taken = descent.step(&problem).expect("finite");
        assert!((taken.gradient_norm - norm).abs() < 1e-5 * norm);
        assert!(relative_error(&values(descent.theta()), &values(&theta)) < 1e-5);
    }
    assert_eq!(descent.progress(), 1.0);
    assert!(clipped > 0, "some gradients are clipped");
}

#[test]
fn a_descent_that_diverges_is_an_error_and_keeps_theta() {
    let set = batch(&labelled_images(12, 6, 3, 1));
    let problem = HyperCleaning::new(set.clone(), set, f64::INFINITY);
    let config = config("inner.steps=4 outer.steps=3 estimator.name=exact");
    let mut descent = outer_loop(&config, problem.undecided(), Workers::TOGETHER);
    let error = descent.step(&problem).expect_err("diverged").to_string();
    assert!(error.contains("outer step 1") && error.contains("not finite"), "{error}");
    assert_eq!((values(descent.theta()), descent.steps()), (values(&problem.undecided()), 0));
}

#[test]
fn mnist_has_its_published_counts() {
    let Some(folder) = data_set("mnist") else { return };
    let digits = mnist::load(&folder).expect("sound files");
    assert_eq!([&digits.train, &digits.test].map(Labelled::len), [60_000, 10_000]);
    assert_eq!(digits.train.pixels(), 28 * 28);
    assert_eq!(digits.train.labels()[..10], [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]);
    // How many of each digit there are, as published.
    let mut counts = [0; 10];
    digits.test.labels().iter().for_each(|label| counts[*label] += 1);
    assert_eq!(counts, [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]);
    // Light strokes around the middle, nothing in the corners.
    let ink =
        |place: usize| digits.train.images().iter().skip(place).step_by(784).filter(|ink| **ink > 0).count();
    assert!(ink(0) == 0 && ink(14 * 28 + 14) > 30_000, "{} and {}", ink(0), ink(14 * 28 + 14));
}

#[test]
fn on_mnist_cleaning_beats_training_on_all_examples() {
    let Some(folder) = data_set("mnist") else { return };
    let digits = mnist::load(&folder).expect("sound files");
    let [train, validation, test] = digits.train.parts([1000, 1000, 2000], 0).expect("enough digits");
    let Mislabelled { set, wrong } = train.mislabelled(0.5, 0).expect("a share");
    let (problem, test) = (HyperCleaning::new(batch(&set), batch(&validation), 0.4 / 1000.0), batch(&test));
    let steps = 50;
    let accuracy = |theta: &Params| {
        let (fast, _) = adapt(&problem, theta, steps);
        100.0 * read(problem.assess(&fast, &test).accuracy)[0]
    };
    let theta = descended(&problem, &config("inner.steps=50 outer.steps=15 estimator.name=exact"));
    let everything = accuracy(&problem.keeping(|_| true));
    let oracle = accuracy(&problem.keeping(|example| !wrong[example]));
    let (cleaned, score) = (accuracy(&theta), score(&theta, &wrong));
    // Measured: 72.5, 81.1 and 82.6 %, and F1 0.91.
    let found = format!("everything {everything}, oracle {oracle}, cleaned {cleaned}, F1 {score}");
    assert!(oracle > everything + 5.0 && cleaned > everything + 5.0 && score > 0.85, "{found}");
}
