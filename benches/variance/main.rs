//! What each estimator errs by, and what it costs at its own best setting, on real few-shot tasks:
//! `cargo bench --bench variance -- --data PATH`. Markdown tables go to standard output.
//!
//! Conv4-64 on 1-shot tasks of the training classes (Omniglot, split random-1200), at initialisation and after
//! outer steps of exact training at the same inner rate (Adam 1e-3, 4 tasks a step). UFOM's variances are by formula,
//! which `tests/variance.rs` holds; step coins' are by Monte Carlo. Settings are chosen for an exponent of 2, by
//! gradient evaluations and by seconds measured in the same run.

mod place;
mod progress;
mod tables;
mod taught;

use clap::Parser;
use metaburn::config::{Coin, Probabilities};
use metaburn::diagnosis::{Diagnosis, Price, Trial, Verdict};
use metaburn::estimator::StepCoins;
use place::{META_BATCH, Place};
use progress::Progress;
use std::error::Error;
use std::path::PathBuf;
use tables::{Judged, Row};
use taught::Taught;

/// The program's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How the time to an accuracy grows with the second moment.
const EXPONENT: f64 = 2.0;
/// The p of the step coins that do not adapt.
const COINS: [f64; 3] = [0.1, 0.2, 0.5];

/// What each estimator errs by
#[derive(Parser)]
struct Options {
    /// Folder of Omniglot's archives; without one, the built-in characters are used
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
    /// Inner rates
    #[arg(long, value_delimiter = ',', default_value = "0.005,0.03,0.1")]
    rate: Vec<f64>,
    /// Outer steps of training before measuring; 0 is the initialisation
    #[arg(long, value_delimiter = ',', default_value = "0,150")]
    after: Vec<u64>,
    /// Tasks measured on
    #[arg(long, default_value = "64", value_parser = at_least_one)]
    tasks: usize,
    /// Draws of every task for each Monte-Carlo figure
    #[arg(long, default_value = "2", value_parser = at_least_one)]
    draws: usize,
    /// Outer steps, at θ as it stands, that teach adaptive step coins before they are measured
    #[arg(long, default_value_t = 100)]
    taught: u64,
    /// Curvature floors of adaptive step coins; the first is used for settings by formula
    #[arg(long, value_delimiter = ',', default_value = "1")]
    curvature_floor: Vec<f64>,
    /// Directory that keeps the training runs, so that they are made once
    #[arg(long, value_name = "DIR")]
    runs: Option<PathBuf>,
    /// Measure: `cargo bench` says so, and `cargo test --benches` does not
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
    let kept = tempfile::tempdir()?;
    let runs = options.runs.as_deref().unwrap_or(kept.path());
    let mut rows = Vec::new();
    let mut price = None;
    for rate in &options.rate {
        for after in &options.after {
            let place = Place::new(&options, *rate, *after, runs, &mut progress)?;
            let price = *price.get_or_insert_with(|| place.price(&mut progress));
            rows.push(measure(&options, &place, price, &mut progress));
        }
    }
    tables::summary(&rows);
    progress.ended();
    Ok(())
}

/// Measures at `place`, prints what is about that place alone, and gives what the summary needs.
fn measure(options: &Options, place: &Place, price: Price, progress: &mut Progress) -> Row {
    let workers = &place.learner.opened.workers;
    let problem = place.tasks(options.tasks);
    progress.begin("diagnosis", place.weight(options.tasks, options.steps as f64));
    let diagnosis = Diagnosis::of(&problem, &place.theta, options.steps, workers);
    progress.begin("exact gradients", place.weight(options.tasks, options.steps as f64));
    let trial = Trial::new(&problem, &place.theta, options.steps, workers);
    let draws = options.draws * options.tasks;
    let coins: Vec<Verdict> = COINS
        .iter()
        .map(|p| {
            let name = format!("step coins({p})");
            progress.begin(&name, place.weight(draws, p * options.steps as f64));
            trial.run(&StepCoins::new(*p), options.draws as u64, 1)
        })
        .collect();
    tables::place(place, &diagnosis);
    tables::met(&coins);
    let floor = options.curvature_floor.first().copied().unwrap_or(1.0);
    for (unit, price) in [("gradient evaluations", Price::counted(options.steps)), ("seconds", price)] {
        tables::contenders(unit, &diagnosis.contenders(price, EXPONENT, floor));
    }
    let mut judged = Vec::new();
    let half = 0.5 * options.steps as f64;
    for floor in &options.curvature_floor {
        // Frozen: what a law has learned of prices is for its own number of tasks, and a trial has another.
        let judge = |p: &[f64], progress: &mut Progress| {
            progress.begin("adaptive step coins measured", place.weight(draws, half));
            let frozen = StepCoins { p: Probabilities::Each(p.to_vec()), coin: Coin::Task };
            trial.run(&frozen, options.draws as u64, 2)
        };
        let lessons = options.taught as usize * META_BATCH;
        progress.begin(&format!("adaptive step coins taught, κ = {floor}"), place.weight(lessons, half));
        let taught = Taught::new(options, place, *floor, price);
        let verdict = judge(&taught.p, progress);
        judged.push(Judged { floor: *floor, p: taught.p.clone(), taught: Some(taught), verdict });
        let contenders = diagnosis.contenders(price, EXPONENT, *floor);
        let best = contenders.into_iter().find(|contender| contender.name == "best step coins");
        judged.extend(best.map(|best| {
            let verdict = judge(&best.setting, progress);
            Judged { floor: *floor, p: best.setting, taught: None, verdict }
        }));
    }
    tables::judged(&diagnosis, price, &judged);
    Row { rate: place.rate, after: place.after, diagnosis, coins }
}
