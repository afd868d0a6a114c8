//! Inner loops other than MAML's: learned rates, adaptation of the head alone, rates for each weight, a proximal term.
//! Their exact gradients against central differences, in float64.

use crate::common::problems::{
    differences, exact_gradient_matches_differences, few_shot, gradient_along_matches_differences, normal,
    values,
};
use crate::common::relative_error;
use bilevel::Choice;
use bilevel::estimator::{
    Estimator, EstimatorName, EstimatorSettings, StepCoinsSettings, UfomSettings, learn,
};
use bilevel::hypergradient::{Draw, LossWeights, Memory, adapt, estimate};
use bilevel::rng::generator;
use bilevel::{Bilevel, Dual, Params, Proximal, Rates};
use burn::tensor::{DType, Device, Tensor};
use metaburn::model::{Architecture, Conv4, Layout, Leaf, Mlp, Product, Sequential, initialise_leaves};
use metaburn::task::{Adaptation, Adapts, BatchNorm, FewShot, Head, InnerRates, RateEach};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const LEARNED: InnerRates = InnerRates::Learned { start: 0.3, each: RateEach::Weight };
const STEPS: usize = 3;

/// θ of `network` with this adaptation, in float64: initial values with a jitter, so that γ and β of batch norm are
/// not at special values, and rates about 0.3.
fn theta(network: &dyn Architecture, adaptation: &Adaptation) -> Params {
    let mut seed = 10;
    initialise_leaves(&adaptation.leaves(network), 3, &Device::flex()).map(|leaf| {
        seed += 1;
        let dims = leaf.dims();
        leaf.cast(DType::F64) + normal(dims, seed) * 0.1
    })
}

/// Two tasks with this adaptation, and θ.
fn adapting(adaptation: &Adaptation, batch_norm: BatchNorm) -> (FewShot, Params) {
    let network = Arc::new(Mlp::new(&[5, 4]).build(6, 3).unwrap());
    let theta = theta(&*network, adaptation);
    let (plain, _) = few_shot(network, [2, 3, 2, 2, 6], 0.3, batch_norm);
    (plain.adapting(adaptation), theta)
}

fn adaptation(adapts: Adapts, rates: InnerRates) -> Adaptation {
    Adaptation { adapts, rates, ..Adaptation::maml(0.3) }
}

fn fixed(rate: f64) -> InnerRates {
    InnerRates::Fixed(Rates::Scalar(rate))
}

#[test]
fn learned_rates_have_an_exact_gradient() {
    let (problem, theta) = adapting(&adaptation(Adapts::All, LEARNED), BatchNorm::Transductive);
    exact_gradient_matches_differences(&problem, &theta, STEPS);
    // The part of the rates alone, which that of the weights might outweigh.
    let part = |depth| {
        let gradient =
            estimate(&problem, &theta, &Draw::truncated(2, STEPS, depth), Memory::Store).gradient.mean();
        values(&gradient.part(8..16))
    };
    let slopes = differences(&problem, &theta, STEPS);
    let rates = slopes.len() / 2;
    let error = relative_error(&part(STEPS), &slopes[rates..]);
    assert!(error < 1e-6, "the gradient in the rates is off by {error:e}");
    assert!(part(0).iter().all(|slope| *slope == 0.0), "first-order has none");
}

#[test]
fn learned_rates_of_a_convolutional_network_have_an_exact_gradient() {
    let network = Arc::new(Conv4::new(3, 2).build(7, 3).unwrap());
    let (plain, _) = few_shot(network.clone(), [2, 3, 2, 2, 49], 0.3, BatchNorm::Support);
    let adaptation = adaptation(Adapts::All, LEARNED);
    let problem = plain.adapting(&adaptation);
    exact_gradient_matches_differences(&problem, &theta(&*network, &adaptation), STEPS);
}

#[test]
fn with_a_head_that_adapts_alone_the_gradient_of_the_body_is_exact() {
    for batch_norm in [BatchNorm::Transductive, BatchNorm::Support] {
        let (problem, theta) = adapting(&adaptation(Adapts::Head, fixed(0.5)), batch_norm);
        exact_gradient_matches_differences(&problem, &theta, STEPS);

        let outer = theta.repeat(2);
        let (fast, _) = adapt(&problem, &outer, STEPS);
        let shapes: Vec<_> = fast.leaves().iter().map(|leaf| leaf.dims()).collect();
        assert_eq!(shapes, [[2, 4, 3], [2, 1, 3]], "the linear layer's weight and bias");
        // Adapting the head changes the loss; the body is θ's.
        let before = problem.assess(0, &outer, &problem.start(&outer)).loss;
        assert!(
            values(&Params::new(vec![
                (before - problem.assess(STEPS, &outer, &fast).loss).reshape([2, 1, 1])
            ]))
            .iter()
            .all(|gain| gain.abs() > 1e-3)
        );
    }
}

#[test]
fn with_a_head_that_adapts_alone_observing_some_tasks_changes_no_gradient() {
    let (problem, theta) = adapting(&adaptation(Adapts::Head, LEARNED), BatchNorm::Support);
    let problem = problem.select(&[0, 1, 1]);
    // UFOM with an exact draw of task 1; then coins that no task shares.
    let mut ufom = Draw::truncated(3, STEPS, 0);
    ufom.add(1, 0, -2.0);
    ufom.add(1, STEPS, 2.0);
    let mut levels = Draw::new(3, STEPS);
    (0..3).for_each(|task| levels.add(task, task, 1.5));
    for draw in [ufom, levels] {
        let plain = estimate(&problem, &theta, &draw, Memory::Store);
        let observed = estimate(&problem, &theta, &draw.clone().observed(), Memory::Store);
        let error = relative_error(&values(&observed.gradient), &values(&plain.gradient));
        assert!(error < 1e-13, "off by {error:e}");
        for depth in (0..=STEPS).filter(|depth| !draw.summed(*depth).is_empty()) {
            let (tasks, found) = observed.partial_gradient(depth).unwrap();
            let alone = problem.select(&tasks);
            let truncated = Draw::truncated(tasks.len(), STEPS, depth);
            let expected = estimate(&alone, &theta, &truncated, Memory::Store).gradient;
            assert!(relative_error(&values(&found), &values(&expected)) < 1e-13, "g_{depth}");
        }
    }
}

/// A network that counts how often its layers below the head run.
struct Counting(Sequential, AtomicUsize);

impl Architecture for Counting {
    fn leaves(&self) -> Vec<Leaf> {
        self.0.leaves()
    }

    fn products(&self) -> Vec<Product> {
        self.0.products()
    }

    fn prepare(&self, images: Tensor<3>) -> Tensor<3> {
        self.0.prepare(images)
    }

    fn features(&self, weights: &[Dual<3>], input: &Tensor<3>, statistics: usize) -> Dual<3> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.features(weights, input, statistics)
    }
}

#[test]
fn with_a_head_that_adapts_alone_the_body_runs_once() {
    for (head, batch_norm) in
        [(Head::Learned, BatchNorm::Transductive), (Head::Prototype, BatchNorm::Support)]
    {
        let network = Arc::new(Counting(Mlp::new(&[5, 4]).build(6, 3).unwrap(), AtomicUsize::new(0)));
        let adaptation = Adaptation { adapts: Adapts::Head, head, ..Adaptation::maml(0.3) };
        let theta = theta(&*network, &adaptation);
        let (plain, _) = few_shot(network.clone(), [2, 3, 2, 2, 6], 0.3, batch_norm);
        let problem = plain.adapting(&adaptation);
        let runs = |work: &dyn Fn()| {
            network.1.store(0, Ordering::Relaxed);
            work();
            network.1.load(Ordering::Relaxed)
        };
        let all = LossWeights::new(vec![0.1; 11]);
        let estimate = |draw: Draw| drop(estimate(&problem, &theta, &draw, Memory::Recompute));
        // Support and query images.
        assert_eq!(runs(&|| estimate(Draw::truncated(2, 10, 10).with_losses(all.clone()))), 2);
        // Each of g_0 to g_10 is differentiated by itself.
        assert_eq!(runs(&|| estimate(Draw::every_depth(2, 10).with_losses(all.clone()))), 11 * 2);
        assert_eq!(runs(&|| drop(adapt(&problem, &theta.repeat(2), 10))), 2);
    }
}

#[test]
fn while_only_the_head_adapts_an_episode_is_that_of_anil_with_the_same_weights() {
    for head in [Head::Learned, Head::Prototype] {
        let counting = Arc::new(Counting(Mlp::new(&[5, 4]).build(6, 3).unwrap(), AtomicUsize::new(0)));
        let network: Arc<dyn Architecture> = counting.clone();
        let rates = InnerRates::Learned { start: 0.3, each: RateEach::TensorAndStep { steps: STEPS } };
        let all = Adaptation { adapts: Adapts::AllButNorm, head, rates, ..Adaptation::maml(0.3) };
        let anil = Adaptation { adapts: Adapts::Head, ..all.clone() };
        let theta_of_all = theta(&*network, &all);
        let (plain, _) = few_shot(network.clone(), [2, 3, 2, 2, 6], 0.3, BatchNorm::Transductive);
        let head_only = plain.clone().adapting(&all).head_only();
        exact_gradient_matches_differences(&head_only, &theta_of_all, STEPS);

        // The same θ without the rates of the layers below the head.
        let names = |adaptation: &Adaptation| -> Vec<String> {
            adaptation.leaves(&*network).into_iter().map(|leaf| leaf.name).collect()
        };
        let (all_names, anil_names) = (names(&all), names(&anil));
        let is_shared = |name: &&String| anil_names.contains(name);
        let shared = |params: &Params| {
            let leaves = all_names.iter().zip(params.leaves()).filter(|(name, _)| is_shared(name));
            Params::new(leaves.map(|(_, leaf)| leaf.clone()).collect())
        };
        let draw = Draw::truncated(2, STEPS, STEPS);
        counting.1.store(0, Ordering::Relaxed);
        let found = estimate(&head_only, &theta_of_all, &draw, Memory::Store);
        assert_eq!(
            counting.1.load(Ordering::Relaxed),
            2,
            "the body runs once on support, once on query images"
        );
        let anil = estimate(&plain.adapting(&anil), &shared(&theta_of_all), &draw, Memory::Store);
        assert_eq!(values(&shared(&found.gradient)), values(&anil.gradient));
        let unused = all_names.iter().zip(found.gradient.leaves()).filter(|(name, _)| !is_shared(name));
        let unused: Vec<_> = unused.map(|(_, leaf)| leaf.clone()).collect();
        assert_eq!(unused.len(), 2, "a rate for the weights of each layer below the head");
        assert!(values(&Params::new(unused)).iter().all(|value| *value == 0.0));
    }
}

#[test]
fn a_fixed_rate_for_each_weight_has_an_exact_gradient() {
    let (_, weights) = adapting(&adaptation(Adapts::All, fixed(0.3)), BatchNorm::Transductive);
    let mut seed = 50;
    let each = weights.map(|leaf| {
        seed += 1;
        normal(leaf.dims(), seed) * 0.05 + 0.3
    });
    let given = InnerRates::Fixed(Rates::Each(each.clone()));
    let (problem, theta) = adapting(&adaptation(Adapts::All, given), BatchNorm::Transductive);
    exact_gradient_matches_differences(&problem, &theta, STEPS);

    // The rates of the head are used if only the head adapts.
    exact_gradient_matches_differences(&problem.clone().head_only(), &theta, STEPS);

    // Learned rates of the same values give the same gradient.
    let (learned, _) = adapting(&adaptation(Adapts::All, LEARNED), BatchNorm::Transductive);
    let both = Params::new([theta.leaves(), each.leaves()].concat());
    let draw = Draw::truncated(2, STEPS, STEPS);
    let fixed = values(&estimate(&problem, &theta, &draw, Memory::Store).gradient);
    let learned = values(&estimate(&learned, &both, &draw, Memory::Store).gradient.part(0..8));
    assert!(relative_error(&learned, &fixed) < 1e-12);
}

#[test]
fn a_proximal_term_keeps_the_gradient_exact() {
    let (problem, theta) = adapting(&adaptation(Adapts::All, fixed(0.3)), BatchNorm::Transductive);
    exact_gradient_matches_differences(&Proximal { problem, strength: 0.7 }, &theta, STEPS);
}

#[test]
fn head_learned_rates_and_proximal_term_together() {
    for adapts in [Adapts::All, Adapts::Head] {
        let (problem, theta) = adapting(&adaptation(adapts, LEARNED), BatchNorm::Support);
        exact_gradient_matches_differences(&Proximal { problem, strength: 0.7 }, &theta, STEPS);
    }
}

#[test]
fn step_coins_with_all_of_them_average_to_the_exact_gradient() {
    let (problem, theta) = adapting(&adaptation(Adapts::Head, LEARNED), BatchNorm::Transductive);
    let problem = Proximal { problem, strength: 0.7 };
    assert_coins_average_to_exact(&problem, &theta, &LossWeights::last(STEPS));
}

/// Asserts that the mean over all outcomes of three fair coins, which are equally likely, is the exact gradient.
fn assert_coins_average_to_exact<P: Bilevel>(problem: &P, theta: &Params, losses: &LossWeights) {
    let along = |draw: Draw| {
        estimate(problem, theta, &draw.with_losses(losses.clone()), Memory::Store).gradient.mean()
    };
    let exact = along(Draw::truncated(2, STEPS, STEPS));
    let outcomes = (0..1 << STEPS).map(|outcome| {
        let mut draw = Draw::truncated(2, STEPS, STEPS);
        for (step, task) in (1..=STEPS).flat_map(|step| [(step, 0), (step, 1)]) {
            draw.set_factor(step, task, if outcome >> (step - 1) & 1 == 1 { 2.0 } else { 0.0 });
        }
        along(draw)
    });
    let outcomes: Vec<Params> = outcomes.collect();
    assert!(outcomes.iter().all(|outcome| relative_error(&values(outcome), &values(&exact)) > 1e-3));
    let error = relative_error(&values(&Params::cat(outcomes).mean()), &values(&exact));
    assert!(error < 1e-12, "the mean is off by {error:e}");
}

/// Every combination of what adapts, learned rates, head, and batch norm's rows for each inner step.
fn every_adaptation() -> Vec<Adaptation> {
    let learned = |each| InnerRates::Learned { start: 0.3, each };
    let rates = [
        fixed(0.3),
        learned(RateEach::Weight),
        learned(RateEach::Tensor),
        // Fewer columns than inner steps: the last goes on.
        learned(RateEach::TensorAndStep { steps: STEPS - 1 }),
    ];
    let mut all = Vec::new();
    for (adapts, rows) in [
        (Adapts::All, None),
        (Adapts::AllButNorm, None),
        (Adapts::AllButNorm, Some(STEPS)),
        (Adapts::Head, Some(STEPS - 1)),
    ] {
        for head in [Head::Learned, Head::Shared, Head::Prototype] {
            for rates in rates.iter().cloned() {
                all.push(Adaptation { adapts, rates, head, norm_steps: rows });
            }
        }
    }
    all
}

#[test]
fn every_combination_has_an_exact_gradient() {
    for (index, adaptation) in every_adaptation().iter().enumerate() {
        let batch_norm = if index % 2 == 0 { BatchNorm::Transductive } else { BatchNorm::Support };
        let (problem, theta) = adapting(adaptation, batch_norm);
        exact_gradient_matches_differences(&problem, &theta, STEPS);
        let losses = LossWeights::new(vec![0.0, 0.2, 0.3, 0.5]);
        gradient_along_matches_differences(&problem, &theta, &losses);
    }
}

#[test]
fn step_coins_average_to_the_exact_gradient_in_every_combination() {
    for adaptation in every_adaptation() {
        let (problem, theta) = adapting(&adaptation, BatchNorm::Transductive);
        let problem = Proximal { problem, strength: 0.7 };
        assert_coins_average_to_exact(&problem, &theta, &LossWeights::new(vec![0.0, 0.2, 0.3, 0.5]));
    }
}

/// Draws of a random estimator, and how many of them are computed together.
const DRAWS: usize = 2000;
const TOGETHER: usize = 500;

/// The largest distance of the mean of `DRAWS` estimates of task 0 from its exact gradient, in standard errors over
/// coordinates.
fn worst_deviation<P: Bilevel>(
    problem: &P,
    theta: &Params,
    estimator: &mut dyn Estimator,
    losses: &LossWeights,
) -> f64 {
    // An adaptive estimator learns first, and then stays as it is.
    for step in 0..60 {
        let draw = estimator.draw(&mut generator(7, "coin", step), 2, STEPS).with_losses(losses.clone());
        learn(estimator, &draw, &estimate(problem, theta, &draw, Memory::Store), 1.0);
    }
    let draw = Draw::truncated(1, STEPS, STEPS).with_losses(losses.clone());
    let exact = values(&estimate(&problem.select(&[0]), theta, &draw, Memory::Store).gradient);
    let copies = problem.select(&[0; TOGETHER]);
    let (mut sum, mut squares) = (vec![0.0; exact.len()], vec![0.0; exact.len()]);
    for batch in 0..(DRAWS / TOGETHER) as u64 {
        let draw = estimator.draw(&mut generator(5, "coin", batch), TOGETHER, STEPS);
        let estimates = estimate(&copies, theta, &draw.with_losses(losses.clone()), Memory::Store).gradient;
        for task in 0..TOGETHER {
            for (at, value) in values(&estimates.select(&[task])).into_iter().enumerate() {
                sum[at] += value;
                squares[at] += value * value;
            }
        }
    }
    let count = DRAWS as f64;
    let deviation = |at: usize| {
        let mean = sum[at] / count;
        let variance = (squares[at] / count - mean * mean).max(0.0);
        (mean - exact[at]).abs() / ((variance / count).sqrt() + 1e-12)
    };
    // `f64::max` would pass over a NaN.
    let finite = |off: &f64| assert!(off.is_finite(), "an estimate is not finite");
    (0..exact.len()).map(deviation).inspect(finite).fold(0.0, f64::max)
}

#[test]
fn every_unbiased_estimator_stays_unbiased_with_the_whole_recipe() {
    let rates = InnerRates::Learned { start: 0.3, each: RateEach::TensorAndStep { steps: STEPS } };
    let losses = LossWeights::new(vec![0.0, 0.2, 0.3, 0.5]);
    for head in [Head::Learned, Head::Prototype] {
        let rates = rates.clone();
        let recipe = Adaptation { adapts: Adapts::AllButNorm, rates, head, norm_steps: Some(STEPS) };
        let (problem, theta) = adapting(&recipe, BatchNorm::Transductive);
        let (mut unbiased, mut biased) = (0, 0);
        let settings = EstimatorName::ALL.iter().map(|name| name.default_settings());
        let fixed: [EstimatorSettings; 2] =
            [StepCoinsSettings::fixed(0.3).into(), UfomSettings::default().into()];
        for settings in settings.chain(fixed).filter(|settings| settings.ignores_losses().is_none()) {
            let mut estimator = settings.build();
            let worst = worst_deviation(&problem, &theta, &mut *estimator, &losses);
            if estimator.is_unbiased(STEPS) {
                assert!(worst < 4.0, "{head}, {}: {worst} standard errors off", settings.name());
                unbiased += 1;
            } else {
                assert!(worst > 1e3, "{head}, {}: only {worst} standard errors off", settings.name());
                biased += 1;
            }
        }
        assert_eq!((unbiased, biased), (7, 2));
    }
}

#[test]
fn a_prototype_head_without_inner_steps_is_the_prototypical_network() {
    let all = Adaptation { head: Head::Prototype, ..Adaptation::maml(0.3) };
    let (problem, theta) = adapting(&all, BatchNorm::Transductive);
    let outer = theta.repeat(2);
    let logits = problem.query_logits(0, &outer, &problem.start(&outer));

    // The features of Burn's own operations, and squared distances to the class means of the support images.
    let network = Mlp::new(&[5, 4]).build(6, 3).unwrap();
    let features = |images: Tensor<3>| {
        let count = images.dims()[1];
        network.features(&outer.constant(), &network.prepare(images), count).primal
    };
    let [support, query] = [(6, 1), (6, 2)].map(|(count, seed)| features(normal([2, count, 6], seed)));
    let distances = |query: Tensor<3>| {
        let classes = (0..3).map(|class| {
            let mean = support.clone().narrow(1, 2 * class, 2).mean_dim(1);
            (query.clone() - mean).square().sum_dim(2)
        });
        Tensor::cat(classes.collect(), 2)
    };
    let expected = burn::tensor::activation::log_softmax(-distances(query), 2);
    let found = burn::tensor::activation::log_softmax(logits, 2);
    let error = relative_error(&values(&Params::new(vec![found])), &values(&Params::new(vec![expected])));
    assert!(error < 1e-12, "{error:e}");

    // Its gradient, without any inner step.
    let gradient = estimate(&problem, &theta, &Draw::truncated(2, 0, 0), Memory::Store);
    let slope = differences(&problem, &theta, 0);
    assert!(relative_error(&values(&gradient.gradient.mean()), &slope) < 1e-6);
    // The prototypes cost a pass over the support images, and their gradient is counted.
    assert_eq!((gradient.evaluations.inner, gradient.evaluations.outer), (2, 2));
}

#[test]
fn heads_that_do_not_depend_on_the_classes_fit_any_number_of_them() {
    for head in [Head::Shared, Head::Prototype] {
        let adaptation = Adaptation { head, ..Adaptation::maml(0.3) };
        let network: Arc<dyn Architecture> = Arc::new(Mlp::new(&[5, 4]).build(6, 3).unwrap());
        let theta = theta(&*network, &adaptation);
        for ways in [2, 3, 7] {
            let (problem, _) = few_shot(network.clone(), [2, ways, 2, 2, 6], 0.3, BatchNorm::Support);
            let problem = problem.adapting(&adaptation);
            exact_gradient_matches_differences(&problem, &theta, STEPS);
            let outer = theta.repeat(2);
            let logits = problem.query_logits(0, &outer, &problem.start(&outer));
            assert_eq!(logits.dims(), [2, 2 * ways, ways]);
        }
    }
}

#[test]
fn more_steps_than_trained_use_the_last_rates_and_norms() {
    let rates = InnerRates::Learned { start: 0.3, each: RateEach::TensorAndStep { steps: 2 } };
    let rows = Some(2);
    let two = Adaptation { adapts: Adapts::AllButNorm, rates, norm_steps: rows, ..Adaptation::maml(0.3) };
    let (problem, theta) = adapting(&two, BatchNorm::Transductive);
    let rates = InnerRates::Learned { start: 0.3, each: RateEach::TensorAndStep { steps: 5 } };
    let five = Adaptation { rates, norm_steps: Some(5), ..two };
    let (longer, _) = adapting(&five, BatchNorm::Transductive);
    // The same θ with its last column and row repeated.
    let shapes = five.leaves(&Mlp::new(&[5, 4]).build(6, 3).unwrap());
    let extended = theta.leaves().iter().zip(&shapes).map(|(leaf, shape)| {
        let repeated = |dim: usize| {
            let last = leaf.clone().narrow(dim, 1, 1);
            Tensor::cat(vec![leaf.clone(), last.clone(), last.clone(), last], dim)
        };
        match shape.layout {
            Layout::Rows { .. } => repeated(1),
            _ if shape.name.starts_with("rate.") => repeated(2),
            _ => leaf.clone(),
        }
    });
    let extended = Params::new(extended.collect()).repeat(2);
    let outer = theta.repeat(2);
    let logits = |problem: &FewShot, outer: &Params| {
        let (fast, _) = adapt(problem, outer, 5);
        values(&Params::new(vec![problem.query_logits(5, outer, &fast)]))
    };
    assert_eq!(logits(&problem, &outer), logits(&longer, &extended));
}

#[test]
fn parameters_have_names_and_layouts() {
    let network = Mlp::new(&[5]).build(6, 3).unwrap();
    let leaves = adaptation(Adapts::Head, LEARNED).leaves(&network);
    let names: Vec<&str> = leaves.iter().map(|leaf| leaf.name.as_str()).collect();
    let expected = [
        "theta.linear1.weight",
        "theta.bn1.weight",
        "theta.bn1.bias",
        "theta.linear.weight",
        "theta.linear.bias",
        "rate.linear.weight",
        "rate.linear.bias",
    ];
    assert_eq!(names, expected);
    assert_eq!(leaves[5].layout, network.leaves()[3].layout);
    assert_eq!((leaves[5].mean, leaves[5].deviation), (0.3, 0.0));
}
