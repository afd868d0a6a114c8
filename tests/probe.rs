//! The curvature probe, and the floor that it puts under adaptive step coins.

mod common;

use burn::tensor::{DType, Device, Tensor, TensorData};
use common::problems::{few_shot, values};
use metaburn::config::{BatchNorm, Coin, CostUnit, Tuning};
use metaburn::dual::Dual;
use metaburn::estimator::{AdaptiveStepCoins, Estimator, PROBE_EVERY};
use metaburn::hypergradient::{Draw, Workers, estimate};
use metaburn::model::MlpConfig;
use metaburn::problem::{Bilevel, Rates};
use metaburn::random::generator;
use metaburn::stack::Stack;
use std::sync::Arc;

const RATE: f64 = 0.1;

/// Inner losses ½ Σ d_i φ_i² with the curvatures d of each task, `[tasks, 3, 1]`; outer losses Σ s_i φ_i with
/// slopes s, the same for all.
struct Bowls {
    curvatures: Tensor<3>,
    slopes: Tensor<3>,
}

impl Bowls {
    fn new(curvatures: &[[f64; 3]], slopes: [f64; 3]) -> (Self, Stack) {
        let tensor = |values: Vec<f64>, tasks: usize| -> Tensor<3> {
            Tensor::from_data(TensorData::new(values, [tasks, 3, 1]), (&Device::flex(), DType::F64))
        };
        let curvatures = tensor(curvatures.concat(), curvatures.len());
        let problem = Self { curvatures, slopes: tensor(slopes.to_vec(), 1) };
        (problem, Stack::new(vec![tensor(vec![1.0; 3], 1)]))
    }
}

impl Bilevel for Bowls {
    fn tasks(&self) -> usize {
        self.curvatures.dims()[0]
    }

    fn inner_rates(&self, _step: usize, _outer: &Stack) -> Rates {
        Rates::Scalar(RATE)
    }

    fn inner_loss(&self, _outer: &[Dual<3>], fast: &[Dual<3>]) -> Dual<1> {
        let squares = fast[0].clone() * fast[0].clone();
        (Dual::constant(self.curvatures.clone()) * squares).sum_dim(1).scale(0.5).reshape([self.tasks()])
    }

    fn outer_loss(&self, _outer: &Stack, fast: &Stack) -> Tensor<1> {
        (fast.leaves()[0].clone() * self.slopes.clone()).sum_dim(1).reshape([self.tasks()])
    }

    fn select(&self, tasks: &[usize]) -> Self {
        let tasks = metaburn::stack::task_indices(tasks, &Device::flex());
        Self { curvatures: self.curvatures.clone().select(0, tasks), slopes: self.slopes.clone() }
    }
}

#[test]
fn it_finds_inner_rate_times_the_largest_curvature_of_its_task() {
    let (problem, theta) = Bowls::new(&[[1.0, 2.0, 3.0], [0.5, 1.0, 8.0], [1.0, 1.0, 1.0]], [1.0; 3]);
    for (task, largest) in [(0, 3.0), (1, 8.0), (2, 1.0)] {
        let mut draw = Draw::truncated(3, 4, 4);
        draw.probe(2, task);
        for workers in [Workers::TOGETHER, Workers::on_cpu(2)] {
            let probed = workers.estimate(&problem, &theta, &draw);
            let [probe] = &probed.probes[..] else { panic!("one was asked for: {:?}", probed.probes) };
            assert_eq!(probe.step, 2);
            let steepest = probe.steepest.clone().into_scalar::<f64>();
            // Six iterations leave (2/3)^12 of the squared rest at most.
            let error = steepest / (RATE * largest) - 1.0;
            assert!((-0.01..1e-12).contains(&error), "task {task}: {steepest} instead of {}", RATE * largest);
            assert_eq!(probed.evaluations.products, 12 + 6);
        }
    }
    assert!(estimate(&problem, &theta, &Draw::truncated(3, 4, 4)).probes.is_empty());
}

#[test]
fn it_changes_no_gradient() {
    let network = Arc::new(MlpConfig::new(6, &[5], 3));
    let (problem, theta) = few_shot(network, [2, 3, 2, 2, 6], 0.3, BatchNorm::Transductive);
    let mut draw = Draw::truncated(2, 3, 3).observed();
    let plain = estimate(&problem, &theta, &draw);
    draw.probe(1, 1);
    let probed = estimate(&problem, &theta, &draw);
    assert_eq!(values(&probed.gradient), values(&plain.gradient));
    // It is at least what the walk itself meets there.
    let first = plain.increments.iter().find(|increment| increment.step == 1).expect("every step was taken");
    let met: Vec<f64> = first.curvature.clone().into_data().iter().collect();
    assert!(probed.probes[0].steepest.clone().into_scalar::<f64>() >= met[1], "{met:?}");
}

#[test]
fn the_floor_follows_it_where_the_walk_sees_nothing() {
    // v lies along flat directions, but for a trace along a steep one: no product of the walk shows it.
    let (problem, theta) = Bowls::new(&[[0.01, 0.01, 6.0]], [1.0, 1.0, 1e-9]);
    let tuning = Tuning { exponent: 2.0, beta: 0.9, floor: 0.05, costs: CostUnit::Counted };
    let mut law = AdaptiveStepCoins::new(Coin::Task, tuning, 0.5);
    for step in 0..20 {
        let draw = law.draw(&mut generator(1, "coin", step), 1, 4);
        let probed: usize = (1..=4).map(|inner| draw.probed(inner).len()).sum();
        assert!(probed == if step == 0 { 4 } else { probed.min(usize::from(step % PROBE_EVERY == 0)) });
        law.observe(&draw, &estimate(&problem, &theta, &draw), 1.0);
    }
    let floor = 0.5 * RATE * 6.0;
    let p = law.probabilities(1, 4);
    let seen = law.report(1, 4)["step_curvatures"][0].as_f64().unwrap();
    assert!(seen < 0.01 * RATE * 6.0, "the walk should not have met the steep direction, but saw {seen}");
    assert!(p.iter().all(|p| *p >= 0.99 * floor), "{p:?} should be at least {floor}");
}
