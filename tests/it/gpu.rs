//! GPU kernels, on wgpu: each against its composition of tensor operations in float64 on flex, with its gradients, over
//! random shapes; and the number of kernels that an outer step launches.

use crate::common::optional::lacks_wgpu;
use crate::common::{metaburn, relative_error, run_command};
use bilevel::device::{self, Backend};
use bilevel::kernel::{self, Grid, Window, reference};
use bilevel::optimizer::{LeafSettings, Optimizer};
use bilevel::{Dual, OuterLoop, OuterSettings, Params, rng};
use burn::tensor::{DType, Device, Tensor, TensorData};
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};
use std::path::Path;
use std::sync::Arc;

/// The largest relative error of a kernel in float32.
const TOLERANCE: f64 = 2e-5;

/// An operand: its shape, and its values.
type Operand = ([usize; 3], Vec<f64>);

fn wgpu() -> Device {
    device::open(Backend::Wgpu).unwrap().device
}

fn normal(shape: [usize; 3], seed: u64) -> Operand {
    let mut generator = rng::generator(seed, "gpu", 0);
    let count = shape.iter().product();
    // Both float types hold these values.
    let values = (0..count).map(|_| {
        let value: f32 = StandardNormal.sample(&mut generator);
        f64::from(value)
    });
    (shape, values.collect())
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

/// The value of `function` at `operands`, and the gradients of its inner product with a fixed tensor. Operands of one task
/// are expanded to `tasks`, as the weights of θ are.
fn differentiated(
    (device, dtype): (&Device, DType),
    tasks: usize,
    operands: &[Operand],
    function: impl Fn(Vec<Tensor<3>>) -> Tensor<3>,
) -> Vec<Vec<f64>> {
    let leaves: Vec<Tensor<3>> = operands
        .iter()
        .map(|(shape, values)| {
            let data = TensorData::new(values.clone(), *shape);
            Tensor::<3>::from_data(data, (device, dtype)).autodiff().require_grad()
        })
        .collect();
    let expanded = leaves.iter().map(|leaf| {
        let [own, rows, columns] = leaf.dims();
        if own == tasks { leaf.clone() } else { leaf.clone().expand([tasks, rows, columns]) }
    });
    let value = function(expanded.collect());
    let along: Vec<f64> = (0..value.dims().iter().product()).map(|at| f64::sin(at as f64)).collect();
    let along = Tensor::<3>::from_data(TensorData::new(along, value.dims()), (&value.device(), dtype));
    let mut gradients = (value.clone() * along).sum().backward();
    let gradient = |leaf: &Tensor<3>| match leaf.grad_remove(&mut gradients) {
        Some(gradient) => values(gradient),
        None => vec![0.0; leaf.dims().iter().product()],
    };
    std::iter::once(values(value.inner())).chain(leaves.iter().map(gradient)).collect()
}

/// Asserts that both functions have the same value and gradients: the first on wgpu, the second in float64 on flex.
fn assert_same(
    name: &str,
    tasks: usize,
    operands: &[Operand],
    kernel: impl Fn(Vec<Tensor<3>>) -> Tensor<3>,
    composed: impl Fn(Vec<Tensor<3>>) -> Tensor<3>,
) {
    let found = differentiated((&wgpu(), DType::F32), tasks, operands, kernel);
    let expected = differentiated((&Device::flex(), DType::F64), tasks, operands, composed);
    for (at, (found, expected)) in found.iter().zip(&expected).enumerate() {
        let what = if at == 0 { "value".into() } else { format!("gradient of operand {at}") };
        let is_zero = expected.iter().all(|value| *value == 0.0) && found.iter().all(|value| *value == 0.0);
        let error = if is_zero { 0.0 } else { relative_error(found, expected) };
        assert!(error < TOLERANCE, "{what}: off by {error:e}: {name}");
    }
}

/// Value and tangent in one, so that all operands have gradients.
fn mixed([value, tangent]: [Tensor<3>; 2]) -> Tensor<3> {
    value * 0.7 + tangent
}

/// A value and its tangent as one tensor; the value alone if the tangent is zero.
fn joined(dual: Dual<3>) -> Tensor<3> {
    match dual.tangent {
        Some(tangent) => mixed([dual.primal, tangent]),
        None => dual.primal,
    }
}

/// A dual of the operand at `at`, with the tangent at `tangent` if there is one.
fn dual(operands: &[Tensor<3>], at: usize, tangent: Option<usize>) -> Dual<3> {
    Dual { primal: operands[at].clone(), tangent: tangent.map(|at| operands[at].clone()) }
}

#[test]
fn a_product_with_more_rows_than_a_grid_has_cubes_is_complete() {
    if lacks_wgpu() {
        return;
    }
    // 1,166,400 rows in tiles of 16: 72,900 cubes, where WebGPU allows 65,535 along an axis.
    let grid = Arc::new(Grid::new([270, 270], Window { size: 1, stride: 1, padding: 0 }));
    let (images, weights) = (normal([1, 16 * grid.source_pixels(), 1], 1), normal([1, 1, 2], 2));
    let on = |device: &Device, dtype| {
        let tensor = |(shape, values): &Operand| {
            Tensor::<3>::from_data(TensorData::new(values.clone(), *shape), (device, dtype))
        };
        // Only the images are tracked: the gradient of the weights is a sum of 72,900 parts of 16 rows, and Mesa's software
        // renderer ends every loop after 65,535 rounds.
        let (images, weights) = (tensor(&images).autodiff().require_grad(), tensor(&weights).autodiff());
        let value = match dtype {
            DType::F32 => kernel::convolve(images.clone(), weights, &grid),
            _ => reference::convolve(images.clone(), weights, &grid),
        };
        let gradient = images.grad(&value.clone().square().sum().backward()).unwrap();
        [values(value.inner()), values(gradient)]
    };
    let (found, expected) = (on(&wgpu(), DType::F32), on(&Device::flex(), DType::F64));
    for (found, expected) in found.iter().zip(&expected) {
        let error = relative_error(found, expected);
        assert!(error < TOLERANCE, "off by {error:e}");
    }
}

#[test]
fn convolutions_and_their_pairs_match_their_reference() {
    if lacks_wgpu() {
        return;
    }
    for index in 0..6 {
        let mut random = rng::generator(1, "convolution", index);
        let mut draw = |from: usize, to: usize| random.random_range(from..=to);
        let (tasks, images) = (draw(1, 3), draw(1, 7));
        let window = Window { size: draw(1, 5), stride: draw(1, 3), padding: draw(0, 2) };
        let (height, width) = (draw(5, 9), draw(5, 9));
        let (channels, filters) = (draw(1, 20), draw(1, 70));
        let grid = Arc::new(match draw(0, 5) {
            0 => Grid::pointwise(),
            _ => Grid::new([height, width], window),
        });
        let x = [tasks, images * grid.source_pixels(), channels];
        // Weights of one task are θ's.
        let w = [if index % 3 == 0 { 1 } else { tasks }, grid.taps() * channels, filters];
        let operands: Vec<Operand> =
            [x, w, x, w].into_iter().zip(10 * index..).map(|(s, seed)| normal(s, seed)).collect();
        let name =
            format!("{tasks} tasks, {images} images, {height}x{width}, {window:?}, {channels} to {filters}");

        assert_same(
            &name,
            tasks,
            &operands[..2],
            |x| kernel::convolve(x[0].clone(), x[1].clone(), &grid),
            |x| reference::convolve(x[0].clone(), x[1].clone(), &grid),
        );
        assert_same(
            &format!("two, {name}"),
            tasks,
            &operands,
            |x| kernel::convolve_two([x[0].clone(), x[1].clone()], [x[2].clone(), x[3].clone()], &grid),
            |x| {
                reference::convolve(x[0].clone(), x[1].clone(), &grid)
                    + reference::convolve(x[2].clone(), x[3].clone(), &grid)
            },
        );
        // Images, or weights, or both may move.
        let tangents = [[Some(2), Some(3)], [Some(2), None], [None, Some(3)]][index as usize % 3];
        let of = |x: &[Tensor<3>], w: usize, v: usize| reference::convolve(x[v].clone(), x[w].clone(), &grid);
        assert_same(
            &format!("tangents {tangents:?}, {name}"),
            tasks,
            &operands,
            |x| joined(dual(&x, 0, tangents[0]).convolve(dual(&x, 1, tangents[1]), &grid)),
            |x| {
                let terms = [tangents[0].map(|v| of(&x, 1, v)), tangents[1].map(|w| of(&x, w, 0))];
                let tangent = terms.into_iter().flatten().reduce(|a, b| a + b);
                mixed([of(&x, 1, 0), tangent.unwrap()])
            },
        );
    }
}

#[test]
fn norm_relu_and_its_pair_match_the_composed_rules() {
    if lacks_wgpu() {
        return;
    }
    for index in 0..6 {
        let mut random = rng::generator(1, "norm", index);
        let mut draw = |from: usize, to: usize| random.random_range(from..=to);
        let (tasks, rows, width) = (draw(1, 3), draw(2, 600), draw(1, 40));
        let counted = if index / 2 % 2 == 0 { rows } else { draw(2, rows) };
        let slope = [0.0, 0.01, 0.3, 1.0][index as usize % 4];
        let leaf = [if index % 3 == 0 { 1 } else { tasks }, 1, width];
        let shapes = [[tasks, rows, width], leaf, leaf, [tasks, rows, width], leaf, leaf];
        let operands: Vec<Operand> =
            shapes.into_iter().zip(10 * index..).map(|(s, seed)| normal(s, seed)).collect();
        // All move, or only images, or only weights.
        let moving = [[Some(3), Some(4), Some(5)], [Some(3), None, None], [None, Some(4), Some(5)]];
        for tangents in [[None; 3], moving[index as usize % 3]] {
            let name = format!("{tasks}x{rows}x{width}, {counted} counted, slope {slope}, {tangents:?}");
            let operands = if tangents == [None; 3] { &operands[..3] } else { &operands };
            let duals = |x: &[Tensor<3>]| [0, 1, 2].map(|at| dual(x, at, tangents[at]));
            assert_same(
                &name,
                tasks,
                operands,
                |x| {
                    let [x, gamma, beta] = duals(&x);
                    assert!(kernel::is_fused(&x.primal));
                    joined(x.batch_norm_leaky_relu(gamma, beta, counted, 1e-5, slope))
                },
                |x| {
                    let [x, gamma, beta] = duals(&x);
                    joined(x.batch_norm(gamma, beta, counted, 1e-5).leaky_relu(slope))
                },
            );
        }
    }
}

#[test]
fn max_pooling_and_its_tangent_match_their_reference() {
    if lacks_wgpu() {
        return;
    }
    for index in 0..4 {
        let mut random = rng::generator(1, "pooling", index);
        let mut draw = |from: usize, to: usize| random.random_range(from..=to);
        let (tasks, images, channels) = (draw(1, 3), draw(1, 4), draw(1, 40));
        let window = Window { size: draw(1, 3), stride: draw(1, 3), padding: 0 };
        let (height, width) = (draw(3, 9), draw(3, 9));
        let grid = Arc::new(Grid::new([height, width], window));
        let shape = [tasks, images * height * width, channels];
        let (mut x, v) = (normal(shape, 2 * index), normal(shape, 2 * index + 1));
        if index % 2 == 0 {
            // Equal values are frequent.
            x.1.iter_mut().for_each(|value| *value = (1.5 * *value).round());
        }
        let name = format!("{tasks} tasks, {images} images, {height}x{width}, {window:?}, {channels}");
        assert_same(
            &name,
            tasks,
            &[x, v],
            |x| {
                mixed([
                    kernel::max_pool(x[0].clone(), &grid),
                    kernel::max_pool_tangent(x[0].clone(), x[1].clone(), &grid),
                ])
            },
            |x| {
                mixed([
                    reference::max_pool(x[0].clone(), x[0].clone(), &grid),
                    reference::max_pool(x[0].clone(), x[1].clone(), &grid),
                ])
            },
        );
    }
}

#[test]
fn the_heads_cross_entropy_and_its_tangent_match_the_composed_rules() {
    if lacks_wgpu() {
        return;
    }
    for index in 0..4 {
        let mut random = rng::generator(1, "head", index);
        let mut draw = |from: usize, to: usize| random.random_range(from..=to);
        // The last has too many logits for the kernel.
        let rows = if index == 3 { 400 } else { draw(1, 60) };
        let (tasks, width, classes) = (draw(1, 3), draw(1, 90), if index == 3 { 10 } else { draw(2, 21) });
        let head = if index % 3 == 0 { 1 } else { tasks };
        let shapes = [[tasks, rows, width], [head, width, classes], [head, 1, classes]];
        let shapes = shapes.into_iter().chain(shapes).zip(10 * index..);
        let operands: Vec<Operand> = shapes.map(|(shape, seed)| normal(shape, seed)).collect();
        let one_hot = |like: &Tensor<3>| {
            let classes_of = (0..tasks * rows)
                .flat_map(|at| (0..classes).map(move |class| f64::from(u8::from(at * 7 % classes == class))));
            let data = TensorData::new(classes_of.collect::<Vec<f64>>(), [tasks, rows, classes]);
            Tensor::<3>::from_data(data, (&like.device(), like.dtype()))
        };
        let loss = |x: &[Tensor<3>], tangents: [Option<usize>; 3], fused: bool| {
            let targets = one_hot(&x[0]);
            let [x, weight, bias] = [0, 1, 2].map(|at| dual(x, at, tangents[at]));
            let loss = match fused {
                true => x.linear_cross_entropy(weight, bias, &targets),
                false => (x.matmul(weight) + bias).cross_entropy(&targets),
            };
            joined(loss.linear(|loss| loss.reshape([tasks, 1, 1])))
        };
        let moving = [[Some(3), Some(4), Some(5)], [None, Some(4), Some(5)]];
        for tangents in [[None; 3], moving[index as usize % 2]] {
            let operands = if tangents == [None; 3] { &operands[..3] } else { &operands };
            let name = format!("{tasks}x{rows}x{width}, {classes} classes, {tangents:?}");
            assert_same(&name, tasks, operands, |x| loss(&x, tangents, true), |x| loss(&x, tangents, false));
        }
    }
}

#[test]
fn nan_passes_through_kernels() {
    if lacks_wgpu() {
        return;
    }
    let (device, counted) = (wgpu(), 30);
    let (_, mut x) = normal([1, 30, 20], 1);
    x[4 * 20 + 7] = f64::NAN;
    let x = Tensor::<3>::from_data(TensorData::new(x, [1, 30, 20]), (&device, DType::F32));
    let ones = Dual::constant(Tensor::<3>::ones([1, 1, 20], (&device, DType::F32)));
    let y = Dual::constant(x).batch_norm_relu(ones.clone(), ones, counted, 1e-5).primal;
    let lost = values(y).into_iter().skip(7).step_by(20).filter(|y| !y.is_nan()).count();
    assert_eq!(lost, 0, "the channel's statistics are NaN, so all of its values must be");
}

/// Parameters with leaves of these many rows, of 3 columns.
fn params(device: &Device, dtype: DType, tasks: usize, rows: &[usize], seed: u64) -> Params {
    let leaf = |(rows, seed): (&usize, u64)| {
        let (shape, values) = normal([tasks, *rows, 3], seed);
        Tensor::<3>::from_data(TensorData::new(values, shape), (device, dtype))
    };
    Params::new(rows.iter().zip(seed..).map(leaf).collect())
}

fn all_values(params: &Params) -> Vec<f64> {
    params.leaves().iter().cloned().flat_map(values).collect()
}

#[test]
fn operations_on_all_leaves_match_those_leaf_by_leaf() {
    if lacks_wgpu() {
        return;
    }
    let gpu = wgpu();
    // More leaves than a launch has arguments for; some larger than a cube.
    let rows: Vec<usize> = (1..30).map(|leaf| leaf * leaf % 41 + 1).chain([700]).collect();
    for tasks in [1, 4] {
        let [found, expected] = [(&gpu, DType::F32), (&Device::flex(), DType::F64)].map(|(device, dtype)| {
            let [x, y] = [100, 200].map(|seed| params(device, dtype, tasks, &rows, seed));
            let shared = params(device, dtype, 1, &rows, 300).repeat(tasks);
            let factors: Vec<f64> = (0..tasks).map(|task| task as f64 - 0.5).collect();
            let everything: Vec<usize> = (0..tasks).collect();
            [
                all_values(&(x.clone() + y.clone())),
                all_values(&shared.clone().add_scaled_at(&everything, y.clone(), &vec![-0.3; tasks])),
                all_values(&x.clone().add_scaled_at(&everything, y.clone(), &factors)),
                all_values(&x.clone().scale(&factors)),
                all_values(&x.clone().mean()),
                values(x.clone().dot(y.clone())),
                values(shared.squared_norm()),
            ]
        });
        for (at, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let error = relative_error(found, expected);
            assert!(error < 1e-6, "operation {at}, {tasks} tasks: off by {error:e}");
        }
    }
}

#[test]
fn adam_on_all_leaves_takes_burns_steps_and_resumes() {
    if lacks_wgpu() {
        return;
    }
    let rows = [5, 1, 300, 7];
    let rates = [0.1, 0.2, 0.0, 0.1];
    let run = |device: &Device, dtype, resumes: bool| {
        let optimizer = Optimizer::default();
        let mut theta = params(device, dtype, 1, &rows, 1);
        let mut adam = optimizer.build(0.1, rows.len());
        for step in 0..4 {
            theta = adam.step(theta, params(device, dtype, 1, &rows, 10 + 10 * step), &rates);
            if resumes {
                let state = adam.state();
                adam = optimizer.build(0.1, rows.len());
                adam.restore(state, &theta, device).unwrap();
            }
        }
        all_values(&theta)
    };
    let found = run(&wgpu(), DType::F32, false);
    let error = relative_error(&found, &run(&Device::flex(), DType::F64, false));
    assert!(error < 1e-6, "off by {error:e}");
    assert_eq!(
        found,
        run(&wgpu(), DType::F32, true),
        "a resumed run must be the uninterrupted one, bit for bit"
    );
    let default = LeafSettings::default();
    let settings = OuterSettings { weight_decay: 0.1, ..OuterSettings::default() };
    let theta = params(&wgpu(), DType::F32, 1, &rows, 1);
    let estimator = bilevel::estimator::StepCoinsSettings::default();
    let mut outer = OuterLoop::new(theta, estimator, settings).leaf_settings(vec![default; rows.len()]);
    let mean = params(&wgpu(), DType::F32, 3, &rows, 10).mean();
    let squares = outer.apply(mean.clone(), 0.1).map(values);
    for (square, params) in squares.into_iter().zip([&mean, outer.theta()]) {
        let expected: f64 = params.leaves().iter().flat_map(|leaf| values(leaf.clone())).map(|x| x * x).sum();
        assert!((square[0] / expected - 1.0).abs() < 1e-5, "{square:?}, expected {expected}");
    }
}

#[test]
fn an_outer_step_launches_few_kernels() {
    if lacks_wgpu() {
        return;
    }
    for (config, most, megabytes) in
        [("A", [145.0, 265.0], 1.36), ("L", [145.0, 265.0], 5.46), ("B", [260.0, 500.0], 9.07)]
    {
        // The number depends on the network and on inner steps, not on tasks, images or filters.
        let line = format!(
            "bench --json --launches --config {config} --backend wgpu --reps 1 --estimator exact \
             --set model.filters=4 --set outer.meta_batch=1 --set task.queries=1 --set data.image_size=14"
        );
        let mut command = metaburn(Path::new("."), &line);
        let row = run_command(command.env("CUBECL_AUTOTUNE_LEVEL", "minimal")).json();
        let launches = &row["launches"];
        let total = launches["total"].as_f64().unwrap();
        let phases = launches["phases"].as_array().unwrap();
        let products = phases.iter().find(|phase| phase["phase"] == "products").unwrap();
        let first_order = total - products["total"].as_f64().unwrap();
        assert!(first_order > 50.0 && first_order <= most[0], "{config}, first-order: {launches}");
        assert!(total > first_order && total <= most[1], "{config}, exact: {launches}");
        let host_ms = |counts: &serde_json::Value| counts["host_ms"].as_f64().unwrap();
        assert!(host_ms(launches) > 0.0, "{launches}");
        assert_eq!(launches["read_backs"], 1.0, "{launches}");
        // The values of a step find room in what earlier steps have released. Burn's buffers of sizes and strides grow at first.
        let allocated_mb = |counts: &serde_json::Value| counts["memory"]["allocated_mb"].as_f64().unwrap();
        assert!(allocated_mb(launches) < 0.05, "{launches}");
        let bytes = launches["bytes"].as_f64().unwrap();
        assert!(bytes > 0.9e6 * megabytes && bytes <= 1e6 * megabytes, "{config}: {launches}");
        let graphs = &launches["with_graphs"];
        assert_eq!(graphs["graphs"], 1.0, "{launches}");
        assert!(graphs["total"].as_f64().unwrap() <= 11.0, "{launches}");
        assert!(host_ms(graphs) > 0.0, "{launches}");
        assert!(allocated_mb(graphs) < 0.05, "{launches}");
    }
}

#[test]
fn a_cpu_has_no_launches_to_count() {
    let line = "bench --launches --config C --backend flex --reps 1 --estimator first-order \
                --set model.filters=4 --set outer.meta_batch=2 --set data.image_size=14";
    let ended = run_command(&mut metaburn(Path::new("."), line)).ok();
    assert!(!ended.stdout.contains("launches"), "{}", ended.stdout);
    assert!(
        ended.stderr.contains("launches are counted only for outer steps on a GPU backend"),
        "{}",
        ended.stderr
    );
}
