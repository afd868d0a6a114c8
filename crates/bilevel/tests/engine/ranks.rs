//! Several ranks take the steps that one takes alone, to the bit.

use super::problems::{FewShotLike, Sizes, WeightedRegression, values};
use bilevel::estimator::{
    AdaptiveUfomSettings, Base, Coin, EstimatorSettings, Exact, Implicit, Reptile, StepCoinsSettings,
    TelescopingSettings, Tracking, Tuning, UfomSettings,
};
use bilevel::hypergradient::{MemoryPlan, Workers};
use bilevel::optimizer::{Moments, Optimizer};
use bilevel::ranks::{Alone, Ranks, Threads};
use bilevel::{Bilevel, Budget, OuterLoop, OuterSettings, Params};
use serde_json::Value;
use std::sync::Arc;
use std::thread;

const TASKS: usize = 7;
const STEPS: u64 = 5;

/// What a run leaves: θ, and of each step its loss, the norms, its cost, its metrics and the iterates kept, as text.
#[derive(Debug, PartialEq)]
struct Run {
    theta: Vec<u64>,
    steps: Vec<String>,
    estimator: Value,
    vector: Option<Vec<u64>>,
}

fn bits(params: &Params) -> Vec<u64> {
    values(params).into_iter().map(f64::to_bits).collect()
}

/// A run of one rank. Measured times are no part of it.
fn run<P: Bilevel>(
    (problem, theta): &(P, Params),
    estimator: &EstimatorSettings,
    ranks: Arc<dyn Ranks>,
    threads: usize,
) -> Run {
    let settings = OuterSettings {
        optimizer: Optimizer::Adam(Moments::default()),
        rate: 0.05,
        budget: Budget::Steps(STEPS),
        clip: Some(0.5),
        ..OuterSettings::default()
    };
    let mut outer = OuterLoop::new(theta.clone(), estimator.clone(), settings)
        .inner_steps(4)
        .seed(3)
        .workers(Workers::on_cpu(threads))
        .memory(MemoryPlan::Snapshots { snapshots: 2 })
        .ranks(ranks);
    let mut steps = Vec::new();
    while outer.steps() < STEPS {
        let step = outer.step(problem).unwrap();
        assert!(step.seconds > 0.0);
        steps.push(format!(
            "{:x?} {:x} {:x} {:?} {} {:?}",
            step.losses.iter().map(|loss| loss.to_bits()).collect::<Vec<_>>(),
            step.gradient_norm.to_bits(),
            step.weights.to_bits(),
            step.pending.spent,
            step.pending.iterate_bytes,
            step.pending.metrics,
        ));
    }
    let state = outer.estimator().state();
    let mut estimator = state.values;
    if let Some(numbers) = estimator.as_object_mut() {
        numbers.remove("prices");
    }
    Run { theta: bits(outer.theta()), steps, estimator, vector: state.vector.as_ref().map(bits) }
}

/// The same run on `count` threads as ranks.
fn run_on<P: Bilevel>(problem: &(P, Params), estimator: &EstimatorSettings, count: usize) -> Vec<Run> {
    thread::scope(|scope| {
        let start = |rank: Threads| {
            // A number of threads of its own for each rank.
            let threads = rank.rank() % 2 + 1;
            scope.spawn(move || run(problem, estimator, Arc::new(rank), threads))
        };
        let ranks: Vec<_> = Threads::new(count).into_iter().map(start).collect();
        ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
    })
}

fn all_numbers_of_ranks_agree<P: Bilevel>(problem: &(P, Params), estimator: impl Into<EstimatorSettings>) {
    let estimator = estimator.into();
    let alone = run(problem, &estimator, Arc::new(Alone), 1);
    assert_ne!(alone.theta, bits(&problem.1), "the run must do something");
    for count in [1, 2, 3, 5, TASKS] {
        for (rank, found) in run_on(problem, &estimator, count).iter().enumerate() {
            assert_eq!(found, &alone, "{estimator:?}, rank {rank} of {count}");
        }
    }
}

/// Few-shot episodes in single precision, in which the start of the inner loop is θ.
fn few_shot() -> (FewShotLike, Params) {
    let sizes = Sizes { tasks: TASKS, ways: 3, shots: 2, queries: 2, pixels: 5 };
    FewShotLike::in_float32(FewShotLike::perceptron(sizes, &[8], 0.3))
}

/// Adaptive with frequent exact draws.
fn often() -> Tuning {
    Tuning { floor: 0.3, ..Tuning::default() }
}

fn estimators() -> Vec<EstimatorSettings> {
    let mut all: Vec<EstimatorSettings> =
        vec![Exact {}.into(), Reptile {}.into(), StepCoinsSettings::fixed(0.5).into()];
    for coin in [Coin::Task, Coin::Step, Coin::Stratified] {
        let base = Base { coin, tracking: Tracking::Fitted, ..Base::default() };
        let plain = Base { coin, truncate: 1, ..Base::default() };
        all.push(UfomSettings { q: 0.4, base: base.clone(), beta: Some(0.5) }.into());
        all.push(UfomSettings { q: 0.4, base: plain.clone(), beta: None }.into());
        for base in [base, plain] {
            all.push(AdaptiveUfomSettings { base, tuning: often(), ..Default::default() }.into());
        }
        all.push(StepCoinsSettings::Adaptive { coin, tuning: often(), curvature_floor: 0.5 }.into());
        let levels = bilevel::estimator::Levels::default();
        all.push(TelescopingSettings::Adaptive { levels, truncate: 0, coin, tuning: often() }.into());
    }
    all
}

#[test]
fn ranks_train_few_shot_learners_with_the_bits_of_one() {
    let problem = few_shot();
    estimators().into_iter().for_each(|estimator| all_numbers_of_ranks_agree(&problem, estimator));
}

#[test]
fn ranks_solve_problems_whose_start_is_a_function_of_theta_with_the_bits_of_one() {
    let problem = WeightedRegression::new(TASKS);
    all_numbers_of_ranks_agree(&problem, Implicit::default());
    estimators().into_iter().for_each(|estimator| all_numbers_of_ranks_agree(&problem, estimator));
}

#[test]
fn adaptive_estimators_learn_from_the_tasks_of_all_ranks() {
    let problem = few_shot();
    let coins = StepCoinsSettings::Adaptive { coin: Coin::Task, tuning: often(), curvature_floor: 0.0 };
    let estimator = coins.into();
    let [first, ..] = &run_on(&problem, &estimator, 3)[..] else { panic!("three ranks") };
    let seen = first.estimator["steps"].as_array().unwrap();
    // The first products are taken with probability 1, by every task.
    assert!(seen.iter().all(|step| step["seen"].as_u64().unwrap() >= 2 * TASKS as u64), "{seen:?}");
}

#[test]
fn what_rank_0_has_reaches_all() {
    let found = thread::scope(|scope| {
        let work = |rank: Threads| {
            let (number, ranks): (_, &dyn Ranks) = (rank.rank() as u8, &rank);
            ranks.of_first(vec![number; 3 + usize::from(number)])
        };
        let ranks: Vec<_> = Threads::new(3).into_iter().map(|rank| scope.spawn(move || work(rank))).collect();
        ranks.into_iter().map(|rank| rank.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(found, [[0; 3]; 3]);
}

#[test]
fn a_rank_that_ends_ends_the_others() {
    let problem = few_shot();
    let estimator: EstimatorSettings = Exact {}.into();
    let ended = thread::scope(|scope| {
        let mut ranks = Threads::new(3).into_iter();
        drop(ranks.next());
        let work = |rank| run(&problem, &estimator, Arc::new(rank), 1);
        let others: Vec<_> = ranks.map(|rank| scope.spawn(move || work(rank))).collect();
        others.into_iter().map(|rank| rank.join().map(drop)).collect::<Vec<_>>()
    });
    for end in ended {
        let reason = *end.unwrap_err().downcast::<String>().unwrap();
        assert!(reason.starts_with("rank ") && reason.ends_with(" has ended"), "{reason}");
    }
}

#[test]
#[should_panic(expected = "2 ranks cannot share 1 tasks")]
fn more_ranks_than_tasks_are_refused() {
    let (_, theta) = few_shot();
    let rank = Threads::new(2).remove(0);
    let outer = OuterLoop::new(theta, Exact {}, OuterSettings::default()).ranks(Arc::new(rank));
    let _ = outer.share(1);
}
