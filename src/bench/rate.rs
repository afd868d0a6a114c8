//! Measures how fast this machine multiplies float32 matrices with the backend and threads of a step, as a reference for
//! the step's arithmetic rate.

use super::Error;
use crate::config::Config;
use crate::train::Learner;
use burn::tensor::{Device, Distribution, Tensor};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Rows and columns of the large product.
const SIDE: usize = 1024;
/// Products per timed run, so that the latency of a GPU is negligible.
const PRODUCTS: usize = 16;
/// Shortest time spent on measuring a rate.
const SHORTEST: Duration = Duration::from_millis(700);
/// Smallest number of timed runs.
const FEWEST_RUNS: usize = 3;

/// Matrix-product rates, in GFLOP/s.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// For products of 1024 × 1024 matrices.
    pub large: f64,
    /// For the matrix products of a first-order step without its other operations, on the same threads.
    pub shapes: f64,
}

impl Rates {
    /// Measures the rates of `learner`'s device; `config` determines the shapes.
    ///
    /// # Errors
    /// Returns an error if the device fails.
    pub fn measure(config: &Config, learner: &Learner) -> Result<Self, Error> {
        Ok(Self { large: large(&learner.opened.device)?, shapes: shapes(config, learner)? })
    }
}

/// GFLOP/s of products of two 1024 × 1024 matrices.
fn large(device: &Device) -> Result<f64, Error> {
    let [a, b] = [(); 2].map(|()| random([1, SIDE, SIDE], device));
    let flop = 2.0 * (PRODUCTS * SIDE.pow(3)) as f64;
    let seconds = fastest(device, || {
        for _ in 0..PRODUCTS {
            black_box(a.clone().matmul(b.clone()));
        }
    })?;
    Ok(1e-9 * flop / seconds)
}

/// GFLOP/s of y = x·w, xᵀ·ȳ and ȳ·wᵀ for every matrix product of the network, for r support sets and one query set per task.
fn shapes(config: &Config, learner: &Learner) -> Result<f64, Error> {
    let opened = &learner.opened;
    let (tasks, ways) = (config.outer.meta_batch, config.task.ways);
    let chunk = opened.workers.chunk.min(tasks);
    let sets = [(config.task.shots, config.inner.steps), (config.task.queries, 1)];
    let mut products = Vec::new();
    let mut flop = 0.0;
    for (of_class, times) in sets {
        let images = ways * of_class;
        for product in learner.architecture.products() {
            let rows = images * product.positions;
            let x = random([chunk, rows, product.inputs], &opened.device);
            let w = random([chunk, product.inputs, product.outputs], &opened.device);
            let y = random([chunk, rows, product.outputs], &opened.device);
            let each = if product.on_images { 2 } else { 3 };
            flop += 2.0 * (tasks * times * each * images * product.multiply_adds()) as f64;
            products.push((x, w, y, times, product.on_images));
        }
    }
    let seconds = fastest(&opened.device, || {
        opened.workers.map(tasks, |_| {
            for (x, w, y, times, on_images) in &products {
                for _ in 0..*times {
                    black_box(x.clone().matmul(w.clone()));
                    black_box(x.clone().transpose().matmul(y.clone()));
                    if !on_images {
                        black_box(y.clone().matmul(w.clone().transpose()));
                    }
                }
            }
        });
    })?;
    Ok(1e-9 * flop / seconds)
}

fn random(shape: [usize; 3], device: &Device) -> Tensor<3> {
    Tensor::random(shape, Distribution::Default, device)
}

/// Seconds of the fastest of several runs of `work`, each timed until `device` has finished it.
fn fastest(device: &Device, work: impl Fn()) -> Result<f64, Error> {
    let run = || {
        let began = Instant::now();
        work();
        device.sync().map_err(|error| Error::Device(error.to_string()))?;
        Ok::<f64, Error>(began.elapsed().as_secs_f64())
    };
    // The first run starts threads and tunes kernels.
    run()?;
    let began = Instant::now();
    let mut shortest = f64::INFINITY;
    let mut runs = 0;
    while runs < FEWEST_RUNS || began.elapsed() < SHORTEST {
        shortest = run()?.min(shortest);
        runs += 1;
    }
    Ok(shortest)
}
