//! What an outer step costs with each estimator, in time and in counted gradient evaluations:
//! `cargo bench --bench estimators [-- --data ../shared/datasets/omniglot] [-- --steps 40]`.
//!
//! The method's reference setting (20-way 1-shot, Conv4-64, 5 tasks, inner rate 0.005) at r = 5, 10 and 30, on
//! Omniglot where `--data` names it and else on the built-in characters. All estimators see the same θ and the same
//! tasks, in turn, so that whatever else the machine does hits them alike; θ goes on by exact gradients. The first
//! quarter of the steps only teaches those that adapt. The optimiser's step is not included.

use clap::Parser;
use metaburn::config::Config;
use metaburn::estimator::{Estimator, from_config};
use metaburn::trainer::{Learner, Watcher, sampler, training_shape};
use metaburn::{data::Part, model, random};
use std::error::Error;
use std::time::Instant;

/// The program's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Each as a configuration's overrides.
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
    /// Folder of Omniglot; without one, the built-in characters
    #[arg(long)]
    data: Option<String>,
    /// Outer steps of each estimator
    #[arg(long, default_value_t = 40)]
    steps: u64,
    /// Numbers of inner steps
    #[arg(long, value_delimiter = ',', default_values_t = [5, 10, 30])]
    inner: Vec<usize>,
    /// Inner rate
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

/// What is known of an estimator.
struct Course {
    name: &'static str,
    estimator: Box<dyn Estimator>,
    seconds: f64,
    evaluations: u64,
    products: u64,
}

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
    let learner = Learner::new(&plain, metaburn::backend::open(plain.backend)?);
    let mut theta = model::initialise(&*learner.architecture, plain.seed, &learner.opened.device);
    let mut courses = Vec::new();
    for (name, overrides) in ESTIMATORS {
        let estimator = from_config(&config(overrides)?.estimator);
        courses.push(Course { name, estimator, seconds: 0.0, evaluations: 0, products: 0 });
    }
    let tasks = plain.outer.meta_batch;
    for step in 0..arguments.steps {
        let episodes: Vec<_> = (0..tasks as u64)
            .map(|task| sampler.episode(Part::Train, step * tasks as u64 + task, &training_shape(&plain)))
            .collect();
        let problem = learner.problem(&episodes);
        let mut exact = None;
        for course in &mut courses {
            let draw = course.estimator.draw(&mut random::generator(plain.seed, "coin", step), tasks, steps);
            let began = Instant::now();
            let estimate = learner.opened.workers.estimate(&problem, &theta, &draw);
            let gradient = estimate.gradient.clone().mean();
            // Read, so that all work is done.
            std::hint::black_box(gradient.clone().squared_norm().into_data());
            let taken = began.elapsed().as_secs_f64();
            course.estimator.observe(&draw, &estimate, taken);
            let seconds = began.elapsed().as_secs_f64();
            if step >= arguments.steps / 4 {
                course.seconds += seconds;
                course.evaluations += estimate.evaluations.total();
                course.products += estimate.evaluations.products;
            }
            exact = Some(gradient);
        }
        eprint!("\rr = {steps}: outer step {} of {}", step + 1, arguments.steps);
        theta = exact.into_iter().fold(theta, |theta, gradient| theta - gradient.scale(&[plain.outer.rate]));
    }
    eprintln!();
    let counted = (arguments.steps - arguments.steps / 4) as f64;
    let [first, ..] = &courses[..] else { return Ok(()) };
    for course in &courses {
        println!(
            "| {steps} | {} | {:.1} | {:.2} | {:.0} | {:.2} | {:.1} |",
            course.name,
            course.evaluations as f64 / counted,
            course.evaluations as f64 / first.evaluations as f64,
            1e3 * course.seconds / counted,
            course.seconds / first.seconds,
            course.products as f64 / counted,
        );
    }
    Ok(())
}
