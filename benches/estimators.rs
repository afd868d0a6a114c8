//! Cost of an outer step with each estimator, in time and in gradient evaluations:
//! `cargo bench --bench estimators [-- --data datasets/omniglot] [-- --steps 40]`.
//!
//! The few-shot setting of Likhosherstov et al. (2021): 20-way 1-shot, Conv4-64, 5 tasks, inner rate 0.005, at r = 5,
//! 10 and 30 inner steps, on Omniglot if `--data` is given and otherwise on the built-in characters. All estimators
//! run in turn on the same θ and the same tasks, so that other load on the machine affects them equally; θ is trained
//! with exact gradients. The first quarter of the steps only adapts the adaptive estimators. The step of the
//! optimiser is not included.

use bilevel::estimator::{Estimator, learn};
use bilevel::hypergradient::Memory;
use bilevel::rng;
use clap::Parser;
use metaburn::config::Config;
use metaburn::train::{Learner, Watcher, sampler, training_shape};
use metaburn::{data::Part, model};
use std::error::Error;
use std::time::Instant;

/// The allocator of the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Names of the estimators and their overrides of the configuration.
const ESTIMATORS: [(&str, &[&str]); 8] = [
    ("first-order", &["estimator.name=first-order"]),
    ("UFOM(0.1)", &["estimator.name=ufom", "estimator.q=0.1"]),
    ("adaptive", &["estimator.name=adaptive"]),
    ("step coins(0.1)", &["estimator.name=step-coins", "estimator.p=0.1"]),
    ("step coins", &["estimator.name=step-coins"]),
    ("telescoping(0.5)", &["estimator.name=telescoping", "estimator.survival=0.5"]),
    ("telescoping", &["estimator.name=telescoping"]),
    ("exact", &["estimator.name=exact"]),
];

#[derive(Parser)]
struct Arguments {
    /// Directory of Omniglot; without it, the built-in characters are used
    #[arg(long)]
    data: Option<String>,
    /// Outer steps of each estimator
    #[arg(long, default_value_t = 40)]
    steps: u64,
    /// Numbers of inner steps to compare
    #[arg(long, value_delimiter = ',', default_values_t = [5, 10, 30])]
    inner: Vec<usize>,
    /// Inner learning rate
    #[arg(long, default_value_t = 0.005)]
    rate: f64,
    /// Passed by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

struct Silent;

impl Watcher for Silent {}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    println!("| r | estimator | evaluations | ÷ first-order | ms | ÷ first-order | products |");
    println!("|---|---|---|---|---|---|---|");
    for steps in &arguments.inner {
        table(&arguments, *steps)?;
    }
    Ok(())
}

/// An estimator and its measurements.
struct Measurement {
    name: &'static str,
    estimator: Box<dyn Estimator>,
    seconds: f64,
    evaluations: u64,
    products: u64,
}

/// Measures all estimators with `steps` inner steps, and prints the rows of the table.
fn table(arguments: &Arguments, steps: usize) -> Result<(), Box<dyn Error>> {
    let config = |more: &[&str]| {
        let data = match &arguments.data {
            Some(path) => vec!["data.source=omniglot".into(), format!("data.path={path:?}")],
            None => vec!["data.source=glyphs".into(), "data.split=fraction".into()],
        };
        let inner = [format!("inner.steps={steps}"), format!("inner.rate={}", arguments.rate)];
        let overrides: Vec<String> =
            data.into_iter().chain(inner).chain(more.iter().map(ToString::to_string)).collect();
        Config::load(Some("configs/unbiased-reference.toml".as_ref()), &overrides)
    };
    let plain = config(&["backend=flex"])?;
    let sampler = sampler(&plain, &mut Silent)?;
    let learner = Learner::new(&plain, bilevel::device::open(plain.backend)?);
    let mut theta = model::initialise(&*learner.architecture, plain.seed, &learner.opened.device);
    let mut measurements = Vec::new();
    for (name, overrides) in ESTIMATORS {
        let estimator = config(overrides)?.estimator.last().build();
        measurements.push(Measurement { name, estimator, seconds: 0.0, evaluations: 0, products: 0 });
    }
    let tasks = plain.outer.meta_batch;
    for step in 0..arguments.steps {
        let episodes: Vec<_> = (0..tasks as u64)
            .map(|task| sampler.episode(Part::Train, step * tasks as u64 + task, &training_shape(&plain)))
            .collect();
        let problem = learner.problem(&episodes);
        let mut exact = None;
        for measurement in &mut measurements {
            let draw =
                measurement.estimator.draw(&mut rng::generator(plain.seed, "coin", step), tasks, steps);
            let began = Instant::now();
            let estimate = learner.opened.workers.estimate(&problem, &theta, &draw, Memory::Store);
            let gradient = estimate.gradient.clone().mean();
            // Reading a value waits for all work on the device.
            std::hint::black_box(gradient.clone().squared_norm().into_data());
            let estimate_seconds = began.elapsed().as_secs_f64();
            learn(&mut *measurement.estimator, &draw, &estimate, estimate_seconds);
            let seconds = began.elapsed().as_secs_f64();
            if step >= arguments.steps / 4 {
                measurement.seconds += seconds;
                measurement.evaluations += estimate.evaluations.total();
                measurement.products += estimate.evaluations.products;
            }
            exact = Some(gradient);
        }
        eprint!("\rr = {steps}: outer step {} of {}", step + 1, arguments.steps);
        theta = exact.into_iter().fold(theta, |theta, gradient| theta - gradient.scale(&[plain.outer.rate]));
    }
    eprintln!();
    let counted = (arguments.steps - arguments.steps / 4) as f64;
    let [first, ..] = &measurements[..] else { return Ok(()) };
    for measurement in &measurements {
        println!(
            "| {steps} | {} | {:.1} | {:.2} | {:.0} | {:.2} | {:.1} |",
            measurement.name,
            measurement.evaluations as f64 / counted,
            measurement.evaluations as f64 / first.evaluations as f64,
            1e3 * measurement.seconds / counted,
            measurement.seconds / first.seconds,
            measurement.products as f64 / counted,
        );
    }
    Ok(())
}
