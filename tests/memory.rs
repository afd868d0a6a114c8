//! Memory plans: every one gives the same bits, keeps no more than it says and recomputes what it says.

mod common;

use burn::tensor::{DType, Device, Tensor};
use common::problems::{Weighted, few_shot};
use common::{IMAGES, TINY, checkpoint, folder_with_images, lines, run};
use metaburn::archive::Archive;
use metaburn::config::BatchNorm;
use metaburn::dual::Dual;
use metaburn::hypergradient::{Draw, Estimate, Memory, Workers, adapt, estimate, estimate_within};
use metaburn::model::{Architecture, Conv4Config, initialise};
use metaburn::problem::{Batch, Bilevel, FewShot, Rates};
use metaburn::random::generator;
use metaburn::stack::Stack;
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

/// The bits of every value.
fn bits<const D: usize>(tensor: &Tensor<D>) -> Vec<u64> {
    tensor.clone().into_data().iter::<f64>().map(f64::to_bits).collect()
}

fn stack_bits(stack: &Stack) -> Vec<Vec<u64>> {
    stack.leaves().iter().map(bits).collect()
}

/// Everything that an estimate says of the gradient, to be compared bit for bit.
type Said = (Vec<Vec<u64>>, Vec<u64>, Option<Vec<u64>>, Vec<SaidLandmark>, Vec<SaidIncrement>);
type SaidLandmark = (usize, Vec<usize>, Vec<Vec<u64>>);
type SaidIncrement = (usize, Vec<usize>, Vec<u64>, Option<Vec<u64>>, Vec<u64>);

fn said(estimate: &Estimate) -> Said {
    let landmarks = estimate.landmarks.iter();
    let increments = estimate.increments.iter();
    (
        stack_bits(&estimate.gradient),
        bits(&estimate.outer_loss),
        estimate.outer_slope.as_ref().map(bits),
        landmarks.map(|l| (l.depth, l.tasks.clone(), stack_bits(&l.gradient))).collect(),
        increments
            .map(|i| {
                let direct = i.direct.as_ref().map(bits);
                (i.step, i.tasks.clone(), bits(&i.squared_norm), direct, bits(&i.curvature))
            })
            .collect(),
    )
}

/// Draws of every kind for `tasks` tasks and `steps` inner steps, all of them observed.
fn draws(tasks: usize, steps: usize) -> Vec<(String, Draw)> {
    let mut draws: Vec<(String, Draw)> = (0..=steps)
        .map(|depth| (format!("truncated to {depth}"), Draw::truncated(tasks, steps, depth)))
        .collect();
    for exact in 0..tasks {
        // UFOM: one task is exact, the others stop after a step.
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
    draws.into_iter().map(|(name, draw)| (name, draw.observed())).collect()
}

/// Every plan says of every draw what storing says, together and task by task.
fn every_plan_says_the_same<P: Bilevel>(problem: &P, theta: &Stack, steps: usize) {
    let tasks = problem.tasks();
    for (name, draw) in draws(tasks, steps) {
        for chunk in [1, tasks] {
            let within = |memory| Workers { threads: 1, chunk, memory }.estimate(problem, theta, &draw);
            let stored = within(Memory::Store);
            assert_eq!(stored.evaluations.recomputed, 0, "{name}");
            for memory in PLANS {
                let other = within(memory);
                assert!(said(&other) == said(&stored), "{name}, {memory:?}, chunk {chunk}");
                assert!(other.iterate_bytes <= stored.iterate_bytes, "{name}, {memory:?}, chunk {chunk}");
            }
        }
    }
}

/// A Conv4 of three tasks in `dtype`.
fn conv4(dtype: DType) -> (FewShot, Stack) {
    let network: Arc<dyn Architecture> = Arc::new(Conv4Config::new(8, 2, 3, 3));
    if dtype == DType::F64 {
        return few_shot(network, [3, 3, 1, 2, 64], 0.3, BatchNorm::Transductive);
    }
    let batch = |count: usize, seed| {
        let labels: Vec<usize> = (0..9 * count).map(|image| image % (3 * count) / count).collect();
        let images = common::problems::normal([3, 3 * count, 64], seed).cast(dtype);
        Batch::new(&*network, images, &labels, 3)
    };
    let theta = initialise(&*network, 3, &Device::flex());
    (FewShot::new(network.clone(), batch(1, 1), batch(2, 2), 0.3, BatchNorm::Transductive), theta)
}

#[test]
fn every_plan_gives_conv4_the_same_bits_in_float64() {
    let (problem, theta) = conv4(DType::F64);
    every_plan_says_the_same(&problem, &theta, 6);
}

#[test]
fn every_plan_gives_conv4_the_same_bits_in_float32() {
    let (problem, theta) = conv4(DType::F32);
    assert_eq!(theta.leaves()[0].dtype(), DType::F32);
    every_plan_says_the_same(&problem, &theta, 6);
}

#[test]
fn every_plan_gives_the_same_bits_where_theta_is_everywhere() {
    let (problem, theta) = Weighted::new(3);
    every_plan_says_the_same(&problem, &theta, 7);
}

/// φ ← φ − ∇_φ ½‖φ − a‖² with a for θ, one number a task: a problem that costs next to nothing, and
/// counts the evaluations of each task's inner loss, without a tangent and with one.
#[derive(Clone)]
struct Counted {
    tasks: Vec<usize>,
    counts: Arc<Mutex<Counts>>,
}

/// By task: plain evaluations, and those with a tangent.
type Counts = BTreeMap<usize, [u64; 2]>;

impl Counted {
    fn new(tasks: usize) -> (Self, Stack) {
        let theta = Stack::new(vec![common::problems::normal([1, 1, 1], 1)]);
        (Self { tasks: (0..tasks).collect(), counts: Arc::default() }, theta)
    }

    /// The counts so far, begun anew.
    fn take(&self) -> Counts {
        std::mem::take(&mut *self.counts.lock().unwrap())
    }
}

impl Bilevel for Counted {
    fn tasks(&self) -> usize {
        self.tasks.len()
    }

    fn start(&self, outer: &Stack) -> Stack {
        outer.clone().map(|leaf| leaf.mul_scalar(2.0))
    }

    fn inner_rates(&self, _step: usize, _outer: &Stack) -> Rates {
        Rates::Scalar(0.01)
    }

    fn inner_loss(&self, outer: &[Dual<3>], fast: &[Dual<3>]) -> Dual<1> {
        let kind = usize::from(fast[0].tangent.is_some());
        let mut counts = self.counts.lock().unwrap();
        self.tasks.iter().for_each(|task| counts.entry(*task).or_default()[kind] += 1);
        let gap = fast[0].clone() - outer[0].clone();
        (gap.clone() * gap).scale(0.5).reshape([self.tasks.len()])
    }

    fn outer_loss(&self, _outer: &Stack, fast: &Stack) -> Tensor<1> {
        fast.clone().squared_norm()
    }

    fn select(&self, tasks: &[usize]) -> Self {
        Self { tasks: tasks.iter().map(|task| self.tasks[*task]).collect(), ..self.clone() }
    }
}

#[test]
fn what_is_reported_is_what_was_evaluated() {
    let (problem, theta) = Counted::new(3);
    for steps in [1, 2, 5, 9] {
        for (name, draw) in draws(3, steps) {
            for memory in PLANS.into_iter().chain([Memory::Store]) {
                for chunk in [1, 3] {
                    let workers = Workers { threads: 2, chunk, memory };
                    let cost = workers.estimate(&problem, &theta, &draw).evaluations;
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
fn a_task_that_needs_no_iterate_is_never_recomputed() {
    let (problem, theta) = Counted::new(3);
    let mut draw = Draw::truncated(3, 10, 0);
    draw.add(1, 10, 5.0);
    estimate_within(Memory::Recompute, &problem, &theta, &draw);
    let counts = problem.take();
    assert_eq!([0, 1, 2].map(|task| counts[&task]), [[10, 0], [10 + 45, 10], [10, 0]]);
}

#[test]
fn exact_draws_recompute_the_minimum_and_keep_no_more_than_their_slots() {
    let (problem, theta) = Counted::new(2);
    let one = theta.bytes();
    for steps in 1..=30 {
        let draw = Draw::truncated(2, steps, steps);
        let within = |memory| estimate_within(memory, &problem, &theta, &draw);
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
fn a_thousand_steps_with_the_square_root_s_snapshots() {
    let (problem, theta) = Counted::new(1);
    let draw = Draw::truncated(1, 1000, 1000);
    let (memory, stored) = (Memory::square_root(1000), estimate(&problem, &theta, &draw));
    assert_eq!(memory, Memory::Snapshots(32));
    let estimate = estimate_within(memory, &problem, &theta, &draw);
    assert_eq!(said(&estimate), said(&stored));
    assert_eq!(estimate.iterate_bytes, 32 * theta.bytes());
    assert_eq!(estimate.evaluations.recomputed, memory.recomputed(1000));
    // By hand: dφ_r/dθ = 1 + (1 − 0.01)^r, and φ_r's outer loss is φ_r².
    let fast = adapt(&problem, &theta, 1000).0.leaves()[0].clone().into_scalar::<f64>();
    let slope = 2.0 * fast * (1.0 + 0.99_f64.powi(1000));
    let gradient = estimate.gradient.leaves()[0].clone().into_scalar::<f64>();
    assert!((gradient / slope - 1.0).abs() < 1e-12, "{gradient} is not {slope}");
}

#[test]
fn the_longest_loops_do_not_overflow_the_count() {
    for steps in 1..2000 {
        let again = Memory::square_root(steps).recomputed(steps);
        assert!(again < 2 * steps as u64, "{steps} steps take {again} again");
    }
    let most = 1_000_000;
    assert_eq!(Memory::Recompute.recomputed(most), (most * (most - 1) / 2) as u64);
    assert_eq!(Memory::Store.recomputed(most), 0);
    assert_eq!(Memory::Snapshots(usize::MAX).recomputed(most), 0);
    assert!(Memory::square_root(most).recomputed(most) < 2 * most as u64);
}

#[test]
fn every_plan_trains_to_the_same_weights() {
    let folder = folder_with_images();
    let trained = |name: &str, plan: &str| {
        let line = format!(
            "train {IMAGES} {TINY} --steps 3 --set inner.steps=6 --set estimator.name=ufom \
             --set estimator.q=0.5 --run-dir {name} {plan}"
        );
        let stderr = run(folder.path(), &line).ok().stderr;
        let at = folder.path().join(name);
        let archive = Archive::read(&checkpoint(&at, 3)).unwrap();
        let records = lines(&at.join("metrics.jsonl"));
        let sum = |key: &str| records.iter().map(|record| record[key].as_u64().unwrap()).sum::<u64>();
        let spent = records.last().unwrap()["gradient_evaluations"].as_u64().unwrap();
        (archive.digest(), [sum("recomputed"), sum("products"), spent], stderr)
    };
    let (weights, [recomputed, products, spent], stderr) = trained("auto", "");
    assert!(stderr.contains("memory: every iterate that is needed is stored"), "{stderr}");
    assert_eq!((recomputed, spent), (0, 3 * 2 * (6 + 1) + products));
    assert!(products > 0, "no draw was exact");
    for (name, plan, line) in [
        ("store", "--set memory.plan=store", "every iterate"),
        ("snapshots", "--set memory.plan=snapshots", "up to 3 iterates"),
        ("two", "--set memory.plan=snapshots --set memory.snapshots=2", "up to 2 iterates"),
        ("recompute", "--set memory.plan=recompute", "one iterate"),
    ] {
        let (other, [recomputed, same, spent], stderr) = trained(name, plan);
        assert!(stderr.contains(&format!("memory: {line}")), "{name}: {stderr}");
        assert!(other == weights, "{name} ends elsewhere");
        assert_eq!((same, recomputed > 0), (products, name != "store"), "{name}");
        assert_eq!(spent, 3 * 2 * (6 + 1) + products + recomputed, "{name}");
    }
}

#[test]
fn auto_keeps_fewer_iterates_where_all_would_exceed_its_budget() {
    let folder = folder_with_images();
    let told = |name: &str, more: &str| {
        let line = format!(
            "train {IMAGES} {TINY} --steps 1 --set inner.steps=50 --set model.filters=16 --run-dir {name} {more}"
        );
        let stderr = run(folder.path(), &line).ok().stderr;
        let step = lines(&folder.path().join(name).join("metrics.jsonl")).remove(0);
        (stderr, ["recomputed", "iterate_bytes"].map(|key| step[key].as_u64().unwrap()))
    };
    let (stderr, [recomputed, stored]) = told("ample", "");
    assert!(stderr.contains("memory: every iterate that is needed is stored"), "{stderr}");
    assert!(recomputed == 0 && stored > 1 << 20, "{stored} bytes are too few for this test");
    let (stderr, [recomputed, kept]) = told("scarce", "--set memory.budget=1");
    assert!(stderr.contains("memory: up to 8 iterates of a task are kept"), "{stderr}");
    assert!(stderr.contains("a walk back through 50 inner steps takes 48 again"), "{stderr}");
    assert_eq!((recomputed, 50 * kept), (2 * Memory::Snapshots(8).recomputed(50), 8 * stored));
    let (stderr, costs) = told("first-order", "--set memory.budget=1 --set estimator.name=first-order");
    assert!(stderr.contains("memory: no inner step is walked back"), "{stderr}");
    assert_eq!(costs, [0, 0]);
}
