//! Every kernel compared with its composition of plain tensor operations, on one thread, at the sizes of the blocks of
//! Conv4-64: `cargo bench --bench kernels`.
//!
//! The kernel and its composition run in turn. Printed are the median time of a call of each, in microseconds, their
//! ratio, and the kernel's throughput: GFLOP/s for a convolution (a multiply-add is two), and 10⁹ values per second for
//! an activation or a pooling.

use bilevel::kernel::{self, Grid, Window, reference};
use bilevel::{Dual, Params};
use burn::tensor::{Device, Distribution, Tensor};
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

/// Timed calls of each function.
const CALLS: usize = 41;

/// Times `kernel` and `composed` in turn, and prints a row. A call of either does `work` operations.
fn compare(name: &str, work: usize, kernel: impl Fn() -> Tensor<3>, composed: impl Fn() -> Tensor<3>) {
    let seconds = |function: &dyn Fn() -> Tensor<3>| {
        let start = Instant::now();
        drop(black_box(function()));
        start.elapsed().as_secs_f64()
    };
    let mut times: Vec<[f64; 2]> = (0..CALLS).map(|_| [seconds(&kernel), seconds(&composed)]).collect();
    let [kernel, composed] = [0, 1].map(|side| {
        times.sort_by(|a, b| a[side].total_cmp(&b[side]));
        times[CALLS / 2][side]
    });
    let (ratio, rate) = (composed / kernel, 1e-9 * work as f64 / kernel);
    println!("| {name} | {:.0} | {:.0} | {ratio:.1} | {rate:.1} |", 1e6 * kernel, 1e6 * composed);
}

/// Computes the gradients of the sum of `function` with respect to all `inputs`, and returns the last of them.
fn gradients(inputs: &[&Tensor<3>], function: impl Fn(&[Tensor<3>]) -> Tensor<3>) -> Tensor<3> {
    let leaves = inputs.iter().map(|x| (*x).clone()).collect();
    let leaves = Params::new(leaves).map(|leaf| leaf.autodiff().require_grad());
    let loss = function(leaves.leaves()).sum();
    let [found] = Params::gradients([&leaves], loss);
    found.map(|found| found.into_leaves().swap_remove(inputs.len() - 1)).unwrap_or_else(|| inputs[0].clone())
}

fn convolutions() {
    for (side, images) in [(14, 5), (7, 5), (4, 5), (14, 20), (14, 25)] {
        let grid = Arc::new(Grid::new([side; 2], Window { size: 3, stride: 2, padding: 1 }));
        let (x, w) = (random([1, images * side * side, FILTERS]), random([1, 9 * FILTERS, FILTERS]));
        let name = format!("convolution {side}x{side}, {images} images");
        let flop = 2 * 9 * images * grid.target_pixels() * FILTERS * FILTERS;
        let kernel = || kernel::convolve(x.clone(), w.clone(), &grid);
        compare(&name, flop, kernel, || reference::convolve(x.clone(), w.clone(), &grid));
        let of = |function: fn(Tensor<3>, Tensor<3>, &Arc<Grid>) -> Tensor<3>| {
            gradients(&[&x, &w], |x| function(x[0].clone(), x[1].clone(), &grid))
        };
        let reference = || of(|x, w, grid| reference::convolve(x, w, grid));
        compare(&format!("{name}, with gradients"), 3 * flop, || of(kernel::convolve), reference);
    }
}

fn norms() {
    for rows in [980, 245, 20, 4900] {
        let shapes = [[1, rows, FILTERS], [1, 1, FILTERS], [1, 1, FILTERS]];
        let inputs: Vec<Tensor<3>> = shapes.iter().chain(&shapes).map(|shape| random(*shape)).collect();
        let (name, values) = (format!("norm and relu, {rows} rows"), rows * FILTERS);
        let fused = |x: &[Dual<3>]| x[0].clone().batch_norm_relu(x[1].clone(), x[2].clone(), rows, 1e-5);
        let composed = |x: &[Dual<3>]| x[0].clone().batch_norm(x[1].clone(), x[2].clone(), rows, 1e-5).relu();
        let constant = |x: &[Tensor<3>]| x[..3].iter().cloned().map(Dual::constant).collect::<Vec<_>>();
        let moving = |x: &[Tensor<3>]| -> Vec<Dual<3>> {
            let pairs = x[..3].iter().cloned().zip(x[3..].iter().cloned());
            pairs.map(|(x, tangent)| Dual::moving(x, tangent)).collect()
        };
        let tangent = |out: Dual<3>| out.tangent.unwrap_or(out.primal);
        let few: Vec<&Tensor<3>> = inputs[..3].iter().collect();
        let all: Vec<&Tensor<3>> = inputs.iter().collect();
        let value = || fused(&constant(&inputs)).primal;
        compare(&name, values, value, || composed(&constant(&inputs)).primal);
        let value = || gradients(&few, |x| fused(&constant(x)).primal);
        let reference = || gradients(&few, |x| composed(&constant(x)).primal);
        compare(&format!("{name}, with gradients"), values, value, reference);
        let value = || gradients(&all, |x| tangent(fused(&moving(x))));
        let reference = || gradients(&all, |x| tangent(composed(&moving(x))));
        compare(&format!("{name}, tangent with gradients"), values, value, reference);
    }
}

fn max_pools() {
    for (side, images) in [(28, 5), (14, 5), (7, 5), (28, 20)] {
        let grid = Arc::new(Grid::new([side; 2], Window { size: 2, stride: 2, padding: 0 }));
        let x = random([1, images * side * side, FILTERS]);
        let (name, values) =
            (format!("max-pool {side}x{side}, {images} images"), images * side * side * FILTERS);
        let composed = |x: Tensor<3>| reference::max_pool(x.clone(), x, &grid);
        let kernel = |x: Tensor<3>| kernel::max_pool(x, &grid);
        compare(&name, values, || kernel(x.clone()), || composed(x.clone()));
        let of = |function: &dyn Fn(Tensor<3>) -> Tensor<3>| gradients(&[&x], |x| function(x[0].clone()));
        compare(&format!("{name}, with gradients"), values, || of(&kernel), || of(&composed));
    }
}

fn main() {
    let single = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread can be started");
    println!("| operation | kernel, us | composed, us | ratio | 1e9/s |");
    println!("|---|---|---|---|---|");
    single.install(|| {
        convolutions();
        norms();
        max_pools();
    });
}
