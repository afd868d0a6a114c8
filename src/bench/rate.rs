//! How fast this machine multiplies float32 matrices, by the same backend and threads as a step: what
//! a step's arithmetic is held against.

use super::{Error, arithmetic};
use crate::config::Config;
use crate::trainer::Learner;
use burn::tensor::{Device, Distribution, Tensor};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Rows and columns of the large product.
const SIDE: usize = 1024;
/// Products between two readings of the clock, so that waiting for a GPU does not count.
const TOGETHER: usize = 16;
/// How long each rate is looked for, and how often at least.
const LONG_ENOUGH: Duration = Duration::from_millis(700);
const LEAST: usize = 3;

/// GFLOP/s.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// Of a product of two 1024 × 1024 matrices.
    pub large: f64,
    /// Of the products of a first-order step, shared out as there, and nothing else.
    pub shapes: f64,
}

impl Rates {
    /// The rates of `learner`'s machine; `config` gives the shapes.
    ///
    /// # Errors
    /// If the device fails.
    pub fn measure(config: &Config, learner: &Learner) -> Result<Self, Error> {
        Ok(Self { large: large(&learner.opened.device)?, shapes: shapes(config, learner)? })
    }
}

fn large(device: &Device) -> Result<f64, Error> {
    let [a, b] = [(); 2].map(|()| random([1, SIDE, SIDE], device));
    let flop = 2.0 * (TOGETHER * SIDE.pow(3)) as f64;
    let seconds = fastest(device, || {
        for _ in 0..TOGETHER {
            black_box(a.clone().matmul(b.clone()));
        }
    })?;
    Ok(1e-9 * flop / seconds)
}

/// y = x·w, xᵀ·ȳ and ȳ·wᵀ of every layer, for r support sets and one query set of each task.
fn shapes(config: &Config, learner: &Learner) -> Result<f64, Error> {
    let opened = &learner.opened;
    let (tasks, ways) = (config.outer.meta_batch, config.task.ways);
    let together = opened.workers.chunk.min(tasks);
    let sets = [(config.task.shots, config.inner.steps), (config.task.queries, 1)];
    let mut products = Vec::new();
    let mut flop = 0.0;
    for (of_class, times) in sets {
        let images = ways * of_class;
        for (depth, layer) in
            arithmetic::layers(&*learner.architecture, config.data.image_size).iter().enumerate()
        {
            let rows = images * layer.positions;
            let x = random([together, rows, layer.inputs], &opened.device);
            let w = random([together, layer.inputs, layer.outputs], &opened.device);
            let y = random([together, rows, layer.outputs], &opened.device);
            let each = if depth == 0 { 2 } else { 3 };
            flop += 2.0 * (tasks * times * each * images * layer.multiply_adds()) as f64;
            products.push((x, w, y, times, depth));
        }
    }
    let seconds = fastest(&opened.device, || {
        opened.workers.map(tasks, |_| {
            for (x, w, y, times, depth) in &products {
                for _ in 0..*times {
                    black_box(x.clone().matmul(w.clone()));
                    black_box(x.clone().transpose().matmul(y.clone()));
                    if *depth > 0 {
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

/// Seconds of the fastest of several runs of `work`, each to its end on `device`.
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
    let mut least = f64::INFINITY;
    let mut runs = 0;
    while runs < LEAST || began.elapsed() < LONG_ENOUGH {
        least = run()?.min(least);
        runs += 1;
    }
    Ok(least)
}
