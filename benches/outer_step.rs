//! Time of one meta-gradient, by estimator and number of inner steps, on the CPU's flex backend:
//! `cargo bench --bench outer_step`.
//!
//! 5-way 1-shot with 5 query images a class, 16 tasks, Conv4-64 (configuration A), and 20-way 1-shot
//! with 1 query image, 4 tasks (configuration B). The optimiser's step is not included.

use burn::tensor::{Distribution, Tensor};
use metaburn::config::{Backend, BatchNorm};
use metaburn::hypergradient::Draw;
use metaburn::model::{Architecture, Conv4Config, initialise};
use metaburn::problem::{Batch, FewShot};
use std::sync::Arc;
use std::time::Instant;

/// The program's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const REPEATS: usize = 9;

fn main() {
    let opened = metaburn::backend::open(Backend::Flex).expect("flex is always there");
    println!("{:>6} {:>3} {:>12} {:>12} {:>12}", "config", "r", "estimator", "median ms", "fastest ms");
    for (name, ways, queries, tasks, steps) in
        [("A", 5, 5, 16, 1), ("A", 5, 5, 16, 5), ("B", 20, 1, 4, 5), ("B", 20, 1, 4, 10)]
    {
        let network: Arc<dyn Architecture> = Arc::new(Conv4Config::new(28, 4, 64, ways));
        let batch = |count: usize| {
            let shape = [tasks, ways * count, 784];
            let images = Tensor::random(shape, Distribution::Default, &opened.device);
            let labels: Vec<usize> =
                (0..tasks * ways * count).map(|at| at % (ways * count) / count).collect();
            Batch::new(&*network, images, &labels, ways)
        };
        let problem = FewShot::new(network.clone(), batch(1), batch(queries), 0.1, BatchNorm::Transductive);
        let theta = initialise(&*network, 0, &opened.device);
        for (estimator, depth) in [("first-order", 0), ("exact", steps)] {
            let draw = Draw::truncated(tasks, steps, depth);
            let mut times: Vec<f64> = (0..REPEATS)
                .map(|_| {
                    let began = Instant::now();
                    let estimate = opened.workers.estimate(&problem, &theta, &draw);
                    std::hint::black_box(estimate.gradient.mean().squared_norm().into_data());
                    1e3 * began.elapsed().as_secs_f64()
                })
                .collect();
            times.sort_by(f64::total_cmp);
            println!("{name:>6} {steps:>3} {estimator:>12} {:>12.0} {:>12.0}", times[REPEATS / 2], times[0]);
        }
    }
}
