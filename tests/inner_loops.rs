//! Inner loops other than MAML's: their exact gradients against central differences, in float64.

mod common;

use common::problems::{Weighted, differences, exact_is_the_slope, few_shot, normal, values};
use common::relative;
use metaburn::config::{Adapts, BatchNorm};
use metaburn::hypergradient::{Draw, adapt, estimate};
use metaburn::model::{Architecture, Conv4Config, MlpConfig};
use metaburn::problem::{Adaptation, Bilevel, FewShot, InnerRates, Proximal, Rates};
use metaburn::stack::Stack;
use std::sync::Arc;

const LEARNED: InnerRates = InnerRates::Learned { start: 0.3 };
const STEPS: usize = 3;

/// Values about 0.3 in the shapes of `leaves`.
fn rates(leaves: &Stack) -> Stack {
    let mut seed = 50;
    leaves.clone().map(|leaf| {
        seed += 1;
        normal(leaf.dims(), seed) * 0.05 + 0.3
    })
}

/// Two tasks that adapt so, and θ: weights and, where they are learned, rates about 0.3.
fn adapting(adapts: Adapts, inner_rates: InnerRates, batch_norm: BatchNorm) -> (FewShot, Stack) {
    let network = Arc::new(MlpConfig::new(6, &[5, 4], 3));
    let (plain, weights) = few_shot(network.clone(), [2, 3, 2, 2, 6], 0.3, batch_norm);
    let adaptation = Adaptation { adapts, rates: inner_rates };
    let learned = matches!(adaptation.rates, InnerRates::Learned { .. });
    let still = adaptation.still(&*network);
    let mut leaves = weights.leaves().to_vec();
    if learned {
        leaves.extend(rates(&weights.part(still..leaves.len())).into_leaves());
    }
    let shapes = adaptation.leaves(&*network);
    assert_eq!(leaves.len(), shapes.len());
    (plain.adapting(adaptation), Stack::new(leaves))
}

fn fixed(rate: f64) -> InnerRates {
    InnerRates::Fixed(Rates::Scalar(rate))
}

#[test]
fn learned_rates_have_an_exact_gradient_of_their_own() {
    let (problem, theta) = adapting(Adapts::All, LEARNED, BatchNorm::Transductive);
    exact_is_the_slope(&problem, &theta, STEPS);
    // The rates' part alone, which the weights' might outweigh.
    let part = |depth| {
        let gradient = estimate(&problem, &theta, &Draw::truncated(2, STEPS, depth)).gradient.mean();
        values(&gradient.part(8..16))
    };
    let slopes = differences(&problem, &theta, STEPS);
    let rates = slopes.len() / 2;
    let error = relative(&part(STEPS), &slopes[rates..]);
    assert!(error < 1e-6, "the gradient in the rates is off by {error:e}");
    assert!(part(0).iter().all(|slope| *slope == 0.0), "first-order has none");
}

#[test]
fn a_convolutional_network_learns_its_rates_too() {
    let network = Arc::new(Conv4Config::new(7, 2, 3, 3));
    let (plain, weights) = few_shot(network.clone(), [2, 3, 2, 2, 49], 0.3, BatchNorm::Support);
    let problem = plain.adapting(Adaptation { adapts: Adapts::All, rates: LEARNED });
    let theta = [weights.leaves(), rates(&weights).leaves()].concat();
    exact_is_the_slope(&problem, &Stack::new(theta), STEPS);
}

#[test]
fn a_head_adapts_alone_and_the_body_beneath_it_is_learned() {
    for batch_norm in [BatchNorm::Transductive, BatchNorm::Support] {
        let (problem, theta) = adapting(Adapts::Head, fixed(0.5), batch_norm);
        exact_is_the_slope(&problem, &theta, STEPS);

        let outer = theta.repeat(2);
        let (fast, _) = adapt(&problem, &outer, STEPS);
        let shapes: Vec<_> = fast.leaves().iter().map(|leaf| leaf.dims()).collect();
        assert_eq!(shapes, [[2, 4, 3], [2, 1, 3]], "the linear layer's weight and bias");
        // One more step moves the head and the loss with it; the body is θ's.
        let before = problem.assess(&outer, &problem.start(&outer)).loss;
        assert!(
            values(&Stack::new(vec![(before - problem.assess(&outer, &fast).loss).reshape([2, 1, 1])]))
                .iter()
                .all(|gain| gain.abs() > 1e-3)
        );
    }
}

#[test]
fn every_weight_may_have_a_fixed_rate_of_its_own() {
    let (_, weights) = adapting(Adapts::All, fixed(0.3), BatchNorm::Transductive);
    let each = rates(&weights);
    let given = InnerRates::Fixed(Rates::Each(each.clone()));
    let (problem, theta) = adapting(Adapts::All, given, BatchNorm::Transductive);
    exact_is_the_slope(&problem, &theta, STEPS);

    // Learned rates of those values walk the same way.
    let (learned, _) = adapting(Adapts::All, LEARNED, BatchNorm::Transductive);
    let both = Stack::new([theta.leaves(), each.leaves()].concat());
    let draw = Draw::truncated(2, STEPS, STEPS);
    let fixed = values(&estimate(&problem, &theta, &draw).gradient);
    let learned = values(&estimate(&learned, &both, &draw).gradient.part(0..8));
    assert!(relative(&learned, &fixed) < 1e-12);
}

#[test]
fn a_proximal_term_on_either_kind_of_problem() {
    let (problem, theta) = adapting(Adapts::All, fixed(0.3), BatchNorm::Transductive);
    exact_is_the_slope(&Proximal { problem, strength: 0.7 }, &theta, STEPS);
    // V(θ) = tanh θ₂ here, so that the term reaches θ through V.
    let (problem, theta) = Weighted::new(2);
    exact_is_the_slope(&Proximal { problem, strength: 0.7 }, &theta, 5);
}

#[test]
fn no_proximal_strength_is_no_proximal_term() {
    let (problem, theta) = Weighted::new(2);
    let draw = Draw::truncated(2, STEPS, STEPS);
    let of = |strength| {
        let problem = Proximal { problem: problem.clone(), strength };
        values(&estimate(&problem, &theta, &draw).gradient)
    };
    let plain = values(&estimate(&problem, &theta, &draw).gradient);
    assert_eq!(of(0.0), plain);
    assert!(relative(&of(0.1), &plain) > 1e-3);
}

#[test]
fn all_of_them_together() {
    for adapts in [Adapts::All, Adapts::Head] {
        let (problem, theta) = adapting(adapts, LEARNED, BatchNorm::Support);
        exact_is_the_slope(&Proximal { problem, strength: 0.7 }, &theta, STEPS);
    }
}

#[test]
fn step_coins_on_all_of_them_are_unbiased_to_rounding() {
    // Every outcome of three fair coins, each as likely: their mean is the expectation.
    let (problem, theta) = adapting(Adapts::Head, LEARNED, BatchNorm::Transductive);
    let problem = Proximal { problem, strength: 0.7 };
    let exact = estimate(&problem, &theta, &Draw::truncated(2, STEPS, STEPS)).gradient.mean();
    let outcomes = (0..1 << STEPS).map(|outcome| {
        let mut draw = Draw::truncated(2, STEPS, STEPS);
        for (step, task) in (1..=STEPS).flat_map(|step| [(step, 0), (step, 1)]) {
            draw.set_factor(step, task, if outcome >> (step - 1) & 1 == 1 { 2.0 } else { 0.0 });
        }
        estimate(&problem, &theta, &draw).gradient.mean()
    });
    let outcomes: Vec<Stack> = outcomes.collect();
    assert!(outcomes.iter().all(|outcome| relative(&values(outcome), &values(&exact)) > 1e-3));
    let error = relative(&values(&Stack::cat(outcomes).mean()), &values(&exact));
    assert!(error < 1e-12, "the mean is off by {error:e}");
}

#[test]
fn parameters_are_named_for_what_they_are() {
    let network = MlpConfig::new(6, &[5], 3);
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
