//! Memory plans: all give the same bits, keep no more iterates than they promise, and recompute what they report.

use super::problems::{FewShotLike, Sizes, WeightedRegression, normal};
use bilevel::hypergradient::{Draw, Estimate, LossWeights, Memory, Workers, adapt, estimate};
use bilevel::rng::generator;
use bilevel::{Bilevel, Dual, Params, Rates};
use burn::tensor::{DType, Tensor};
use rand::RngExt;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

const PLANS: [Memory; 6] = [
    Memory::Recompute,
    Memory::Snapshots(1),
    Memory::Snapshots(2),
    Memory::Snapshots(3),
    Memory::Snapshots(5),
    Memory::Snapshots(100),
];

/// The bits of all values.
fn bits<const D: usize>(tensor: &Tensor<D>) -> Vec<u64> {
    tensor.clone().into_data().iter::<f64>().map(f64::to_bits).collect()
}

fn stack_bits(stack: &Params) -> Vec<Vec<u64>> {
    stack.leaves().iter().map(bits).collect()
}

/// The bits of everything in an estimate except costs.
type EstimateBits = (Vec<Vec<u64>>, Vec<u64>, Option<Vec<u64>>, Vec<LandmarkBits>, Vec<IncrementBits>);
type LandmarkBits = (usize, Vec<usize>, Vec<Vec<u64>>);
type IncrementBits = (usize, Vec<usize>, Vec<u64>, Option<Vec<u64>>, Vec<u64>);

fn estimate_bits(estimate: &Estimate) -> EstimateBits {
    let partial_gradients = estimate.partial_gradients.iter();
    let increments = estimate.increments.iter();
    (
        stack_bits(&estimate.gradient),
        bits(&estimate.outer_loss),
        estimate.outer_slope.as_ref().map(bits),
        partial_gradients.map(|l| (l.depth, l.tasks.clone(), stack_bits(&l.gradient))).collect(),
        increments
            .map(|i| {
                let direct = i.direct.as_ref().map(bits);
                (i.step, i.tasks.clone(), bits(&i.squared_norm), direct, bits(&i.curvature))
            })
            .collect(),
    )
}

/// Observed draws of all kinds for `tasks` tasks and `steps` inner steps.
fn draws(tasks: usize, steps: usize) -> Vec<(String, Draw)> {
    let mut draws: Vec<(String, Draw)> = (0..=steps)
        .map(|depth| (format!("truncated to {depth}"), Draw::truncated(tasks, steps, depth)))
        .collect();
    for exact in 0..tasks {
        // UFOM: one task is exact, the others are truncated after one step.
        let mut draw = Draw::truncated(tasks, steps, 1);
        draw.add(exact, 1, -4.0);
        draw.add(exact, steps, 4.0);
        draws.push((format!("only task {exact} exact"), draw));
    }
    for seed in 0..20 {
        let mut coins = generator(seed, "coin", 0);
        let mut draw = Draw::truncated(tasks, steps, steps);
        for step in 1..=steps {
            for task in 0..tasks {
                let factor = if coins.random::<f64>() < 0.4 { 2.5 } else { 0.0 };
                draw.set_factor(step, task, factor);
            }
        }
        draws.push((format!("step coins {seed}"), draw));
    }
    let mut weights = vec![0.0; steps + 1];
    weights[steps] = 0.5;
    weights[steps / 2] = 0.3;
    weights[steps / 3] += 0.2;
    let along = |(name, draw): &(String, Draw)| {
        (format!("{name}, losses along the way"), draw.clone().with_losses(LossWeights::new(weights.clone())))
    };
    let along: Vec<_> = draws.iter().step_by(3).map(along).collect();
    draws.into_iter().chain(along).map(|(name, draw)| (name, draw.observed())).collect()
}

/// Asserts that for every draw every plan gives the bits of `Memory::Store`, all tasks together and one by one.
fn assert_plans_agree<P: Bilevel>(problem: &P, theta: &Params, steps: usize) {
    let tasks = problem.tasks();
    for (name, draw) in draws(tasks, steps) {
        for chunk in [1, tasks] {
            let within = |memory| Workers { threads: 1, chunk }.estimate(problem, theta, &draw, memory);
            let stored = within(Memory::Store);
            assert_eq!(stored.evaluations.recomputed, 0, "{name}");
            for memory in PLANS {
                let other = within(memory);
                assert!(estimate_bits(&other) == estimate_bits(&stored), "{name}, {memory:?}, chunk {chunk}");
                assert!(other.iterate_bytes <= stored.iterate_bytes, "{name}, {memory:?}, chunk {chunk}");
            }
        }
    }
}

/// A convolutional network of two blocks, three tasks.
fn convolutional() -> (FewShotLike, Params) {
    let sizes = Sizes { tasks: 3, ways: 3, shots: 1, queries: 2, pixels: 8 };
    FewShotLike::convolutional(sizes, 2, 3, 0.3)
}

#[test]
fn every_plan_gives_the_same_bits_for_a_network_in_float64() {
    let (problem, theta) = convolutional();
    assert_plans_agree(&problem, &theta, 6);
}

#[test]
fn every_plan_gives_the_same_bits_for_a_network_in_float32() {
    let (problem, theta) = FewShotLike::in_float32(convolutional());
    assert_eq!(theta.leaves()[0].dtype(), DType::F32);
    assert_plans_agree(&problem, &theta, 6);
}

#[test]
fn every_plan_gives_the_same_bits_if_theta_enters_everywhere() {
    let (problem, theta) = WeightedRegression::new(3);
    assert_plans_agree(&problem, &theta, 7);
}

/// Inner loss ½(φ − θ)² with one number a task: a cheap problem that counts the evaluations of each task's inner loss,
/// without and with a tangent.
#[derive(Clone)]
struct Counted {
    tasks: Vec<usize>,
    counts: Arc<Mutex<Counts>>,
}

/// By task: plain evaluations, and those with a tangent.
type Counts = BTreeMap<usize, [u64; 2]>;

impl Counted {
    fn new(tasks: usize) -> (Self, Params) {
        let theta = Params::new(vec![normal([1, 1, 1], 1)]);
        (Self { tasks: (0..tasks).collect(), counts: Arc::default() }, theta)
    }

    /// The counts so far; resets them.
    fn take(&self) -> Counts {
        std::mem::take(&mut *self.counts.lock().unwrap())
    }
}

impl Bilevel for Counted {
    fn tasks(&self) -> usize {
        self.tasks.len()
    }

    fn start(&self, outer: &Params) -> Params {
        outer.clone().map(|leaf| leaf.mul_scalar(2.0))
    }

    fn inner_rates(&self, _step: usize, _outer: &Params) -> Rates {
        Rates::Scalar(0.01)
    }

    fn inner_loss(&self, _step: usize, outer: &[Dual<3>], fast: &[Dual<3>]) -> Dual<1> {
        let kind = usize::from(fast[0].tangent.is_some());
        let mut counts = self.counts.lock().unwrap();
        self.tasks.iter().for_each(|task| counts.entry(*task).or_default()[kind] += 1);
        let gap = fast[0].clone() - outer[0].clone();
        (gap.clone() * gap).scale(0.5).reshape([self.tasks.len()])
    }

    fn outer_loss(&self, _step: usize, _outer: &Params, fast: &Params) -> Tensor<1> {
        fast.clone().squared_norm()
    }

    fn select(&self, tasks: &[usize]) -> Self {
        Self { tasks: tasks.iter().map(|task| self.tasks[*task]).collect(), ..self.clone() }
    }
}

#[test]
fn the_reported_cost_is_the_number_of_evaluations() {
    let (problem, theta) = Counted::new(3);
    for steps in [1, 2, 5, 9] {
        for (name, draw) in draws(3, steps) {
            for memory in PLANS.into_iter().chain([Memory::Store]) {
                for chunk in [1, 3] {
                    let workers = Workers { threads: 2, chunk };
                    let cost = workers.estimate(&problem, &theta, &draw, memory).evaluations;
                    let counts = problem.take();
                    let made = |kind: usize| counts.values().map(|count| count[kind]).sum::<u64>();
                    assert_eq!(made(0), cost.inner + cost.recomputed, "{name}, {memory:?}, chunk {chunk}");
                    assert_eq!(made(1), cost.products, "{name}, {memory:?}, chunk {chunk}");
                }
            }
        }
    }
}

#[test]
fn tasks_that_need_no_iterate_are_not_recomputed() {
    let (problem, theta) = Counted::new(3);
    let mut draw = Draw::truncated(3, 10, 0);
    draw.add(1, 10, 5.0);
    estimate(&problem, &theta, &draw, Memory::Recompute);
    let counts = problem.take();
    assert_eq!([0, 1, 2].map(|task| counts[&task]), [[10, 0], [10 + 45, 10], [10, 0]]);
}

#[test]
fn exact_draws_recompute_the_minimum_within_their_slots() {
    let (problem, theta) = Counted::new(2);
    let one = theta.bytes();
    for steps in 1..=30 {
        let draw = Draw::truncated(2, steps, steps);
        let within = |memory| estimate(&problem, &theta, &draw, memory);
        let stored = within(Memory::Store);
        assert_eq!((stored.evaluations.recomputed, stored.iterate_bytes), (0, 2 * one * steps as u64));
        let triangle = (steps * (steps - 1) / 2) as u64;
        assert_eq!(within(Memory::Recompute).evaluations.recomputed, 2 * triangle);
        for slots in [1, 2, 3, 4, 6, 10, 29, 30, 31] {
            let memory = Memory::Snapshots(slots);
            let estimate = within(memory);
            assert_eq!(estimate.evaluations.recomputed, 2 * memory.recomputed(steps), "{slots} of {steps}");
            assert_eq!(estimate.iterate_bytes, 2 * one * slots.min(steps) as u64, "{slots} of {steps}");
            assert_eq!(estimate.evaluations.recomputed == 0, slots >= steps, "{slots} of {steps}");
        }
    }
}

#[test]
fn a_thousand_steps_with_32_snapshots() {
    let (problem, theta) = Counted::new(1);
    let draw = Draw::truncated(1, 1000, 1000);
    let (memory, stored) = (Memory::square_root(1000), estimate(&problem, &theta, &draw, Memory::Store));
    assert_eq!(memory, Memory::Snapshots(32));
    let estimate = estimate(&problem, &theta, &draw, memory);
    assert_eq!(estimate_bits(&estimate), estimate_bits(&stored));
    assert_eq!(estimate.iterate_bytes, 32 * theta.bytes());
    assert_eq!(estimate.evaluations.recomputed, memory.recomputed(1000));
    // By hand: dφ_r/dθ = 1 + (1 − 0.01)^r, and the outer loss is φ_r².
    let fast = adapt(&problem, &theta, 1000).0.leaves()[0].clone().into_scalar::<f64>();
    let slope = 2.0 * fast * (1.0 + 0.99_f64.powi(1000));
    let gradient = estimate.gradient.leaves()[0].clone().into_scalar::<f64>();
    assert!((gradient / slope - 1.0).abs() < 1e-12, "{gradient} is not {slope}");
}

#[test]
fn counts_of_the_longest_loops_do_not_overflow() {
    for steps in 1..2000 {
        let again = Memory::square_root(steps).recomputed(steps);
        assert!(again < 2 * steps as u64, "{steps} steps recompute {again}");
    }
    let most = 1_000_000;
    assert_eq!(Memory::Recompute.recomputed(most), (most * (most - 1) / 2) as u64);
    assert_eq!(Memory::Store.recomputed(most), 0);
    assert_eq!(Memory::Snapshots(usize::MAX).recomputed(most), 0);
    assert!(Memory::square_root(most).recomputed(most) < 2 * most as u64);
}
