//! The outer loop: learning rates, settings of leaves, and schedules of estimators with their saved states.

use super::problems::{WeightedRegression, normal, values};
use bilevel::estimator::{
    AdaptiveUfomSettings, Base, EstimatorSchedule, EstimatorSettings, Exact, FirstOrder, Phase, Reptile,
    State, StepCoinsSettings, Tracking, Tuning, UfomSettings,
};
use bilevel::hypergradient::{Memory, MemoryPlan};
use bilevel::optimizer::{LeafSettings, Moments, Optimizer, OptimizerState};
use bilevel::{
    Bilevel, Budget, Dual, OuterLoop, OuterLosses, OuterSettings, Params, Rates, Schedule, resolve,
};
use burn::tensor::{DType, Device, Tensor};
use serde_json::Value;
use std::f64::consts::PI;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// L_in = L_out = ½ ‖φ − target‖² for every element by itself, so that no leaf of θ affects another.
struct Pull {
    target: f64,
}

impl Pull {
    fn loss(&self, fast: &[Dual<3>]) -> Dual<1> {
        let distances = fast.iter().map(|leaf| {
            let target = leaf.primal.clone().inner().zeros_like() + self.target;
            (leaf.clone() - Dual::constant(target)).squared_norm().scale(0.5)
        });
        distances.reduce(|sum, distance| sum + distance).expect("a leaf")
    }
}

impl Bilevel for Pull {
    fn tasks(&self) -> usize {
        1
    }

    fn inner_rates(&self, _step: usize, _outer: &Params) -> Rates {
        Rates::Scalar(0.1)
    }

    fn inner_loss(&self, _: usize, _outer: &[Dual<3>], fast: &[Dual<3>]) -> Dual<1> {
        self.loss(fast)
    }

    fn outer_loss(&self, _: usize, _outer: &Params, fast: &Params) -> Tensor<1> {
        self.loss(&fast.constant()).primal
    }

    fn select(&self, _tasks: &[usize]) -> Self {
        Self { ..*self }
    }
}

/// θ of two leaves, in single precision as saved states of optimisers are.
fn two_leaves() -> Params {
    Params::new(vec![normal([1, 2, 3], 1), normal([1, 1, 4], 2)]).map(|leaf| leaf.cast(DType::F32))
}

fn optimizers() -> [Optimizer; 4] {
    [
        Optimizer::Sgd { momentum: 0.0 },
        Optimizer::Sgd { momentum: 0.9 },
        Optimizer::Adam(Moments::default()),
        Optimizer::AdamW(Moments::default()),
    ]
}

fn settings(optimizer: Optimizer, rate: f64) -> OuterSettings {
    OuterSettings { optimizer, rate, budget: Budget::Steps(20), weight_decay: 0.01, ..Default::default() }
}

/// Takes `steps` outer steps on targets that change.
fn pull(outer: &mut OuterLoop, steps: usize) {
    for _ in 0..steps {
        let target = if outer.steps() < 8 { -3.0 } else { 3.0 };
        outer.step(&Pull { target }).unwrap();
    }
}

/// A new outer loop in the state of `outer`, which its caller made in the same way as `new`.
fn resumed(mut new: OuterLoop, outer: &OuterLoop) -> OuterLoop {
    let state = outer.estimator().state();
    // As in a checkpoint: the numbers are text.
    let text = serde_json::to_string(&state.values).unwrap();
    let state = State { values: serde_json::from_str(&text).unwrap(), vector: state.vector };
    let (theta, optimizer) = (outer.theta().clone(), outer.optimizer().state());
    new.resume(theta, optimizer, &state, outer.steps(), outer.evaluations(), &Device::flex()).unwrap();
    new
}

// Learning rates.

#[test]
fn rates_rise_over_the_warm_up_and_fall_to_the_final_rate() {
    let all = OuterSettings {
        rate: 0.5,
        final_rate: 0.1,
        warmup: 4,
        budget: Budget::Steps(10),
        ..OuterSettings::default()
    };
    let used = |settings: OuterSettings| -> Vec<f64> {
        let mut outer = OuterLoop::new(two_leaves(), Exact {}, settings);
        let mut rates = Vec::new();
        while outer.progress() < 1.0 {
            rates.push(outer.step(&Pull { target: 1.0 }).unwrap().pending.rate);
        }
        rates
    };
    // A step of one task and one inner step costs an inner and an outer gradient, and one product.
    let by_evaluations = OuterSettings { budget: Budget::Evaluations(30), ..all.clone() };
    for settings in [all.clone(), by_evaluations] {
        let rates = used(settings);
        assert_eq!(rates.len(), 10);
        for (taken, rate) in rates.iter().enumerate() {
            let cosine = 0.1 + 0.4 * 0.5 * (1.0 + (PI * taken as f64 / 10.0).cos());
            let expected = cosine * ((taken + 1) as f64 / 4.0).min(1.0);
            assert!((rate - expected).abs() < 1e-15, "outer step {}: {rate}, {expected}", taken + 1);
        }
        assert_eq!(rates[0], 0.125, "a quarter of the initial rate");
    }
    let linear = used(OuterSettings { schedule: Schedule::Linear, warmup: 0, ..all.clone() });
    assert_eq!((linear[0], (linear[9] - 0.14).abs() < 1e-15), (0.5, true));
    assert!((all.rate_of(11, 1.0) - 0.1).abs() < 1e-15);
}

#[test]
fn rates_without_warm_up_and_final_rate_are_the_schedule_to_the_bit() {
    for schedule in [Schedule::Constant, Schedule::Linear, Schedule::Cosine] {
        let settings = OuterSettings { rate: 0.003, schedule, ..OuterSettings::default() };
        for step in 1..=1000 {
            let progress = (step - 1) as f64 / 999.0;
            let expected = settings.rate * schedule.share(progress);
            assert_eq!(settings.rate_of(step, progress).to_bits(), expected.to_bits());
        }
    }
}

// Settings of leaves.

#[test]
fn each_leaf_follows_its_own_rate_to_the_bit() {
    let factor = 0.25;
    for optimizer in optimizers() {
        let at = |rate| OuterLoop::new(two_leaves(), Exact {}, settings(optimizer.clone(), rate));
        let leaves = vec![LeafSettings::default(), LeafSettings { rate_factor: factor, floor: None }];
        let [mut whole, mut quarter] = [at(0.1), at(0.1 * factor)];
        let mut mixed = at(0.1).leaf_settings(leaves);
        for outer in [&mut whole, &mut quarter, &mut mixed] {
            pull(outer, 12);
        }
        let leaf = |outer: &OuterLoop, leaf: usize| values(&outer.theta().part(leaf..leaf + 1));
        assert_eq!(leaf(&mixed, 0), leaf(&whole, 0), "{optimizer:?}");
        assert_eq!(leaf(&mixed, 1), leaf(&quarter, 1), "{optimizer:?}");
        assert_ne!(leaf(&mixed, 1), leaf(&whole, 1), "{optimizer:?}");
    }
}

#[test]
fn values_at_their_floor_rise_again_also_after_a_resumption() {
    let floor = -0.5;
    for optimizer in optimizers() {
        let new = || {
            let leaves = vec![LeafSettings { floor: Some(floor), ..Default::default() }, Default::default()];
            OuterLoop::new(two_leaves(), Exact {}, settings(optimizer.clone(), 1.0)).leaf_settings(leaves)
        };
        let mut outer = new();
        pull(&mut outer, 8);
        let [bounded, free] = [0, 1].map(|leaf| values(&outer.theta().part(leaf..leaf + 1)));
        assert!(bounded.iter().all(|value| *value >= floor) && bounded.contains(&floor), "{bounded:?}");
        assert!(free.iter().any(|value| *value < floor), "{free:?}");

        let mut again = resumed(new(), &outer);
        let before = outer.snapshot();
        pull(&mut outer, 2);
        outer.restore(&before);
        pull(&mut outer, 12);
        pull(&mut again, 12);
        assert_eq!(values(outer.theta()), values(again.theta()), "{optimizer:?}");
        let risen = values(&outer.theta().part(0..1));
        assert!(risen.iter().all(|value| *value > floor), "{optimizer:?}: {risen:?}");
    }
}

#[test]
fn default_leaf_settings_change_nothing() {
    for optimizer in optimizers() {
        let new = || OuterLoop::new(two_leaves(), Exact {}, settings(optimizer.clone(), 0.1));
        let [mut plain, mut set] = [new(), new().leaf_settings(vec![LeafSettings::default(); 2])];
        pull(&mut plain, 5);
        pull(&mut set, 5);
        assert_eq!(values(plain.theta()), values(set.theta()));
    }
}

#[test]
#[should_panic(expected = "one `LeafSettings` for each leaf of θ")]
fn each_leaf_needs_settings() {
    let _ = OuterLoop::new(two_leaves(), Exact {}, OuterSettings::default())
        .leaf_settings(vec![LeafSettings::default()]);
}

// Schedules of estimators.

/// Adaptive UFOM with many exact draws, from which it learns.
fn often_exact() -> AdaptiveUfomSettings {
    let tuning = Tuning { floor: 0.5, ..Tuning::default() };
    AdaptiveUfomSettings { tuning, ..AdaptiveUfomSettings::default() }
}

/// First-order for 3 steps, adaptive UFOM with a tracked error for 4, then adaptive step coins.
fn three_phases() -> EstimatorSchedule {
    let base = Base { tracking: Tracking::Fitted, ..Base::default() };
    let phase = |estimator: EstimatorSettings, until| Phase { estimator, until };
    EstimatorSchedule::new(
        vec![phase(FirstOrder {}.into(), 3), phase(AdaptiveUfomSettings { base, ..often_exact() }.into(), 7)],
        StepCoinsSettings::default(),
    )
}

/// An outer loop of 4 inner steps on a problem of 6 tasks.
fn regression(estimator: impl Into<EstimatorSchedule>) -> (WeightedRegression, OuterLoop) {
    let (problem, theta) = WeightedRegression::new(6);
    let settings = OuterSettings {
        optimizer: Optimizer::Sgd { momentum: 0.0 },
        rate: 0.05,
        budget: Budget::Steps(12),
        ..OuterSettings::default()
    };
    (problem, OuterLoop::new(theta, estimator, settings).inner_steps(4).seed(5))
}

/// The numbers of an estimator's state without its measured times, which differ between runs.
fn without_times(mut values: Value) -> Value {
    if let Some(numbers) = values.as_object_mut() {
        numbers.remove("prices");
    }
    values
}

/// θ, the optimiser's state and the estimator's, to the bit.
fn state(outer: &OuterLoop) -> (Vec<u64>, String, Value, Option<Vec<u64>>) {
    let bits = |params: &Params| values(params).into_iter().map(f64::to_bits).collect();
    let estimator = outer.estimator().state();
    let optimizer = format!("{:?}", outer.optimizer().state());
    (bits(outer.theta()), optimizer, without_times(estimator.values), estimator.vector.as_ref().map(bits))
}

fn name(metrics: &serde_json::Map<String, Value>) -> &str {
    metrics["estimator"].as_str().unwrap()
}

#[test]
fn a_run_resumed_before_at_or_after_a_change_ends_with_the_same_bits() {
    let (problem, mut whole) = regression(three_phases());
    let mut names = Vec::new();
    let mut ends = Vec::new();
    for at in 0..12 {
        let (_, mut part) = regression(three_phases());
        part = resumed(part, &whole);
        while part.steps() < 12 {
            part.step(&problem).unwrap();
        }
        ends.push(state(&part));
        let step = whole.step(&problem).unwrap();
        names.push(name(&step.pending.metrics).to_string());
        let is_adaptive_ufom = (3..7).contains(&at);
        assert_eq!(step.pending.metrics.contains_key("q"), is_adaptive_ufom, "outer step {}", at + 1);
        assert_eq!(step.pending.metrics.contains_key("p"), at >= 7, "outer step {}", at + 1);
    }
    for (at, end) in ends.iter().enumerate() {
        assert!(*end == state(&whole), "resumed after outer step {at}");
    }
    assert_eq!(names, [vec!["first-order"; 3], vec!["adaptive"; 4], vec!["step-coins"; 5]].concat());
    assert_ne!(whole.estimator().state().values, Value::Null);
}

#[test]
fn an_adaptive_estimator_begins_fresh_and_its_state_is_that_of_its_own_steps() {
    let (problem, mut outer) = regression(three_phases());
    let fresh: Vec<Value> = three_phases().build().iter().map(|new| new.state().values).collect();
    for taken in 0..10 {
        let phase = three_phases().phase(taken);
        let is_fresh = outer.estimator().state().values == fresh[phase];
        // First-order has no state, and the others have it when their phases end.
        assert!(is_fresh || ![0, 1, 2, 3, 7].contains(&taken), "after {taken} outer steps");
        assert!(!is_fresh || ![6, 9].contains(&taken), "after {taken} outer steps");
        outer.step(&problem).unwrap();
    }
}

#[test]
fn a_schedule_of_one_estimator_is_that_estimator() {
    let first = Phase { estimator: StepCoinsSettings::default().into(), until: 100 };
    let schedule = EstimatorSchedule::new(vec![first], StepCoinsSettings::default());
    let (problem, mut plain) = regression(StepCoinsSettings::default());
    let (_, mut scheduled) = regression(schedule);
    for _ in 0..6 {
        let [left, right] = [&mut plain, &mut scheduled].map(|outer| outer.step(&problem).unwrap());
        assert!(!left.pending.metrics.contains_key("estimator"));
        assert_eq!(name(&right.pending.metrics), "step-coins");
    }
    assert!(state(&plain) == state(&scheduled));
}

#[test]
fn pending_steps_on_both_sides_of_a_change_teach_their_own_estimators() {
    let schedule = || {
        let first = Phase { estimator: often_exact().into(), until: 1 };
        EstimatorSchedule::new(vec![first], StepCoinsSettings::default())
    };
    let (problem, mut together) = regression(schedule());
    let launched = [0, 1].map(|draw| together.launch(&problem, draw));
    assert!(launched.iter().all(|step| step.observation.is_some()));
    let mut completed = resolve(launched);
    completed.iter_mut().for_each(|step| together.learn(step));
    let (_, mut at_once) = regression(schedule());
    for draw in [0, 1] {
        let [mut step] = resolve([at_once.launch(&problem, draw)]);
        at_once.learn(&mut step);
    }
    assert!(state(&together) == state(&at_once));
    assert_eq!(completed.map(|step| step.pending.phase), [0, 1]);
}

#[test]
fn undoing_a_change_makes_the_later_estimator_new_again() {
    let (problem, mut whole) = regression(three_phases());
    while whole.steps() < 10 {
        whole.step(&problem).unwrap();
    }
    let (_, mut outer) = regression(three_phases());
    let start = outer.snapshot();
    while outer.steps() < 9 {
        outer.step(&problem).unwrap();
    }
    outer.restore(&start);
    while outer.steps() < 10 {
        outer.step(&problem).unwrap();
    }
    assert!(state(&outer) == state(&whole));
}

#[test]
fn the_memory_plan_is_that_of_the_current_estimator() {
    // An iterate of 400 kB: four exceed a budget of 1 MiB.
    let theta = || Params::new(vec![Tensor::zeros([1, 1, 50_000], (&Device::flex(), DType::F64))]);
    let schedule =
        EstimatorSchedule::new(vec![Phase { estimator: FirstOrder {}.into(), until: 1 }], Exact {});
    let mut outer = OuterLoop::new(theta(), schedule, OuterSettings::default())
        .inner_steps(4)
        .memory(MemoryPlan::Auto { budget: 1 });
    let problem = Pull { target: 1.0 };
    assert_eq!(outer.plan(&problem), Memory::Store);
    outer.step(&problem).unwrap();
    assert_eq!(outer.plan(&problem), Memory::Snapshots(2));
}

/// Three tasks with a start that is not θ itself, which count how often it is computed for a task.
struct Starts {
    tasks: usize,
    computed: Arc<AtomicUsize>,
    /// Whether it says what it is like.
    is_recordable: bool,
}

impl Bilevel for Starts {
    fn tasks(&self) -> usize {
        self.tasks
    }

    fn start(&self, outer: &Params) -> Params {
        self.computed.fetch_add(self.tasks, Ordering::Relaxed);
        outer.clone().map(|leaf| leaf * 2)
    }

    fn inner_rates(&self, _step: usize, _outer: &Params) -> Rates {
        Rates::Scalar(0.1)
    }

    fn inner_loss(&self, _: usize, _outer: &[Dual<3>], fast: &[Dual<3>]) -> Dual<1> {
        fast[0].clone().squared_norm().scale(0.5)
    }

    fn outer_loss(&self, _: usize, _outer: &Params, fast: &Params) -> Tensor<1> {
        fast.clone().squared_norm()
    }

    fn select(&self, tasks: &[usize]) -> Self {
        Self { tasks: tasks.len(), computed: self.computed.clone(), is_recordable: self.is_recordable }
    }

    fn with_data(&self, _replace: &mut dyn FnMut(Tensor<3>) -> Tensor<3>) -> Option<Self> {
        let tasks: Vec<usize> = (0..self.tasks).collect();
        self.is_recordable.then(|| self.select(&tasks))
    }

    fn is_like(&self, other: &Self) -> bool {
        self.is_recordable && self.tasks == other.tasks
    }
}

#[test]
fn the_start_is_hardly_computed_for_its_size_alone() {
    // With a budget too small for the iterates of three tasks, but not for those of one.
    let theta = Params::new(vec![Tensor::zeros([1, 1, 20_000], (&Device::flex(), DType::F64))]);
    let starts = |estimator: EstimatorSchedule, inner_steps, is_recordable| {
        let problem = Starts { tasks: 3, computed: Arc::default(), is_recordable };
        let mut outer = OuterLoop::new(theta.clone(), estimator, OuterSettings::default())
            .inner_steps(inner_steps)
            .memory(MemoryPlan::Auto { budget: 1 });
        let count = |_| {
            outer.step(&problem).unwrap();
            problem.computed.swap(0, Ordering::Relaxed)
        };
        let counts: Vec<usize> = (0..3).map(count).collect();
        (counts, outer.plan(&problem))
    };
    // The inner loop starts from it, and the gradient is taken through it.
    let needed = 2 * 3;
    assert_eq!(starts(FirstOrder {}.into(), 4, false), (vec![needed; 3], Memory::Store));
    assert_eq!(starts(Exact {}.into(), 0, false), (vec![needed; 3], Memory::Store));
    let snapshots = Memory::Snapshots(2);
    assert_eq!(starts(Exact {}.into(), 4, true), (vec![needed + 1, needed, needed], snapshots));
    assert_eq!(starts(Exact {}.into(), 4, false), (vec![needed + 1; 3], snapshots));
}

// Faulty states.

#[test]
fn a_state_that_does_not_fit_leaves_the_loop_as_it_is() {
    for optimizer in optimizers().into_iter().skip(1) {
        let new = || OuterLoop::new(two_leaves(), often_exact(), settings(optimizer.clone(), 0.1));
        let (mut saved, mut outer) = (new(), new());
        pull(&mut saved, 5);
        pull(&mut outer, 3);
        let before = (state(&outer), outer.steps(), outer.evaluations());
        let mut refuse = |theta: Params, optimizer: OptimizerState, estimator: &State, what: &str| {
            let (steps, spent) = (saved.steps(), saved.evaluations());
            let resumed = outer.resume(theta, optimizer, estimator, steps, spent, &Device::flex());
            let reason = resumed.unwrap_err();
            assert!(reason.contains(what), "{reason}");
            assert!(before == (state(&outer), outer.steps(), outer.evaluations()), "{reason}");
        };
        let (theta, good, estimator) =
            (saved.theta().clone(), saved.optimizer().state(), saved.estimator().state());
        let swapped = Params::new(theta.leaves().iter().rev().cloned().collect());
        refuse(swapped, good.clone(), &estimator, "leaf 0 of θ has shape [1, 1, 4], expected [1, 2, 3]");
        refuse(theta.part(0..1), good.clone(), &estimator, "θ has 1 leaves, expected 2");
        let wrong = State::of(serde_json::json!({ "draws": "many" }));
        refuse(theta.clone(), good.clone(), &wrong, "");
        let without = |is_lost: &dyn Fn(&str) -> bool| {
            let mut state = good.clone();
            state.tensors.retain(|name, _| !is_lost(name));
            state.counts.retain(|name, _| !is_lost(name));
            state
        };
        refuse(theta.clone(), without(&|name| name.starts_with("1.")), &estimator, "has nothing for leaf 1");
        if good.counts.is_empty() {
            continue;
        }
        // Adam's.
        let lost = without(&|name| name.starts_with("1.") && name.ends_with("moment_2"));
        refuse(theta.clone(), lost, &estimator, "for leaf 1 is incomplete");
        let lost = without(&|name| name == "0.momentum.time");
        refuse(theta.clone(), lost, &estimator, "for leaf 0 is incomplete");
        let mut more = good.clone();
        more.counts.insert("2.momentum.time".into(), 5);
        refuse(theta.clone(), more, &estimator, "belongs to no leaf of θ");
        let mut restored = optimizer.build(0.01, 2);
        restored.restore(good.clone(), &theta, &Device::flex()).unwrap();
        let lost = without(&|name| name.starts_with("1.") && name.ends_with("moment_2"));
        assert!(restored.restore(lost, &theta, &Device::flex()).is_err());
        assert_eq!(format!("{:?}", restored.state()), format!("{good:?}"));
    }
}

#[test]
#[should_panic(expected = "must learn from an outer step before the next one is launched")]
fn a_tracking_estimator_refuses_two_pending_steps() {
    let base = Base { tracking: Tracking::Fitted, ..Base::default() };
    let (problem, mut outer) = regression(UfomSettings { q: 1.0, base, beta: Some(0.9) });
    let mut completed = resolve([0, 1].map(|draw| outer.launch(&problem, draw)));
    completed.iter_mut().for_each(|step| outer.learn(step));
}

#[test]
#[should_panic(expected = "need a backward walk")]
fn losses_along_the_inner_loop_are_refused_at_launch_without_a_backward_walk() {
    let settings = OuterSettings { losses: OuterLosses::All { until: None }, ..OuterSettings::default() };
    let mut outer = OuterLoop::new(two_leaves(), Reptile {}, settings).inner_steps(2);
    outer.launch(&Pull { target: 1.0 }, 0);
}
