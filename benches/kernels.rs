//! Every kernel compared with its composition of plain tensor operations, on one thread, at the sizes of the blocks of
//! Conv4-64: `cargo bench --bench kernels`.
//!
//! Throughput: an element is one floating-point operation of a convolution (a multiply-add is two), or one value of an
//! activation.

use bilevel::kernel::{self, Grid, reference};
use bilevel::{Dual, Params};
use burn::tensor::{Device, Distribution, Tensor};
use criterion::{
    BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime,
};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

/// The allocator of the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const FILTERS: usize = 64;

fn random(shape: [usize; 3]) -> Tensor<3> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), &Device::flex())
}

/// Measures `work` on one thread.
fn time(group: &mut BenchmarkGroup<WallTime>, name: &str, work: impl Fn() -> Tensor<3> + Sync) {
    group.bench_function(name, |bencher| {
        let single = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread can be started");
        bencher.iter_custom(|times| {
            single.install(|| {
                let start = Instant::now();
                (0..times).for_each(|_| drop(black_box(work())));
                start.elapsed()
            })
        });
    });
}

/// Computes the gradients of the sum of `function` with respect to all `inputs`, and returns the last of them.
fn gradients(inputs: &[&Tensor<3>], function: impl Fn(&[Tensor<3>]) -> Tensor<3>) -> Tensor<3> {
    let leaves = inputs.iter().map(|x| (*x).clone()).collect();
    let leaves = Params::new(leaves).map(|leaf| leaf.autodiff().require_grad());
    let loss = function(leaves.leaves()).sum();
    let [found] = Params::gradients([&leaves], loss);
    found.map(|found| found.into_leaves().swap_remove(inputs.len() - 1)).unwrap_or_else(|| inputs[0].clone())
}

fn convolutions(criterion: &mut Criterion) {
    for (side, images) in [(14, 5), (7, 5), (4, 5), (14, 20), (14, 25)] {
        let grid = Arc::new(Grid::new(side, side, 2, 1));
        let (x, w) = (random([1, images * side * side, FILTERS]), random([1, 9 * FILTERS, FILTERS]));
        let mut group = criterion.benchmark_group(format!("convolution {side}x{side}, {images} images"));
        let flop = 2 * 9 * images * grid.target_pixels() * FILTERS * FILTERS;
        group.throughput(Throughput::Elements(flop as u64));
        time(&mut group, "kernel", || kernel::convolve(x.clone(), w.clone(), &grid));
        time(&mut group, "reference", || reference::convolve(x.clone(), w.clone(), &grid));
        group.throughput(Throughput::Elements(3 * flop as u64));
        let of = |function: fn(Tensor<3>, Tensor<3>, &Arc<Grid>) -> Tensor<3>| {
            gradients(&[&x, &w], |x| function(x[0].clone(), x[1].clone(), &grid))
        };
        time(&mut group, "kernel, with gradients", || of(kernel::convolve));
        time(&mut group, "reference, with gradients", || of(|x, w, grid| reference::convolve(x, w, grid)));
        group.finish();
    }
}

fn norms(criterion: &mut Criterion) {
    for rows in [980, 245, 20, 4900] {
        let shapes = [[1, rows, FILTERS], [1, 1, FILTERS], [1, 1, FILTERS]];
        let inputs: Vec<Tensor<3>> = shapes.iter().chain(&shapes).map(|shape| random(*shape)).collect();
        let mut group = criterion.benchmark_group(format!("norm and relu, {rows} rows"));
        group.throughput(Throughput::Elements((rows * FILTERS) as u64));
        let fused = |x: &[Dual<3>]| x[0].clone().batch_norm_relu(x[1].clone(), x[2].clone(), rows, 1e-5);
        let composed = |x: &[Dual<3>]| x[0].clone().batch_norm(x[1].clone(), x[2].clone(), rows, 1e-5).relu();
        let constant = |x: &[Tensor<3>]| x[..3].iter().cloned().map(Dual::constant).collect::<Vec<_>>();
        let moving = |x: &[Tensor<3>]| {
            x[..3]
                .iter()
                .cloned()
                .zip(x[3..].iter().cloned())
                .map(|(x, d)| Dual::moving(x, d))
                .collect::<Vec<_>>()
        };
        let tangent = |out: Dual<3>| out.tangent.unwrap_or(out.primal);
        let few: Vec<&Tensor<3>> = inputs[..3].iter().collect();
        let all: Vec<&Tensor<3>> = inputs.iter().collect();
        time(&mut group, "kernel", || fused(&constant(&inputs)).primal);
        time(&mut group, "reference", || composed(&constant(&inputs)).primal);
        time(&mut group, "kernel, with gradients", || gradients(&few, |x| fused(&constant(x)).primal));
        time(&mut group, "reference, with gradients", || gradients(&few, |x| composed(&constant(x)).primal));
        time(&mut group, "kernel, tangent with gradients", || {
            gradients(&all, |x| tangent(fused(&moving(x))))
        });
        time(&mut group, "reference, tangent with gradients", || {
            gradients(&all, |x| tangent(composed(&moving(x))))
        });
        group.finish();
    }
}

criterion_group! {
    name = kernels;
    config = Criterion::default().sample_size(20);
    targets = convolutions, norms
}
criterion_main!(kernels);
