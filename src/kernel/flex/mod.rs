//! The kernels of Burn's CPU backend, flex, in `f32` and `f64`.
#![allow(unsafe_code)] // loops over memory that is not written yet, by vectors that know no bounds

mod columns;
mod convolution;
mod norm_relu;
mod room;
mod tile;
mod transpose;

pub use norm_relu::Norm;

use super::{Grid, share};
use burn::backend::{Flex, TensorMetadata, tensor::FloatTensor};
use burn::tensor::{DType, TensorData};
use convolution::Sizes;
use norm_relu::Sums;
use room::{Places, Room};
use std::borrow::Cow;
use tile::Number;

/// A tensor of the flex backend.
pub type Values = FloatTensor<Flex>;

/// `work::<T>(…)` with the number type T of the tensor `$like`.
macro_rules! typed {
    ($like:expr, $work:ident($($argument:expr),*)) => {
        match $like.dtype() {
            DType::F32 => $work::<f32>($($argument),*),
            DType::F64 => $work::<f64>($($argument),*),
            // `kernel::is_fused` lets no other type in.
            other => unreachable!("no kernel for {other:?}"),
        }
    };
}

/// Whether there are kernels for numbers of this type.
pub fn knows(dtype: DType) -> bool {
    matches!(dtype, DType::F32 | DType::F64)
}

/// Σ of the convolutions of each `(images, weights)`: `[tasks, n·targets, filters]`.
pub fn convolve(grid: &Grid, terms: &[(&Values, &Values)]) -> Values {
    fn work<T: Number>(grid: &Grid, terms: &[(&Values, &Values)]) -> Values {
        let [tasks, rows, channels] = dims(terms[0].0);
        let [_, _, filters] = dims(terms[0].1);
        let images = rows / grid.source_pixels();
        let sizes = Sizes { tasks, images, channels, filters };
        let shape = [tasks, images * grid.target_pixels(), filters];
        let mut y = room::<T>(shape);
        for (place, (images, weights)) in terms.iter().enumerate() {
            // SAFETY: the first term has written what the second adds to.
            unsafe {
                convolution::forward(grid, sizes, &slice(images), &slice(weights), y.places(), place > 0)
            };
        }
        // SAFETY: the convolution writes every value.
        unsafe { written(y, shape) }
    }
    typed!(terms[0].0, work(grid, terms))
}

/// The gradient in the images, given `gradient` in their convolution with `weights`.
pub fn input_gradient(grid: &Grid, gradient: &Values, weights: &Values) -> Values {
    fn work<T: Number>(grid: &Grid, gradient: &Values, weights: &Values) -> Values {
        let [tasks, rows, filters] = dims(gradient);
        let [_, inner, _] = dims(weights);
        let (images, channels) = (rows / grid.target_pixels(), inner / grid.taps());
        let sizes = Sizes { tasks, images, channels, filters };
        let shape = [tasks, images * grid.source_pixels(), channels];
        let mut x = room::<T>(shape);
        convolution::input_gradient(grid, sizes, &slice(gradient), &slice(weights), x.places());
        // SAFETY: the kernel writes every value.
        unsafe { written(x, shape) }
    }
    typed!(gradient, work(grid, gradient, weights))
}

/// The gradient in the weights, given `gradient` in their convolution with `images`.
pub fn weight_gradient(grid: &Grid, images: &Values, gradient: &Values) -> Values {
    fn work<T: Number>(grid: &Grid, images: &Values, gradient: &Values) -> Values {
        let [tasks, rows, channels] = dims(images);
        let [_, _, filters] = dims(gradient);
        let sizes = Sizes { tasks, images: rows / grid.source_pixels(), channels, filters };
        let shape = [tasks, grid.taps() * channels, filters];
        let mut w = room::<T>(shape);
        convolution::weight_gradient(grid, sizes, &slice(images), &slice(gradient), w.places());
        // SAFETY: the kernel writes every value.
        unsafe { written(w, shape) }
    }
    typed!(images, work(grid, images, gradient))
}

/// y of [`Norm`], `[tasks, rows, channels]`, of `x` under `[γ, β]`, `[tasks, 1, channels]` each.
pub fn norm_relu(norm: Norm, x: &Values, weights: [&Values; 2]) -> Values {
    fn work<T: Number>(norm: Norm, x: &Values, weights: [&Values; 2]) -> Values {
        let (shape, [gamma, beta]) = (dims(x), weights.map(slice::<T>));
        let (task, width, x) = (shape[1] * shape[2], shape[2], slice(x));
        let mut y = room(shape);
        share::each_chunk(y.places(), task, |at, y| {
            norm.value(of_task(&x, at, task), [&gamma, &beta].map(|leaf| of_task(leaf, at, width)), y);
        });
        // SAFETY: the kernel writes every value.
        unsafe { written(y, shape) }
    }
    typed!(x, work(norm, x, weights))
}

/// [x̄, γ̄, β̄] for the gradient `g` of y.
pub fn norm_relu_gradient(norm: Norm, x: &Values, weights: [&Values; 2], g: &Values) -> [Values; 3] {
    fn work<T: Number>(norm: Norm, x: &Values, weights: [&Values; 2], g: &Values) -> [Values; 3] {
        let (shape, [gamma, beta]) = (dims(x), weights.map(slice::<T>));
        let (task, width) = (shape[1] * shape[2], shape[2]);
        let (x, g, mut to) = (slice(x), slice(g), room(shape));
        let sums = each_task([to.places()], task, |at, [to]| {
            let weights = [&gamma, &beta].map(|leaf| of_task(leaf, at, width));
            norm.gradient(of_task(&x, at, task), weights, of_task(&g, at, task), to)
        });
        let [gamma, beta] = joined(sums.into_iter().map(|Sums { gamma, beta }| [gamma, beta]), width);
        // SAFETY: the kernel writes every value.
        [unsafe { written(to, shape) }, gamma, beta]
    }
    typed!(x, work(norm, x, weights, g))
}

/// ẏ of [`Norm`] along `along`, ẋ, and `moves`, `[γ̇, β̇]`.
pub fn norm_relu_tangent(
    norm: Norm,
    x: &Values,
    weights: [&Values; 2],
    along: &Values,
    moves: [&Values; 2],
) -> Values {
    fn work<T: Number>(
        norm: Norm,
        x: &Values,
        weights: [&Values; 2],
        along: &Values,
        moves: [&Values; 2],
    ) -> Values {
        let (shape, weights, moves) = (dims(x), weights.map(slice::<T>), moves.map(slice::<T>));
        let (task, width) = (shape[1] * shape[2], shape[2]);
        let (x, along, mut to) = (slice(x), slice(along), room(shape));
        share::each_chunk(to.places(), task, |at, to| {
            let [weights, moves] =
                [&weights, &moves].map(|pair| pair.each_ref().map(|leaf| of_task(leaf, at, width)));
            norm.tangent(of_task(&x, at, task), weights, of_task(&along, at, task), moves, to);
        });
        // SAFETY: the kernel writes every value.
        unsafe { written(to, shape) }
    }
    typed!(x, work(norm, x, weights, along, moves))
}

/// [x̄, ẋ̄, γ̄, γ̇̄, β̇̄] for the gradient `g` of ẏ; there is no β̄.
pub fn norm_relu_tangent_gradient(
    norm: Norm,
    x: &Values,
    weights: [&Values; 2],
    along: &Values,
    gamma_along: &Values,
    g: &Values,
) -> [Values; 5] {
    fn work<T: Number>(
        norm: Norm,
        x: &Values,
        weights: [&Values; 2],
        along: &Values,
        gamma_along: &Values,
        g: &Values,
    ) -> [Values; 5] {
        let (shape, [gamma, beta]) = (dims(x), weights.map(slice::<T>));
        let (task, width) = (shape[1] * shape[2], shape[2]);
        let (x, along, g, gamma_along) = (slice(x), slice(along), slice(g), slice(gamma_along));
        let (mut to, mut to_along) = (room(shape), room(shape));
        let sums = each_task([to.places(), to_along.places()], task, |at, to| {
            let weights = [&gamma, &beta].map(|leaf| of_task(leaf, at, width));
            let [x, along, g] = [&x, &along, &g].map(|all| of_task(all, at, task));
            norm.tangent_gradient(x, weights, along, of_task(&gamma_along, at, width), g, to)
        });
        let sums = sums.into_iter().map(|(first, Sums { gamma, beta })| [first, gamma, beta]);
        let [gamma, gamma_along, beta_along] = joined(sums, width);
        // SAFETY: the kernel writes every value.
        let [to, to_along] = [to, to_along].map(|to| unsafe { written(to, shape) });
        [to, to_along, gamma, gamma_along, beta_along]
    }
    typed!(x, work(norm, x, weights, along, gamma_along, g))
}

/// The tensor's values, row after row; copied only where it is a view that jumps.
fn slice<T: Number>(tensor: &Values) -> Cow<'_, [T]> {
    match tensor.as_slice::<T>() {
        Some(values) => Cow::Borrowed(values),
        None => Cow::Owned(tensor.to_contiguous().storage::<T>().to_vec()),
    }
}

fn tensor<T: Number>(values: Vec<T>, shape: [usize; 3]) -> Values {
    Values::from_data(TensorData::new(values, shape))
}

fn room<T: Number>(shape: [usize; 3]) -> Room<T> {
    Room::new(shape.iter().product())
}

/// # Safety
/// Every place in `room` must have been written.
unsafe fn written<T: Number>(room: Room<T>, shape: [usize; 3]) -> Values {
    // SAFETY: the caller's promise.
    tensor(unsafe { room.written() }, shape)
}

fn dims(tensor: &Values) -> [usize; 3] {
    let shape = tensor.shape();
    [shape[0], shape[1], shape[2]]
}

/// Task `at`'s values of those of all tasks, `size` each.
fn of_task<T>(values: &[T], at: usize, size: usize) -> &[T] {
    &values[at * size..][..size]
}

/// `work` on each task's part of every one of `to`, `size` values each; results in the order of the tasks.
fn each_task<T: Number, R: Send, const M: usize>(
    to: [Places<T>; M],
    size: usize,
    work: impl Fn(usize, [Places<T>; M]) -> R + Sync,
) -> Vec<R> {
    let tasks = to[0].len() / size;
    let mut parts = to.map(|to| to.chunks_mut(size));
    let parts = (0..tasks).map(|_| (parts.each_mut().map(|part| part.next().unwrap_or_default()), None));
    let mut jobs: Vec<([Places<T>; M], Option<R>)> = parts.collect();
    share::each_chunk(&mut jobs, 1, |at, job| {
        let (to, result) = &mut job[0];
        *result = Some(work(at, to.each_mut().map(|to| &mut **to)));
    });
    jobs.into_iter().filter_map(|(_, result)| result).collect()
}

/// Every task's channel sums one after the other: `[tasks, 1, channels]` each.
fn joined<T: Number, const M: usize>(sums: impl Iterator<Item = [Vec<T>; M]>, width: usize) -> [Values; M] {
    let mut all: [Vec<T>; M] = std::array::from_fn(|_| Vec::new());
    sums.for_each(|sums| all.iter_mut().zip(sums).for_each(|(all, sum)| all.extend(sum)));
    all.map(|values| {
        let tasks = values.len() / width;
        tensor(values, [tasks, 1, width])
    })
}
