//! Kernels for flex, Burn's CPU backend, in `f32` and `f64`.
#![allow(unsafe_code)] // SIMD loads and stores without bounds checks, and uninitialised output buffers

mod columns;
mod convolution;
mod isa;
mod max_pool;
mod norm_relu;
mod tile;
mod transpose;
mod uninit;

pub use isa::{InstructionSet, instruction_set};
pub use norm_relu::Norm;

use super::{Grid, threads};
use burn::backend::{Flex, TensorMetadata, tensor::FloatTensor};
use burn::tensor::{DType, TensorData};
use convolution::Sizes;
use norm_relu::WeightGradients;
use std::borrow::Cow;
use tile::Number;
use uninit::{UninitBuffer, UninitSlice};

/// A tensor of the flex backend.
pub type Values = FloatTensor<Flex>;

/// Calls `work::<T>(…)` with the float type T of the tensor `$like`.
macro_rules! typed {
    ($like:expr, $work:ident($($argument:expr),*)) => {
        match $like.dtype() {
            DType::F32 => $work::<f32>($($argument),*),
            DType::F64 => $work::<f64>($($argument),*),
            // `kernel::is_fused` is false for every other type.
            other => unreachable!("no kernel for {other:?}"),
        }
    };
}

/// Whether there are kernels for this type.
pub fn supports(dtype: DType) -> bool {
    matches!(dtype, DType::F32 | DType::F64)
}

/// The sum of the convolutions of each `(images, weights)` pair: `[tasks, n·targets, filters]`.
pub fn convolve(grid: &Grid, terms: &[(&Values, &Values)]) -> Values {
    fn work<T: Number>(grid: &Grid, terms: &[(&Values, &Values)]) -> Values {
        let [tasks, rows, channels] = dims(terms[0].0);
        let [_, _, filters] = dims(terms[0].1);
        let images = rows / grid.source_pixels();
        let sizes = Sizes { tasks, images, channels, filters };
        let shape = [tasks, images * grid.target_pixels(), filters];
        let mut y = uninit::<T>(shape);
        for (index, (images, weights)) in terms.iter().enumerate() {
            let (images, weights) = (slice(images), slice(weights));
            // SAFETY: the first term writes every value, so the second adds to initialised values.
            unsafe { convolution::forward(grid, sizes, &images, &weights, y.as_mut_slice(), index > 0) };
        }
        // SAFETY: the convolution writes every value.
        unsafe { assume_init(y, shape) }
    }
    typed!(terms[0].0, work(grid, terms))
}

/// The gradient with respect to the images, given the `gradient` of their convolution with `weights`.
pub fn input_gradient(grid: &Grid, gradient: &Values, weights: &Values) -> Values {
    fn work<T: Number>(grid: &Grid, gradient: &Values, weights: &Values) -> Values {
        let [tasks, rows, filters] = dims(gradient);
        let [_, inner, _] = dims(weights);
        let (images, channels) = (rows / grid.target_pixels(), inner / grid.taps());
        let sizes = Sizes { tasks, images, channels, filters };
        let shape = [tasks, images * grid.source_pixels(), channels];
        let mut x = uninit::<T>(shape);
        convolution::input_gradient(grid, sizes, &slice(gradient), &slice(weights), x.as_mut_slice());
        // SAFETY: the kernel writes every value.
        unsafe { assume_init(x, shape) }
    }
    typed!(gradient, work(grid, gradient, weights))
}

/// The gradient with respect to the weights, given the `gradient` of their convolution with `images`.
pub fn weight_gradient(grid: &Grid, images: &Values, gradient: &Values) -> Values {
    fn work<T: Number>(grid: &Grid, images: &Values, gradient: &Values) -> Values {
        let [tasks, rows, channels] = dims(images);
        let [_, _, filters] = dims(gradient);
        let sizes = Sizes { tasks, images: rows / grid.source_pixels(), channels, filters };
        let shape = [tasks, grid.taps() * channels, filters];
        let mut w = uninit::<T>(shape);
        convolution::weight_gradient(grid, sizes, &slice(images), &slice(gradient), w.as_mut_slice());
        // SAFETY: the kernel writes every value.
        unsafe { assume_init(w, shape) }
    }
    typed!(images, work(grid, images, gradient))
}

/// The values of `v` where `x` is largest in each window, both `[tasks, n·sources, channels]`: `[tasks, n·targets,
/// channels]`.
pub fn max_pool(grid: &Grid, x: &Values, v: &Values) -> Values {
    fn work<T: Number>(grid: &Grid, x: &Values, v: &Values) -> Values {
        let [tasks, rows, channels] = dims(x);
        let shape = [tasks, rows / grid.source_pixels() * grid.target_pixels(), channels];
        let mut to = uninit::<T>(shape);
        max_pool::take(grid, channels, &slice(x), &slice(v), to.as_mut_slice());
        // SAFETY: the kernel writes every value.
        unsafe { assume_init(to, shape) }
    }
    typed!(x, work(grid, x, v))
}

/// The gradient with respect to v of [`max_pool`], given the gradient `g` of its result.
pub fn max_pool_gradient(grid: &Grid, x: &Values, g: &Values) -> Values {
    fn work<T: Number>(grid: &Grid, x: &Values, g: &Values) -> Values {
        let shape = dims(x);
        let mut to = uninit::<T>(shape);
        max_pool::spread(grid, shape[2], &slice(x), &slice(g), to.as_mut_slice());
        // SAFETY: the kernel writes every value.
        unsafe { assume_init(to, shape) }
    }
    typed!(x, work(grid, x, g))
}

/// y of [`Norm`], `[tasks, rows, channels]`, for `x` and `weights` `[γ, β]`, `[tasks, 1, channels]` each.
pub fn norm_relu(norm: Norm, x: &Values, weights: [&Values; 2]) -> Values {
    fn work<T: Number>(norm: Norm, x: &Values, weights: [&Values; 2]) -> Values {
        let (shape, [gamma, beta]) = (dims(x), weights.map(slice::<T>));
        let (size, width, x) = (shape[1] * shape[2], shape[2], slice(x));
        let mut y = uninit(shape);
        threads::for_each_chunk(y.as_mut_slice(), size, |index, y| {
            let weights = [&gamma, &beta].map(|leaf| of_task(leaf, index, width));
            norm.value(of_task(&x, index, size), weights, y);
        });
        // SAFETY: the kernel writes every value.
        unsafe { assume_init(y, shape) }
    }
    typed!(x, work(norm, x, weights))
}

/// The gradients [x̄, γ̄, β̄], given the gradient `g` of y.
pub fn norm_relu_gradient(norm: Norm, x: &Values, weights: [&Values; 2], g: &Values) -> [Values; 3] {
    fn work<T: Number>(norm: Norm, x: &Values, weights: [&Values; 2], g: &Values) -> [Values; 3] {
        let (shape, [gamma, beta]) = (dims(x), weights.map(slice::<T>));
        let (size, width) = (shape[1] * shape[2], shape[2]);
        let (x, g, mut to) = (slice(x), slice(g), uninit(shape));
        let gradients = map_tasks([to.as_mut_slice()], size, |index, [to]| {
            let weights = [&gamma, &beta].map(|leaf| of_task(leaf, index, width));
            norm.gradient(of_task(&x, index, size), weights, of_task(&g, index, size), to)
        });
        let gradients = gradients.into_iter().map(|WeightGradients { gamma, beta }| [gamma, beta]);
        let [gamma, beta] = concatenate(gradients, width);
        // SAFETY: the kernel writes every value.
        [unsafe { assume_init(to, shape) }, gamma, beta]
    }
    typed!(x, work(norm, x, weights, g))
}

/// ẏ of [`Norm`] for the tangents `x_tangent`, ẋ, and `weight_tangents`, `[γ̇, β̇]`.
pub fn norm_relu_tangent(
    norm: Norm,
    x: &Values,
    weights: [&Values; 2],
    x_tangent: &Values,
    weight_tangents: [&Values; 2],
) -> Values {
    fn work<T: Number>(
        norm: Norm,
        x: &Values,
        weights: [&Values; 2],
        x_tangent: &Values,
        weight_tangents: [&Values; 2],
    ) -> Values {
        let (shape, weights, weight_tangents) =
            (dims(x), weights.map(slice::<T>), weight_tangents.map(slice::<T>));
        let (size, width) = (shape[1] * shape[2], shape[2]);
        let (x, x_tangent, mut to) = (slice(x), slice(x_tangent), uninit(shape));
        threads::for_each_chunk(to.as_mut_slice(), size, |index, to| {
            let [weights, weight_tangents] = [&weights, &weight_tangents]
                .map(|pair| pair.each_ref().map(|leaf| of_task(leaf, index, width)));
            norm.tangent(
                of_task(&x, index, size),
                weights,
                of_task(&x_tangent, index, size),
                weight_tangents,
                to,
            );
        });
        // SAFETY: the kernel writes every value.
        unsafe { assume_init(to, shape) }
    }
    typed!(x, work(norm, x, weights, x_tangent, weight_tangents))
}

/// The gradients [x̄, ẋ̄, γ̄, γ̇̄, β̇̄], given the gradient `g` of ẏ; β̄ is zero.
pub fn norm_relu_tangent_gradient(
    norm: Norm,
    x: &Values,
    weights: [&Values; 2],
    x_tangent: &Values,
    gamma_tangent: &Values,
    g: &Values,
) -> [Values; 5] {
    fn work<T: Number>(
        norm: Norm,
        x: &Values,
        weights: [&Values; 2],
        x_tangent: &Values,
        gamma_tangent: &Values,
        g: &Values,
    ) -> [Values; 5] {
        let (shape, [gamma, beta]) = (dims(x), weights.map(slice::<T>));
        let (size, width) = (shape[1] * shape[2], shape[2]);
        let (x, x_tangent, g, gamma_tangent) = (slice(x), slice(x_tangent), slice(g), slice(gamma_tangent));
        let (mut to, mut to_x_tangent) = (uninit(shape), uninit(shape));
        let gradients = map_tasks([to.as_mut_slice(), to_x_tangent.as_mut_slice()], size, |index, to| {
            let weights = [&gamma, &beta].map(|leaf| of_task(leaf, index, width));
            let [x, x_tangent, g] = [&x, &x_tangent, &g].map(|all| of_task(all, index, size));
            norm.tangent_gradient(x, weights, x_tangent, of_task(&gamma_tangent, index, width), g, to)
        });
        let gradients = gradients.into_iter().map(|(gamma, tangents)| [gamma, tangents.gamma, tangents.beta]);
        let [gamma, gamma_tangent, beta_tangent] = concatenate(gradients, width);
        // SAFETY: the kernel writes every value.
        let [to, to_x_tangent] = [to, to_x_tangent].map(|to| unsafe { assume_init(to, shape) });
        [to, to_x_tangent, gamma, gamma_tangent, beta_tangent]
    }
    typed!(x, work(norm, x, weights, x_tangent, gamma_tangent, g))
}

/// The tensor's values in row-major order; copied only if the tensor is a strided view.
fn slice<T: Number>(tensor: &Values) -> Cow<'_, [T]> {
    match tensor.as_slice::<T>() {
        Some(values) => Cow::Borrowed(values),
        None => Cow::Owned(tensor.to_contiguous().storage::<T>().to_vec()),
    }
}

fn tensor<T: Number>(values: Vec<T>, shape: [usize; 3]) -> Values {
    Values::from_data(TensorData::new(values, shape))
}

fn uninit<T: Number>(shape: [usize; 3]) -> UninitBuffer<T> {
    UninitBuffer::new(shape.iter().product())
}

/// # Safety
/// Every value of `buffer` must have been written.
unsafe fn assume_init<T: Number>(buffer: UninitBuffer<T>, shape: [usize; 3]) -> Values {
    // SAFETY: guaranteed by the caller.
    tensor(unsafe { buffer.assume_init() }, shape)
}

fn dims(tensor: &Values) -> [usize; 3] {
    let shape = tensor.shape();
    [shape[0], shape[1], shape[2]]
}

/// The values of task `index`, given the values of all tasks, `size` each.
fn of_task<T>(values: &[T], index: usize, size: usize) -> &[T] {
    &values[index * size..][..size]
}

/// Calls `work` with each task's part of every buffer in `to`, `size` values each; results are in task order.
fn map_tasks<T: Number, R: Send, const M: usize>(
    to: [UninitSlice<T>; M],
    size: usize,
    work: impl Fn(usize, [UninitSlice<T>; M]) -> R + Sync,
) -> Vec<R> {
    let tasks = to[0].len() / size;
    let mut parts = to.map(|to| to.chunks_mut(size));
    let parts = (0..tasks).map(|_| (parts.each_mut().map(|part| part.next().unwrap_or_default()), None));
    let mut jobs: Vec<([UninitSlice<T>; M], Option<R>)> = parts.collect();
    threads::for_each_chunk(&mut jobs, 1, |index, job| {
        let (to, result) = &mut job[0];
        *result = Some(work(index, to.each_mut().map(|to| &mut **to)));
    });
    jobs.into_iter().filter_map(|(_, result)| result).collect()
}

/// The weight gradients of all tasks as tensors, `[tasks, 1, channels]` each.
fn concatenate<T: Number, const M: usize>(
    gradients: impl Iterator<Item = [Vec<T>; M]>,
    width: usize,
) -> [Values; M] {
    let mut all: [Vec<T>; M] = std::array::from_fn(|_| Vec::new());
    gradients.for_each(|own| all.iter_mut().zip(own).for_each(|(all, own)| all.extend(own)));
    all.map(|values| {
        let tasks = values.len() / width;
        tensor(values, [tasks, 1, width])
    })
}
