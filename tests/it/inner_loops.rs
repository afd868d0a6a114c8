//! Inner loops other than MAML's: learned rates, adaptation of the head alone, rates for each weight, a proximal term.
//! Their exact gradients against central differences, in float64.

use crate::common::problems::{differences, exact_gradient_matches_differences, few_shot, normal, values};
use crate::common::relative_error;
use bilevel::hypergradient::{Draw, Memory, adapt, estimate};
use bilevel::{Bilevel, Params, Proximal, Rates};
use metaburn::model::{Architecture, Conv4, Mlp};
use metaburn::task::{Adaptation, FewShot, InnerRates};
use metaburn::task::{Adapts, BatchNorm};
use std::sync::Arc;

const LEARNED: InnerRates = InnerRates::Learned { start: 0.3 };
const STEPS: usize = 3;

/// Values about 0.3 in the shapes of `leaves`.
fn rates(leaves: &Params) -> Params {
    let mut seed = 50;
    leaves.clone().map(|leaf| {
        seed += 1;
        normal(leaf.dims(), seed) * 0.05 + 0.3
    })
}

/// Two tasks with this adaptation, and θ: the weights, then, if rates are learned, rates about 0.3.
fn adapting(adapts: Adapts, inner_rates: InnerRates, batch_norm: BatchNorm) -> (FewShot, Params) {
    let network = Arc::new(Mlp::new(&[5, 4]).build(6, 3).unwrap());
    let (plain, weights) = few_shot(network.clone(), [2, 3, 2, 2, 6], 0.3, batch_norm);
    let adaptation = Adaptation { adapts, rates: inner_rates };
    let learned = matches!(adaptation.rates, InnerRates::Learned { .. });
    let shared = adaptation.shared_leaves(&*network);
    let mut leaves = weights.leaves().to_vec();
    if learned {
        leaves.extend(rates(&weights.part(shared..leaves.len())).into_leaves());
    }
    let shapes = adaptation.leaves(&*network);
    assert_eq!(leaves.len(), shapes.len());
    (plain.adapting(adaptation), Params::new(leaves))
}

fn fixed(rate: f64) -> InnerRates {
    InnerRates::Fixed(Rates::Scalar(rate))
}

#[test]
fn learned_rates_have_an_exact_gradient() {
    let (problem, theta) = adapting(Adapts::All, LEARNED, BatchNorm::Transductive);
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
    let (plain, weights) = few_shot(network.clone(), [2, 3, 2, 2, 49], 0.3, BatchNorm::Support);
    let problem = plain.adapting(Adaptation { adapts: Adapts::All, rates: LEARNED });
    let theta = [weights.leaves(), rates(&weights).leaves()].concat();
    exact_gradient_matches_differences(&problem, &Params::new(theta), STEPS);
}

#[test]
fn with_a_head_that_adapts_alone_the_gradient_of_the_body_is_exact() {
    for batch_norm in [BatchNorm::Transductive, BatchNorm::Support] {
        let (problem, theta) = adapting(Adapts::Head, fixed(0.5), batch_norm);
        exact_gradient_matches_differences(&problem, &theta, STEPS);

        let outer = theta.repeat(2);
        let (fast, _) = adapt(&problem, &outer, STEPS);
        let shapes: Vec<_> = fast.leaves().iter().map(|leaf| leaf.dims()).collect();
        assert_eq!(shapes, [[2, 4, 3], [2, 1, 3]], "the linear layer's weight and bias");
        // Adapting the head changes the loss; the body is θ's.
        let before = problem.assess(&outer, &problem.start(&outer)).loss;
        assert!(
            values(&Params::new(vec![(before - problem.assess(&outer, &fast).loss).reshape([2, 1, 1])]))
                .iter()
                .all(|gain| gain.abs() > 1e-3)
        );
    }
}

#[test]
fn a_fixed_rate_for_each_weight_has_an_exact_gradient() {
    let (_, weights) = adapting(Adapts::All, fixed(0.3), BatchNorm::Transductive);
    let each = rates(&weights);
    let given = InnerRates::Fixed(Rates::Each(each.clone()));
    let (problem, theta) = adapting(Adapts::All, given, BatchNorm::Transductive);
    exact_gradient_matches_differences(&problem, &theta, STEPS);

    // Learned rates of the same values give the same gradient.
    let (learned, _) = adapting(Adapts::All, LEARNED, BatchNorm::Transductive);
    let both = Params::new([theta.leaves(), each.leaves()].concat());
    let draw = Draw::truncated(2, STEPS, STEPS);
    let fixed = values(&estimate(&problem, &theta, &draw, Memory::Store).gradient);
    let learned = values(&estimate(&learned, &both, &draw, Memory::Store).gradient.part(0..8));
    assert!(relative_error(&learned, &fixed) < 1e-12);
}

#[test]
fn a_proximal_term_keeps_the_gradient_exact() {
    let (problem, theta) = adapting(Adapts::All, fixed(0.3), BatchNorm::Transductive);
    exact_gradient_matches_differences(&Proximal { problem, strength: 0.7 }, &theta, STEPS);
}

#[test]
fn head_learned_rates_and_proximal_term_together() {
    for adapts in [Adapts::All, Adapts::Head] {
        let (problem, theta) = adapting(adapts, LEARNED, BatchNorm::Support);
        exact_gradient_matches_differences(&Proximal { problem, strength: 0.7 }, &theta, STEPS);
    }
}

#[test]
fn step_coins_with_all_of_them_average_to_the_exact_gradient() {
    // All outcomes of three fair coins, which are equally likely: their mean is the expectation.
    let (problem, theta) = adapting(Adapts::Head, LEARNED, BatchNorm::Transductive);
    let problem = Proximal { problem, strength: 0.7 };
    let exact = estimate(&problem, &theta, &Draw::truncated(2, STEPS, STEPS), Memory::Store).gradient.mean();
    let outcomes = (0..1 << STEPS).map(|outcome| {
        let mut draw = Draw::truncated(2, STEPS, STEPS);
        for (step, task) in (1..=STEPS).flat_map(|step| [(step, 0), (step, 1)]) {
            draw.set_factor(step, task, if outcome >> (step - 1) & 1 == 1 { 2.0 } else { 0.0 });
        }
        estimate(&problem, &theta, &draw, Memory::Store).gradient.mean()
    });
    let outcomes: Vec<Params> = outcomes.collect();
    assert!(outcomes.iter().all(|outcome| relative_error(&values(outcome), &values(&exact)) > 1e-3));
    let error = relative_error(&values(&Params::cat(outcomes).mean()), &values(&exact));
    assert!(error < 1e-12, "the mean is off by {error:e}");
}

#[test]
fn parameters_have_names_and_layouts() {
    let network = Mlp::new(&[5]).build(6, 3).unwrap();
    let adaptation = Adaptation { adapts: Adapts::Head, rates: LEARNED };
    let leaves = adaptation.leaves(&network);
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
