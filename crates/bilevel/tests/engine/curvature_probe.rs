//! The curvature probe, and the floor that it sets for adaptive step coins.

use super::problems::{FewShotLike, Sizes, values};
use bilevel::estimator::{AdaptiveStepCoins, Coin, CostUnit, Estimator, PROBE_EVERY, Tuning, learn};
use bilevel::hypergradient::{Draw, Memory, Workers, estimate};
use bilevel::rng::generator;
use bilevel::{Bilevel, Dual, Params, Rates};
use burn::tensor::{DType, Device, Tensor, TensorData};

const RATE: f64 = 0.1;

const TUNING: Tuning = Tuning { exponent: 2.0, beta: 0.9, floor: 0.05, costs: CostUnit::Counted };

/// Inner losses ½ Σ d_i φ_i² with curvatures d of each task, `[tasks, 3, 1]`; outer losses Σ s_i φ_i with slopes s, the
/// same for all tasks.
struct Bowls {
    curvatures: Tensor<3>,
    slopes: Tensor<3>,
}

impl Bowls {
    fn new(curvatures: &[[f64; 3]], slopes: [f64; 3]) -> (Self, Params) {
        let tensor = |values: Vec<f64>, tasks: usize| -> Tensor<3> {
            Tensor::from_data(TensorData::new(values, [tasks, 3, 1]), (&Device::flex(), DType::F64))
        };
        let curvatures = tensor(curvatures.concat(), curvatures.len());
        let problem = Self { curvatures, slopes: tensor(slopes.to_vec(), 1) };
        (problem, Params::new(vec![tensor(vec![1.0; 3], 1)]))
    }
}

impl Bilevel for Bowls {
    fn tasks(&self) -> usize {
        self.curvatures.dims()[0]
    }

    fn inner_rates(&self, _step: usize, _outer: &Params) -> Rates {
        Rates::Scalar(RATE)
    }

    fn inner_loss(&self, _step: usize, _outer: &[Dual<3>], fast: &[Dual<3>]) -> Dual<1> {
        let squares = fast[0].clone() * fast[0].clone();
        (Dual::constant(self.curvatures.clone()) * squares).sum_dim(1).scale(0.5).reshape([self.tasks()])
    }

    fn outer_loss(&self, _step: usize, _outer: &Params, fast: &Params) -> Tensor<1> {
        (fast.leaves()[0].clone() * self.slopes.clone()).sum_dim(1).reshape([self.tasks()])
    }

    fn select(&self, tasks: &[usize]) -> Self {
        let tasks = bilevel::task_indices(tasks, &Device::flex());
        Self { curvatures: self.curvatures.clone().select(0, tasks), slopes: self.slopes.clone() }
    }
}

#[test]
fn a_probe_finds_inner_rate_times_the_largest_curvature() {
    let (problem, theta) = Bowls::new(&[[1.0, 2.0, 3.0], [0.5, 1.0, 8.0], [1.0, 1.0, 1.0]], [1.0; 3]);
    for (task, largest) in [(0, 3.0), (1, 8.0), (2, 1.0)] {
        let mut draw = Draw::truncated(3, 4, 4);
        draw.probe(2, task);
        for workers in [Workers::TOGETHER, Workers::on_cpu(2)] {
            let probed = workers.estimate(&problem, &theta, &draw, Memory::Store);
            let [probe] = &probed.probes[..] else { panic!("one was asked for: {:?}", probed.probes) };
            assert_eq!(probe.step, 2);
            let steepest = probe.steepest.clone().into_scalar::<f64>();
            // Six iterations leave at most (2/3)^12 of the other squared components.
            let error = steepest / (RATE * largest) - 1.0;
            assert!((-0.01..1e-12).contains(&error), "task {task}: {steepest} instead of {}", RATE * largest);
            assert_eq!(probed.evaluations.products, 12 + 6);
        }
    }
    assert!(estimate(&problem, &theta, &Draw::truncated(3, 4, 4), Memory::Store).probes.is_empty());
}

#[test]
fn a_probe_does_not_change_the_gradient() {
    let sizes = Sizes { tasks: 2, ways: 3, shots: 2, queries: 2, pixels: 6 };
    let (problem, theta) = FewShotLike::perceptron(sizes, &[5], 0.3);
    let mut draw = Draw::truncated(2, 3, 3).observed();
    let plain = estimate(&problem, &theta, &draw, Memory::Store);
    draw.probe(1, 1);
    let probed = estimate(&problem, &theta, &draw, Memory::Store);
    assert_eq!(values(&probed.gradient), values(&plain.gradient));
    // It is at least the curvature that the backward pass meets there.
    let first = plain.increments.iter().find(|increment| increment.step == 1).expect("every step was taken");
    let met: Vec<f64> = first.curvature.clone().into_data().iter().collect();
    assert!(probed.probes[0].steepest.clone().into_scalar::<f64>() >= met[1], "{met:?}");
}

#[test]
fn adaptive_step_coins_take_their_floor_from_the_probe() {
    // v has almost no component along the steep direction, so that no product of the backward pass shows it.
    let (problem, theta) = Bowls::new(&[[0.01, 0.01, 6.0]], [1.0, 1.0, 1e-9]);
    let mut coins = AdaptiveStepCoins::new(Coin::Task, TUNING, 0.5);
    for step in 0..20 {
        let draw = coins.draw(&mut generator(1, "coin", step), 1, 4);
        let probed: usize = (1..=4).map(|inner| draw.probed(inner).len()).sum();
        assert_eq!(probed, if step == 0 { 4 } else { usize::from(step % PROBE_EVERY == 0) });
        learn(&mut coins, &draw, &estimate(&problem, &theta, &draw, Memory::Store), 1.0);
    }
    let floor = 0.5 * RATE * 6.0;
    let p = coins.probabilities(1, 4);
    let seen = coins.metrics(1, 4)["step_curvatures"][0].as_f64().unwrap();
    assert!(
        seen < 0.01 * RATE * 6.0,
        "the backward pass should not meet the steep direction, but saw {seen}"
    );
    assert!(p.iter().all(|p| *p >= 0.99 * floor), "{p:?} should be at least {floor}");
}

#[test]
fn a_probe_notices_curvature_that_rises_while_p_is_at_its_floor() {
    // One task, and v without a component along the direction that becomes steep.
    let bowls = |steep| Bowls::new(&[[0.01, 0.01, steep]], [1.0, 1.0, 1e-9]);
    let (inner_steps, mut step) = (4, 0);
    let mut coins = AdaptiveStepCoins::new(Coin::Task, TUNING, 0.5);
    let mut train = |coins: &mut AdaptiveStepCoins, (problem, theta): (Bowls, Params), outer_steps| {
        for _ in 0..outer_steps {
            let draw = coins.draw(&mut generator(1, "coin", step), 1, inner_steps);
            learn(coins, &draw, &estimate(&problem, &theta, &draw, Memory::Store), 1.0);
            step += 1;
        }
    };
    train(&mut coins, bowls(0.01), 5 * PROBE_EVERY);
    assert_eq!(coins.probabilities(1, inner_steps), [TUNING.floor; 4]);
    // Each inner step has its turn once.
    train(&mut coins, bowls(6.0), inner_steps as u64 * PROBE_EVERY);
    let p = coins.probabilities(1, inner_steps);
    assert!(p.iter().all(|p| *p >= 0.99 * 0.5 * RATE * 6.0), "{p:?}");
}

#[test]
fn every_product_has_its_turn_whatever_its_coin() {
    let (problem, theta) = Bowls::new(&[[0.01; 3]; 3], [1.0; 3]);
    for coin in [Coin::Task, Coin::Step, Coin::Stratified] {
        let mut coins = AdaptiveStepCoins::new(coin, TUNING, 0.5);
        let mut turns = Vec::new();
        for step in 0..7 * PROBE_EVERY {
            let draw = coins.draw(&mut generator(2, "coin", step), 3, 2);
            let at = |step: usize| draw.probed(step).into_iter().map(move |task| (step, task));
            let probed: Vec<(usize, usize)> = (1..=2).flat_map(at).collect();
            for (step, task) in &probed {
                assert!(draw.due(*step).contains(task) && draw.factor(*step, *task) == 1.0, "{coin}");
            }
            // The first outer step probes every inner step.
            turns.extend(probed.into_iter().filter(|_| step > 0));
            learn(&mut coins, &draw, &estimate(&problem, &theta, &draw, Memory::Store), 1.0);
        }
        assert_eq!(coins.probabilities(3, 2), [TUNING.floor; 2]);
        assert_eq!(turns, [(2, 0), (1, 1), (2, 1), (1, 2), (2, 2), (1, 0)], "{coin}");
    }
}
