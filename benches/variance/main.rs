//! The error of each estimator, and its cost at its own best setting, on real few-shot tasks:
//! `cargo bench --bench variance -- --data PATH`. Prints Markdown tables to standard output.
//!
//! Conv4-64 on 1-shot tasks of the training classes (Omniglot, split random-1200), at initialisation and after outer
//! steps of exact training at the same inner rate (Adam 1e-3, 4 tasks a step). UFOM's variances are by formula, which
//! the engine's tests of variances verify; those of step coins are by Monte Carlo. Settings are chosen for an
//! exponent of 2, with costs in gradient evaluations and in seconds measured in the same run.

mod adapted;
mod progress;
mod setting;
mod tables;

use adapted::AdaptedStepCoins;
use bilevel::estimator::{Coin, Probabilities, StepCoins};
use bilevel::hypergradient::Memory;
use bilevel::variance::{ErrorAnalysis, Price, Trial, TrialResult};
use clap::Parser;
use progress::Progress;
use setting::Setting;
use std::error::Error;
use std::path::PathBuf;
use tables::{MeasuredStepCoins, Row};

/// The allocator of the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The time to a given accuracy grows with the second moment to this power.
const EXPONENT: f64 = 2.0;
/// Tasks in an outer step.
const META_BATCH: usize = 4;
/// The probabilities of step coins with fixed p.
const FIXED_P: [f64; 3] = [0.1, 0.2, 0.5];

/// Measures the error of each estimator
#[derive(Parser)]
struct Options {
    /// Directory of Omniglot's archives; without it, the built-in characters are used
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// Classes of a task
    #[arg(long, default_value_t = 20)]
    ways: usize,
    /// Query images of each class
    #[arg(long, default_value_t = 1)]
    queries: usize,
    /// Inner steps
    #[arg(long, default_value_t = 10)]
    steps: usize,
    /// Inner learning rates
    #[arg(long, value_delimiter = ',', default_value = "0.005,0.03,0.1")]
    rate: Vec<f64>,
    /// Outer steps of training before measuring; 0 is the initialisation
    #[arg(long, value_delimiter = ',', default_value = "0,150")]
    after: Vec<u64>,
    /// Number of tasks to measure on
    #[arg(long, default_value = "64", value_parser = at_least_one)]
    tasks: usize,
    /// Draws for each task in each Monte Carlo estimate
    #[arg(long, default_value = "2", value_parser = at_least_one)]
    draws: usize,
    /// Outer steps, without changing θ, for adaptive step coins to adapt before they are measured
    #[arg(long, alias = "taught", default_value_t = 100)]
    adapt_steps: u64,
    /// Curvature floors of adaptive step coins; the first is also used for settings by formula
    #[arg(long, value_delimiter = ',', default_value = "1")]
    curvature_floor: Vec<f64>,
    /// Directory for the training runs, which are reused if they exist
    #[arg(long, value_name = "DIR")]
    runs: Option<PathBuf>,
    /// Passed by `cargo bench`; without it (`cargo test --benches`) nothing is measured
    #[arg(long, hide = true)]
    bench: bool,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    let number = text.parse().map_err(|_| "it must be a whole number ≥ 1".to_string())?;
    if number == 0 { Err("it must be at least 1".into()) } else { Ok(number) }
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    if !options.bench {
        return Ok(());
    }
    let mut progress = Progress::new(&options);
    let temporary = tempfile::tempdir()?;
    let runs = options.runs.as_deref().unwrap_or(temporary.path());
    let mut rows = Vec::new();
    let mut price = None;
    for rate in &options.rate {
        for after in &options.after {
            let setting = Setting::new(&options, *rate, *after, runs, &mut progress)?;
            let price = *price.get_or_insert_with(|| setting.price(&mut progress));
            rows.push(measure(&options, &setting, price, &mut progress));
        }
    }
    tables::summary(&rows);
    progress.finish();
    Ok(())
}

/// Measures at `setting`, prints its tables, and returns its row of the summary.
fn measure(options: &Options, setting: &Setting, price: Price, progress: &mut Progress) -> Row {
    let workers = setting.learner.opened.workers;
    let problem = setting.tasks(options.tasks);
    progress.begin("error analysis", setting.weight(options.tasks, options.steps as f64));
    let analysis = ErrorAnalysis::of(&problem, &setting.theta, options.steps, workers, Memory::Store);
    progress.begin("exact gradients", setting.weight(options.tasks, options.steps as f64));
    let trial = Trial::new(&problem, &setting.theta, options.steps, workers, Memory::Store);
    let draws = options.draws * options.tasks;
    let coins: Vec<TrialResult> = FIXED_P
        .iter()
        .map(|p| {
            let name = format!("step coins({p})");
            progress.begin(&name, setting.weight(draws, p * options.steps as f64));
            trial.run(&StepCoins::new(*p), options.draws as u64, 1)
        })
        .collect();
    tables::analysis(setting, &analysis);
    tables::observed_curvatures(&coins);
    let floor = options.curvature_floor.first().copied().unwrap_or(1.0);
    for (unit, price) in [("gradient evaluations", Price::counted(options.steps)), ("seconds", price)] {
        tables::tuned_estimators(unit, &analysis.tuned_estimators(price, EXPONENT, floor));
    }
    let mut measured = Vec::new();
    let half = 0.5 * options.steps as f64;
    for floor in &options.curvature_floor {
        // With fixed p: the costs measured by the adaptive estimator are for another number of tasks than a trial has.
        let measure = |p: &[f64], progress: &mut Progress| {
            progress.begin("measuring adaptive step coins", setting.weight(draws, half));
            let fixed = StepCoins { p: Probabilities::Each(p.to_vec()), coin: Coin::Task };
            trial.run(&fixed, options.draws as u64, 2)
        };
        let tasks = options.adapt_steps as usize * META_BATCH;
        progress.begin(&format!("adapting step coins, κ = {floor}"), setting.weight(tasks, half));
        let adapted = AdaptedStepCoins::new(options, setting, *floor, price);
        let result = measure(&adapted.p, progress);
        measured.push(MeasuredStepCoins {
            floor: *floor,
            p: adapted.p.clone(),
            adapted: Some(adapted),
            result,
        });
        let estimators = analysis.tuned_estimators(price, EXPONENT, *floor);
        let best = estimators.into_iter().find(|estimator| estimator.name == "best step coins");
        measured.extend(best.map(|best| {
            let result = measure(&best.setting, progress);
            MeasuredStepCoins { floor: *floor, p: best.setting, adapted: None, result }
        }));
    }
    tables::step_coins(&analysis, price, &measured);
    Row { rate: setting.rate, after: setting.after, analysis, coins }
}
