//! Max-pooling: the formulas of `flex::max_pool`. A unit computes one value; the place of the largest is found anew for the
//! gradient.

use super::product::NONE;
use super::stack::{Allocation, Stack, all_values};
use crate::kernel::Grid;
use burn_cubecl::cubecl;
use burn_cubecl::cubecl::{calculate_cube_count_elemwise, prelude::*};
use burn_cubecl::tensor::CubeTensor;

/// The values of `v` where `x` is largest in each window: `[tasks, n·targets, channels]`.
pub fn take(grid: &Grid, x: &CubeTensor, v: &CubeTensor) -> CubeTensor {
    let [table, _] = grid.tables(x);
    let (x_stack, v_stack) = (Stack::new(x), Stack::new(v));
    let [tasks, rows, channels] = x_stack.dims;
    let rows = rows / grid.source_pixels() * grid.target_pixels();
    let out = Allocation::new(x, [[tasks, rows, channels]]);
    let count = tasks * rows * channels;
    let units = CubeDim::new(&x.client, count);
    take_kernel::launch(
        &x.client,
        calculate_cube_count_elemwise(&x.client, count, units),
        units,
        x_stack.argument(),
        v_stack.argument(),
        all_values(&table),
        out.argument(),
        SizesLaunch::new(count, rows, channels, x_stack.stride, v_stack.stride),
        grid.source_pixels(),
        grid.target_pixels(),
        grid.taps(),
    );
    let [tensor] = out.tensors();
    tensor
}

/// The gradient with respect to v of [`take`], given the gradient `g` of its result.
pub fn spread(grid: &Grid, x: &CubeTensor, g: &CubeTensor) -> CubeTensor {
    let [forward, backward] = grid.tables(x);
    let (x_stack, g_stack) = (Stack::new(x), Stack::new(g));
    let [tasks, rows, channels] = x_stack.dims;
    let out = Allocation::new(x, [x_stack.dims]);
    let count = tasks * rows * channels;
    let units = CubeDim::new(&x.client, count);
    spread_kernel::launch(
        &x.client,
        calculate_cube_count_elemwise(&x.client, count, units),
        units,
        x_stack.argument(),
        g_stack.argument(),
        all_values(&forward),
        all_values(&backward),
        out.argument(),
        SizesLaunch::new(count, rows, channels, x_stack.stride, g_stack.stride),
        grid.source_pixels(),
        grid.target_pixels(),
        grid.taps(),
    );
    let [tensor] = out.tensors();
    tensor
}

#[derive(CubeLaunch, CubeType)]
struct Sizes {
    /// Values of the result.
    count: usize,
    /// Rows and channels of a task's result.
    rows: usize,
    channels: usize,
    /// Values from one task to the next, of both inputs.
    first: usize,
    second: usize,
}

#[cube(launch)]
fn take_kernel(
    x: &[f32],
    v: &[f32],
    table: &[u32],
    out: &mut [f32],
    sizes: Sizes,
    #[comptime] sources: usize,
    #[comptime] targets: usize,
    #[comptime] taps: usize,
) {
    if ABSOLUTE_POS >= sizes.count {
        terminate!();
    }
    let (task, row, channel) = place(&sizes);
    let image = row / targets * sources;
    let pixel = largest(x, table, task * sizes.first, image, row % targets, channel, sizes.channels, taps);
    out[ABSOLUTE_POS] = v[task * sizes.second + (image + pixel) * sizes.channels + channel];
}

#[cube(launch)]
fn spread_kernel(
    x: &[f32],
    g: &[f32],
    forward: &[u32],
    backward: &[u32],
    out: &mut [f32],
    sizes: Sizes,
    #[comptime] sources: usize,
    #[comptime] targets: usize,
    #[comptime] taps: usize,
) {
    if ABSOLUTE_POS >= sizes.count {
        terminate!();
    }
    let (task, row, channel) = place(&sizes);
    let image = row / sources;
    let source = row % sources;
    let mut sum = 0.0f32;
    for tap in 0..taps {
        let target = backward[source * taps + tap];
        if target != NONE {
            let pixel = largest(
                x,
                forward,
                task * sizes.first,
                image * sources,
                target as usize,
                channel,
                sizes.channels,
                taps,
            );
            if pixel == source {
                sum +=
                    g[task * sizes.second + (image * targets + target as usize) * sizes.channels + channel];
            }
        }
    }
    out[ABSOLUTE_POS] = sum;
}

/// The task, the row and the channel of a unit's value.
#[cube]
fn place(sizes: &Sizes) -> (usize, usize, usize) {
    let row = ABSOLUTE_POS / sizes.channels;
    (row / sizes.rows, row % sizes.rows, ABSOLUTE_POS % sizes.channels)
}

/// The pixel with the largest value in the window of the pixel `target`. A NaN counts as larger than any number; of
/// equal values the first one counts.
#[cube]
fn largest(
    x: &[f32],
    table: &[u32],
    task: usize,
    image: usize,
    target: usize,
    channel: usize,
    channels: usize,
    #[comptime] taps: usize,
) -> usize {
    let mut pixel = table[target * taps] as usize;
    let mut value = x[task + (image + pixel) * channels + channel];
    for tap in 1..taps {
        let next_pixel = table[target * taps + tap] as usize;
        let next = x[task + (image + next_pixel) * channels + channel];
        // The largest stays if the next is ≤ it, or if it is NaN already.
        let stays = next <= value || value.is_nan();
        pixel = select(stays, pixel, next_pixel);
        value = select(stays, value, next);
    }
    pixel
}
