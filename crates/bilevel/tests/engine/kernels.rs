//! Every kernel against its composition of plain tensor operations, over random shapes, in float32 and float64: values,
//! gradients, tangents and gradients of tangents.

use super::problems::relative_error;
use bilevel::kernel::{self, Grid, Norm, Window, reference};
use bilevel::{Dual, rng};
use burn::tensor::ops::{AvgPoolOptions, ConvOptions, MaxPoolOptions};
use burn::tensor::{DType, Device, Tensor, TensorData, module};
use rand::RngExt;
use std::sync::Arc;

/// Both float types, and the largest relative error of a kernel.
const TYPES: [(DType, f64); 2] = [(DType::F64, 1e-11), (DType::F32, 2e-4)];

fn normal(shape: [usize; 3], dtype: DType, seed: u64) -> Tensor<3> {
    super::problems::normal(shape, seed).cast(dtype)
}

fn assert_same(what: &str, found: &Tensor<3>, expected: &Tensor<3>, tolerance: f64) {
    assert_eq!(found.dims(), expected.dims(), "{what}");
    assert_eq!(found.dtype(), expected.dtype(), "{what}");
    let values = |tensor: &Tensor<3>| tensor.clone().into_data().iter::<f64>().collect::<Vec<_>>();
    let (found, expected) = (values(found), values(expected));
    let error = relative_error(&found, &expected);
    // Zeros have no relative error.
    assert!(found == expected || error < tolerance, "{what}: off by {error:e}");
}

/// The value of `function` at `inputs`, and the gradients of its inner product with a fixed tensor.
fn differentiated(inputs: &[Tensor<3>], function: impl Fn(&[Tensor<3>]) -> Tensor<3>) -> Vec<Tensor<3>> {
    let leaves: Vec<Tensor<3>> = inputs.iter().map(|x| x.clone().autodiff().require_grad()).collect();
    let value = function(&leaves);
    let along: Vec<f64> = (0..value.dims().iter().product()).map(|at| f64::sin(at as f64)).collect();
    let along = burn::tensor::TensorData::new(along, value.dims());
    let along = Tensor::<3>::from_data(along, (&value.device(), value.dtype()));
    let mut gradients = (value.clone() * along).sum().backward();
    let zeros = |x: &Tensor<3>| x.clone().inner().zeros_like();
    let of = |x: &Tensor<3>| x.grad_remove(&mut gradients).unwrap_or_else(|| zeros(x));
    std::iter::once(value.inner()).chain(leaves.iter().map(of)).collect()
}

/// A random convolution: geometry, and images and weights for it.
fn convolution(index: u64, dtype: DType) -> (String, Arc<Grid>, [Tensor<3>; 2]) {
    let mut random = rng::generator(1, "convolution", index);
    let mut draw = |from: usize, to: usize| random.random_range(from..=to);
    let (tasks, images) = (draw(1, 3), draw(1, 9));
    let window = Window { size: draw(1, 5), stride: draw(1, 3), padding: draw(0, 2) };
    let (height, width) = (draw(5, 9), draw(5, 9));
    let (channels, filters) = (draw(1, 20), draw(1, 70));
    let grid = match draw(0, 5) {
        0 => Grid::pointwise(),
        _ => Grid::new([height, width], window),
    };
    let name = format!(
        "{tasks} tasks, {images} images, {height}x{width}, {window:?}, {channels} to {filters} channels, {} taps, {dtype:?}",
        grid.taps()
    );
    let x = normal([tasks, images * grid.source_pixels(), channels], dtype, 2 * index);
    let w = normal([tasks, grid.taps() * channels, filters], dtype, 2 * index + 1);
    assert_has_kernels(&x);
    (name, Arc::new(grid), [x, w])
}

/// Without a kernel for `x`, a reference would be compared with itself.
fn assert_has_kernels(x: &Tensor<3>) {
    assert!(kernel::is_fused(x) && kernel::is_fused(&x.clone().autodiff()), "{:?} on flex", x.dtype());
}

#[test]
fn convolutions_match_their_reference() {
    for (dtype, tolerance) in TYPES {
        for index in 0..60 {
            let (name, grid, inputs) = convolution(index, dtype);
            let found = differentiated(&inputs, |x| kernel::convolve(x[0].clone(), x[1].clone(), &grid));
            let expected =
                differentiated(&inputs, |x| reference::convolve(x[0].clone(), x[1].clone(), &grid));
            for ((found, expected), what) in found.iter().zip(&expected).zip(["value", "images", "weights"]) {
                assert_same(&format!("{what}, {name}"), found, expected, tolerance);
            }
        }
    }
}

#[test]
fn a_fused_pair_of_convolutions_is_their_sum() {
    for (dtype, tolerance) in TYPES {
        for index in 0..20 {
            let (name, grid, [x, w]) = convolution(index, dtype);
            let inputs = [x.clone(), w.clone(), normal(x.dims(), dtype, 900), normal(w.dims(), dtype, 901)];
            let pairs = |x: &[Tensor<3>]| [[x[0].clone(), x[1].clone()], [x[2].clone(), x[3].clone()]];
            let found = differentiated(&inputs, |x| {
                let [first, second] = pairs(x);
                kernel::convolve_two(first, second, &grid)
            });
            let expected = differentiated(&inputs, |x| {
                let [first, second] = pairs(x).map(|[x, w]| reference::convolve(x, w, &grid));
                first + second
            });
            for (found, expected) in found.iter().zip(&expected) {
                assert_same(&name, found, expected, tolerance);
            }
        }
    }
}

#[test]
fn the_reference_matches_burns_convolution() {
    for index in 0..20 {
        let mut random = rng::generator(2, "convolution", index);
        let mut draw = |from: usize, to: usize| random.random_range(from..=to);
        let (images, channels, filters) = (draw(1, 4), draw(1, 5), draw(1, 5));
        let (size, stride, padding) = (draw(1, 5), draw(1, 3), draw(0, 2));
        let [height, width] = [draw(5, 9), draw(5, 9)];
        let grid = Grid::new([height, width], Window { size, stride, padding });
        let x = normal([images, height * width, channels], DType::F64, 2 * index);
        let w = normal([1, size * size * channels, filters], DType::F64, 2 * index + 1);
        let image = x.clone().reshape([images, height, width, channels]).permute([0, 3, 1, 2]);
        let weight = w.clone().reshape([size, size, channels, filters]).permute([3, 2, 0, 1]);
        let options = ConvOptions::new([stride; 2], [padding; 2], [1, 1], 1);
        let expected = module::conv2d(image, weight, None, options).permute([0, 2, 3, 1]);
        let expected = expected.reshape([1, images * grid.target_pixels(), filters]);
        let found = reference::convolve(x.reshape([1, images * height * width, channels]), w, &grid);
        assert_same(&format!("{height}x{width}, {size}, {stride}, {padding}"), &found, &expected, 1e-12);
    }
}

/// A random max-pooling: geometry, and images for it. Equal values are frequent if `ties`.
fn pooling(index: u64, dtype: DType, ties: bool) -> (String, Arc<Grid>, [Tensor<3>; 2]) {
    let mut random = rng::generator(1, "pooling", index);
    let mut draw = |from: usize, to: usize| random.random_range(from..=to);
    let (tasks, images, channels) = (draw(1, 3), draw(1, 4), draw(1, 40));
    let window = Window { size: draw(1, 3), stride: draw(1, 3), padding: 0 };
    let (height, width) = (draw(3, 9), draw(3, 9));
    let grid = Grid::new([height, width], window);
    let name = format!("{tasks} tasks, {images} images, {height}x{width}, {window:?}, {channels}, {dtype:?}");
    let shape = [tasks, images * height * width, channels];
    let x = normal(shape, dtype, 2 * index);
    let x = if ties { (x * 1.5).round() } else { x };
    assert_has_kernels(&x);
    (name, Arc::new(grid), [x, normal(shape, dtype, 2 * index + 1)])
}

#[test]
fn max_pooling_and_its_tangent_match_their_reference() {
    for (dtype, tolerance) in TYPES {
        for index in 0..40 {
            let (name, grid, inputs) = pooling(index, dtype, index % 2 == 0);
            let reference = |x: &Tensor<3>, v: &Tensor<3>| reference::max_pool(x.clone(), v.clone(), &grid);
            let value = differentiated(&inputs[..1], |x| kernel::max_pool(x[0].clone(), &grid));
            let tangent =
                differentiated(&inputs, |x| kernel::max_pool_tangent(x[0].clone(), x[1].clone(), &grid));
            let expected = differentiated(&inputs[..1], |x| reference(&x[0], &x[0]));
            let expected_tangent = differentiated(&inputs, |x| reference(&x[0], &x[1]));
            let found = value.iter().chain(&tangent).zip(expected.iter().chain(&expected_tangent));
            for ((found, expected), what) in
                found.zip(["value", "gradient", "tangent", "x of the tangent", "tangent of the tangent"])
            {
                assert_same(&format!("{what}, {name}"), found, expected, tolerance);
            }
        }
    }
}

#[test]
fn max_and_mean_pooling_match_burns() {
    for index in 0..20 {
        let mut random = rng::generator(2, "pooling", index);
        let mut draw = |from: usize, to: usize| random.random_range(from..=to);
        let (images, channels, size, stride) = (draw(1, 3), draw(1, 9), draw(1, 3), draw(1, 3));
        let [height, width] = [draw(3, 9), draw(3, 9)];
        let grid = Grid::new([height, width], Window { size, stride, padding: 0 });
        let x = normal([1, images * height * width, channels], DType::F64, index);
        let image = x.clone().reshape([images, height, width, channels]).permute([0, 3, 1, 2]);
        let rows =
            |y: Tensor<4>| y.permute([0, 2, 3, 1]).reshape([1, images * grid.target_pixels(), channels]);
        let largest =
            module::max_pool2d(image.clone(), MaxPoolOptions::new([size; 2]).with_stride([stride; 2]));
        let mean = module::avg_pool2d(image, AvgPoolOptions::new([size; 2]).with_stride([stride; 2]));
        let name = format!("{height}x{width}, {size}, {stride}");
        assert_same(&name, &reference::max_pool(x.clone(), x.clone(), &grid), &rows(largest), 1e-15);
        assert_same(&name, &reference::mean_pool(x, &grid), &rows(mean), 1e-14);
    }
}

#[test]
fn of_equal_values_the_first_takes_the_derivative_and_nan_is_the_largest() {
    let grid = Arc::new(Grid::new([2; 2], Window { size: 2, stride: 2, padding: 0 }));
    let nan = f64::NAN;
    // Four values of a window, the largest value, and its place.
    let windows = [
        ([3.0, 3.0, 1.0, 3.0], 3.0, 0),
        ([1.0, 2.0, 2.0, 0.0], 2.0, 1),
        ([-1.0, -2.0, -1.0, -0.5], -0.5, 3),
        ([0.0, -0.0, 0.0, 0.0], 0.0, 0),
        ([1.0, nan, 2.0, nan], nan, 1),
        ([nan, 5.0, 6.0, 7.0], nan, 0),
        ([f64::NEG_INFINITY; 4], f64::NEG_INFINITY, 0),
        ([1.0, 2.0, f64::INFINITY, nan], nan, 3),
    ];
    let values: Vec<f64> = (0..4).flat_map(|at| windows.iter().map(move |(window, ..)| window[at])).collect();
    for dtype in [DType::F64, DType::F32] {
        let data = TensorData::new(values.clone(), [1, 4, windows.len()]);
        let x = Tensor::<3>::from_data(data, (&Device::flex(), dtype));
        let composed = |x: Tensor<3>| reference::max_pool(x.clone(), x, &grid);
        let kernel = |x: Tensor<3>| kernel::max_pool(x, &grid);
        for (name, function) in
            [("composed", &composed as &dyn Fn(Tensor<3>) -> Tensor<3>), ("kernel", &kernel)]
        {
            let leaf = x.clone().autodiff().require_grad();
            let y = function(leaf.clone());
            let gradient = leaf.grad(&y.clone().sum().backward()).unwrap();
            let [y, gradient] =
                [y.inner(), gradient].map(|tensor| tensor.into_data().iter::<f64>().collect::<Vec<_>>());
            for (at, (window, largest, place)) in windows.iter().enumerate() {
                assert!(y[at] == *largest || y[at].is_nan() && largest.is_nan(), "{name}: {window:?}");
                let own: Vec<f64> = (0..4).map(|pixel| gradient[pixel * windows.len() + at]).collect();
                let expected: Vec<f64> = (0..4).map(|pixel| f64::from(pixel == *place)).collect();
                assert_eq!(own, expected, "{name}: {window:?}");
            }
        }
    }
}

#[test]
#[should_panic(expected = "inside the image")]
fn max_pooling_refuses_padding() {
    let grid = Arc::new(Grid::new([2; 2], Window { size: 2, stride: 2, padding: 1 }));
    kernel::max_pool(normal([1, 4, 1], DType::F64, 1), &grid);
}

/// Asserts that `work` panics for this reason.
fn assert_refused(reason: &str, work: impl FnOnce()) {
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).expect_err(reason);
    let message = panic.downcast_ref::<String>().expect("a formatted message");
    assert!(message.contains(reason), "{message}");
}

#[test]
fn rows_that_are_not_those_of_whole_images_are_refused() {
    let grid = Arc::new(Grid::new([2; 2], Window { size: 2, stride: 2, padding: 0 }));
    // Two tasks of one image and a half.
    let x = || normal([2, 6, 3], DType::F64, 1);
    let w = || normal([2, 12, 1], DType::F64, 2);
    let whole = || normal([2, 4, 3], DType::F64, 3);
    let all: [&dyn Fn(); 7] = [
        &|| drop(kernel::convolve(x(), w(), &grid)),
        &|| drop(kernel::convolve_two([whole(), w()], [x(), w()], &grid)),
        &|| drop(kernel::max_pool(x(), &grid)),
        &|| drop(kernel::max_pool_tangent(x(), x(), &grid)),
        &|| drop(reference::convolve(x(), w(), &grid)),
        &|| drop(reference::max_pool(x(), x(), &grid)),
        &|| drop(reference::mean_pool(x(), &grid)),
    ];
    all.into_iter().for_each(|work| assert_refused("6 rows are not those of whole images of 4 pixels", work));
    assert_refused("a tangent has the shape of its value", || {
        drop(kernel::max_pool_tangent(whole(), normal([2, 8, 3], DType::F64, 4), &grid));
    });
}

#[test]
fn batch_norm_refuses_more_counted_rows_than_there_are() {
    let norm = Norm { counted: 5, epsilon: 1e-5, negative_slope: 0.0 };
    let x = || normal([1, 4, 3], DType::F64, 1);
    let weights = || [2, 3].map(|seed| normal([1, 1, 3], DType::F64, seed));
    let all: [&dyn Fn(); 3] = [
        &|| drop(kernel::norm_relu(x(), weights(), norm)),
        &|| drop(kernel::norm_relu_tangent(x(), weights(), x(), weights(), norm)),
        &|| drop(kernel::norm_relu_pair(x(), weights(), [Some(x()), None, None], norm)),
    ];
    all.into_iter().for_each(|work| assert_refused("from 5 of 4 rows", work));
}

/// Slopes below zero: of ReLU, of two leaky ReLUs, and of the identity.
const SLOPES: [f64; 4] = [0.0, 0.01, 0.3, 1.0];

/// Batch norm and leaky ReLU; if `moving`, its value combined with its tangent, so that all six inputs have gradients.
fn norm_relu(x: &[Tensor<3>], rows: usize, slope: f64, moving: bool, fused: bool) -> Tensor<3> {
    let dual = |at: usize| match moving {
        true => Dual::moving(x[at].clone(), x[at + 3].clone()),
        false => Dual::constant(x[at].clone()),
    };
    let (x, gamma, beta) = (dual(0), dual(1), dual(2));
    let out = match fused {
        true => x.batch_norm_leaky_relu(gamma, beta, rows, 1e-5, slope),
        false => x.batch_norm(gamma, beta, rows, 1e-5).leaky_relu(slope),
    };
    match out.tangent {
        None => out.primal,
        Some(tangent) => out.primal * 0.7 + tangent,
    }
}

#[test]
fn fused_norm_relu_and_its_tangent_match_the_composed_rules() {
    for (dtype, tolerance) in TYPES {
        for index in 0..40 {
            let mut random = rng::generator(1, "norm", index);
            let mut draw = |from: usize, to: usize| random.random_range(from..=to);
            let (tasks, rows, width) = (draw(1, 3), draw(2, 600), draw(1, 40));
            let counted = if index % 2 == 0 { rows } else { draw(2, rows) };
            let slope = SLOPES[index as usize / 2 % 4];
            let shapes = [[tasks, rows, width], [tasks, 1, width], [tasks, 1, width]];
            let shapes = shapes.iter().chain(&shapes).zip(100 * index..);
            let inputs: Vec<Tensor<3>> = shapes.map(|(shape, seed)| normal(*shape, dtype, seed)).collect();
            assert_has_kernels(&inputs[0]);
            for moving in [false, true] {
                let found = differentiated(&inputs, |x| norm_relu(x, counted, slope, moving, true));
                let expected = differentiated(&inputs, |x| norm_relu(x, counted, slope, moving, false));
                // Without tangents there are no gradients in the directions.
                let count = if moving { 7 } else { 4 };
                let names = ["value", "x", "gamma", "beta", "x along", "gamma along", "beta along"];
                for ((found, expected), what) in found.iter().zip(&expected).zip(names).take(count) {
                    let name = format!(
                        "{what}: {tasks}x{rows}x{width}, {counted} counted, slope {slope}, {moving}, {dtype:?}"
                    );
                    assert_same(&name, found, expected, tolerance);
                }
            }
        }
    }
}

#[test]
fn nan_passes_through_norm_relu() {
    for dtype in [DType::F64, DType::F32] {
        let ones = Dual::constant(Tensor::<3>::ones([1, 1, 20], (&burn::tensor::Device::flex(), dtype)));
        let x = normal([1, 30, 20], dtype, 1).slice_fill([0..1, 4..5, 7..8], f64::NAN);
        let y = Dual::constant(x).batch_norm_relu(ones.clone(), ones, 30, 1e-5).primal;
        let lost = y.into_data().iter::<f64>().skip(7).step_by(20).filter(|y| !y.is_nan()).count();
        assert_eq!(lost, 0, "the channel's statistics are NaN, so all of its values must be");
    }
    // Squares that are not finite, of values that are.
    let device = burn::tensor::Device::flex();
    let one = Dual::constant(Tensor::<3>::ones([1, 1, 1], (&device, DType::F32)));
    let x = Tensor::<3>::full([1, 4, 1], 1e20, (&device, DType::F32)).slice_fill([0..1, 0..1, 0..1], 0.0);
    let y = Dual::constant(x).batch_norm_relu(one.clone(), one, 4, 1e-5).primal;
    assert!(y.into_data().iter::<f64>().all(f64::is_nan));
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let (_, grid, [x, w]) = convolution(3, DType::F32);
    let run = || {
        let gradients = differentiated(&[x.clone(), w.clone()], |x| {
            let y = kernel::convolve(x[0].clone(), x[1].clone(), &grid);
            let weights = Tensor::ones([y.dims()[0], 1, y.dims()[2]], &y.device());
            let rows = y.dims()[1];
            Dual::constant(y)
                .batch_norm_relu(Dual::constant(weights.clone()), Dual::constant(weights), rows, 1e-5)
                .primal
        });
        gradients.into_iter().map(Tensor::into_data).collect::<Vec<_>>()
    };
    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let alone = pool(1).install(run);
    for threads in [2, 5] {
        assert_eq!(pool(threads).install(run), alone, "{threads} threads");
    }
}
