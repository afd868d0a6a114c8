//! How an outer step scales over threads: `cargo bench --bench threads [-- --config A,B,M]`.
//!
//! Measured are the time m(n) to hand tasks that do nothing to n threads, and the time of an outer step of T tasks on one
//! thread, for several T. A straight line through the latter, s + p·T, separates the serial part s (the draw, the mean
//! over tasks, Adam) from a task's p. A step on n ≤ T threads is then predicted to take
//!
//! ```text
//! t(n) = s + m(n) + p·⌈T/n⌉
//! ```
//!
//! which leaves out that cores share caches, memory and power. Predictions are printed beside what was measured with as many
//! threads as this machine has cores. With more threads than cores, m(n) is measured too, and is an upper bound.

use bilevel::device::{self, Backend};
use bilevel::hypergradient::Workers;
use bilevel::stats::median;
use clap::Parser;
use metaburn::bench::{OuterStep, SETTINGS, Setting, Timed, fastest};
use metaburn::config::Config;
use metaburn::train::Watcher;
use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

/// The allocator of the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Numbers of threads of the predictions.
const THREADS: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];
/// Tasks of the steps through whose times the line is drawn.
const TASKS: [usize; 4] = [2, 4, 8, 16];
/// Timed repetitions of each measurement.
const REPEATS: usize = 7;

#[derive(Parser)]
struct Arguments {
    /// Settings of `metaburn bench`
    #[arg(long, value_delimiter = ',', default_values = ["A", "B"])]
    config: Vec<String>,
    /// Tasks of the predicted step
    #[arg(long, default_value_t = 64)]
    tasks: usize,
    /// Estimator
    #[arg(long, default_value = "first-order")]
    estimator: String,
    /// Passed by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

struct Silent;

impl Watcher for Silent {}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let cores = std::thread::available_parallelism()?.get();
    let handing_out = THREADS.map(hand_out_ms);
    println!("handing tasks to n threads, µs, on {cores} cores:");
    print_row("n", THREADS.map(|n| n.to_string()));
    print_row("m(n)", handing_out.map(|ms| format!("{:.0}", 1e3 * ms)));
    for name in &arguments.config {
        let setting = SETTINGS.iter().find(|setting| setting.name.eq_ignore_ascii_case(name));
        let setting = setting.ok_or_else(|| format!("there is no setting {name}"))?;
        let mut times = Vec::new();
        for tasks in TASKS {
            times.push((tasks as f64, step_ms(setting, &arguments.estimator, tasks, 1)?));
        }
        let (serial, task) = line(&times);
        let tasks = arguments.tasks;
        let predicted = |threads: usize, handing_out: f64| {
            let used = threads.min(tasks);
            serial + handing_out + task * tasks.div_ceil(used) as f64
        };
        println!(
            "\n{}, {}: {serial:.2} ms serial, {task:.2} ms a task; a step of {tasks} tasks:",
            setting.name, arguments.estimator
        );
        print_row("threads", THREADS.map(|n| n.to_string()));
        let steps: Vec<f64> = THREADS.iter().zip(handing_out).map(|(n, out)| predicted(*n, out)).collect();
        print_row("predicted, ms", steps.iter().map(|ms| format!("{ms:.1}")));
        print_row("predicted speed-up", steps.iter().map(|ms| format!("{:.1}", steps[0] / ms)));
        let mut measured = Vec::new();
        for threads in THREADS.into_iter().filter(|threads| *threads <= cores) {
            measured.push(step_ms(setting, &arguments.estimator, tasks, threads)?);
        }
        print_row("measured, ms", measured.iter().map(|ms| format!("{ms:.1}")));
    }
    Ok(())
}

fn print_row(name: &str, values: impl IntoIterator<Item = String>) {
    let values: Vec<String> = values.into_iter().collect();
    println!("| {name} | {} |", values.join(" | "));
}

/// Milliseconds to hand as many tasks that do nothing to `threads` threads, and to wait for them.
fn hand_out_ms(threads: usize) -> f64 {
    let workers = Workers::on_cpu(threads);
    let once = || {
        let began = Instant::now();
        black_box(workers.map(threads, |tasks| tasks[0]));
        1e3 * began.elapsed().as_secs_f64()
    };
    // The first call starts the threads.
    once();
    median(&(0..100).map(|_| once()).collect::<Vec<_>>())
}

/// Milliseconds of an outer step of `setting` with `tasks` tasks on `threads` threads: the fastest of several, which other work
/// on the machine disturbs least.
fn step_ms(setting: &Setting, estimator: &str, tasks: usize, threads: usize) -> Result<f64, Box<dyn Error>> {
    let mut assignments = setting.assignments(None);
    assignments.extend([format!("outer.meta_batch={tasks}"), format!("estimator.name={estimator}")]);
    let config = Config::load(None, &assignments)?;
    let opened = device::open(Backend::Flex)?.with_threads(Some(threads));
    let mut step = OuterStep::new(&config, opened, &mut Silent)?;
    step.take()?;
    let mut times = Vec::new();
    for _ in 0..REPEATS {
        let began = Instant::now();
        step.take()?;
        times.push(1e3 * began.elapsed().as_secs_f64());
    }
    Ok(fastest(&times))
}

/// Intercept and slope of the line that fits `points` best by least squares.
fn line(points: &[(f64, f64)]) -> (f64, f64) {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let covariance: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let variance: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    let slope = covariance / variance;
    (y - slope * x, slope)
}
