//! Batch normalisation with leaky ReLU: the formulas of `flex::norm_relu`, for value and tangent together.
//!
//! A cube computes some neighbouring channels of a task. Its units are `width` channels × `LANES / width` rows: neighbours
//! read neighbouring values, each unit sums its rows, and the cube adds up the units' sums of a channel through shared
//! memory, in order. The statistics are computed anew for a gradient: reading x once more costs less than keeping them.

#![allow(clippy::too_many_arguments, reason = "a kernel has an argument for each buffer and size")]

use super::stack::{Allocation, Stack};
use crate::kernel::flex::Norm;
use burn_cubecl::cubecl;
use burn_cubecl::cubecl::prelude::*;
use burn_cubecl::tensor::CubeTensor;

/// Units of a cube.
const LANES: usize = 256;

/// Cubes that keep a GPU busy; below that a cube takes fewer channels.
const CUBES: usize = 128;

/// y, `[tasks, rows, channels]`, for x, γ and β.
pub fn value(norm: Norm, inputs: [&CubeTensor; 3]) -> CubeTensor {
    let [y] = forward::<1>(norm, inputs, [None; 3]);
    y
}

/// y and ẏ; a tangent of `None` is zero.
pub fn pair(
    norm: Norm,
    inputs: [&CubeTensor; 3],
    tangents: [Option<&CubeTensor>; 3],
) -> (CubeTensor, CubeTensor) {
    forward::<2>(norm, inputs, tangents).into()
}

fn forward<const N: usize>(
    norm: Norm,
    inputs: [&CubeTensor; 3],
    tangents: [Option<&CubeTensor>; 3],
) -> [CubeTensor; N] {
    let [x, gamma, beta] = inputs.map(Stack::new);
    // What is absent is not read; x takes its place as an argument.
    let [x_tangent, gamma_tangent, beta_tangent] =
        tangents.map(|tangent| tangent.map_or_else(|| x.unread(), Stack::new));
    let out = Allocation::<N>::new(inputs[0], [x.dims; N]);
    let shape = Shape::new(norm, x.dims);
    forward_kernel::launch(
        &inputs[0].client,
        shape.cubes(),
        shape.units(),
        x.argument(),
        gamma.argument(),
        beta.argument(),
        x_tangent.argument(),
        gamma_tangent.argument(),
        beta_tangent.argument(),
        out.argument(),
        StridesLaunch::new(
            x.stride,
            gamma.stride,
            beta.stride,
            x_tangent.stride,
            gamma_tangent.stride,
            beta_tangent.stride,
        ),
        shape.sizes(),
        out.starts[N - 1],
        shape.width,
        norm.negative_slope == 0.0,
        N == 2,
        tangents[0].is_some(),
        tangents[1].is_some(),
        tangents[2].is_some(),
    );
    out.tensors()
}

/// The gradients of [x, γ, β, ẋ, γ̇, β̇], given those of y and ẏ, at least one of which is present. Without a gradient of ẏ
/// the last three are meaningless.
pub fn gradients(
    norm: Norm,
    inputs: [&CubeTensor; 3],
    tangents: [Option<&CubeTensor>; 2],
    gradients: [Option<&CubeTensor>; 2],
) -> [CubeTensor; 6] {
    let [x, gamma, beta] = inputs.map(Stack::new);
    let moves = gradients[1].is_some();
    // Without a gradient of ẏ its tangents do not matter.
    let tangents = tangents.map(|tangent| tangent.filter(|_| moves));
    let [x_tangent, gamma_tangent] = tangents.map(|tangent| tangent.map_or_else(|| x.unread(), Stack::new));
    let [g, g_tangent] = gradients.map(|gradient| gradient.map_or_else(|| x.unread(), Stack::new));
    let [tasks, _, channels] = x.dims;
    let weights = [tasks, 1, channels];
    let none = [1, 1, 1];
    let [of_tangent, of_weight_tangent] = if moves { [x.dims, weights] } else { [none; 2] };
    let rows = Allocation::new(inputs[0], [x.dims, of_tangent]);
    let leaves = Allocation::new(inputs[0], [weights, weights, of_weight_tangent, of_weight_tangent]);
    let shape = Shape::new(norm, x.dims);
    gradient_kernel::launch(
        &inputs[0].client,
        shape.cubes(),
        shape.units(),
        x.argument(),
        gamma.argument(),
        beta.argument(),
        x_tangent.argument(),
        gamma_tangent.argument(),
        g.argument(),
        g_tangent.argument(),
        rows.argument(),
        leaves.argument(),
        // β̇ has no part in any gradient.
        StridesLaunch::new(x.stride, gamma.stride, beta.stride, x_tangent.stride, gamma_tangent.stride, 0),
        shape.sizes(),
        g.stride,
        g_tangent.stride,
        rows.starts[1],
        leaves.starts[1],
        leaves.starts[2],
        leaves.starts[3],
        shape.width,
        norm.negative_slope == 0.0,
        gradients[0].is_some(),
        moves,
        tangents[0].is_some(),
        tangents[1].is_some(),
    );
    let ([x, x_tangent], [gamma, beta, gamma_tangent, beta_tangent]) = (rows.tensors(), leaves.tensors());
    [x, gamma, beta, x_tangent, gamma_tangent, beta_tangent]
}

/// How the work is shared out.
struct Shape {
    norm: Norm,
    dims: [usize; 3],
    /// Channels of a cube.
    width: usize,
}

impl Shape {
    fn new(norm: Norm, dims: [usize; 3]) -> Self {
        let [tasks, _, channels] = dims;
        let enough = |width: &usize| tasks * channels.div_ceil(*width) >= CUBES;
        let width = [32, 16].into_iter().find(enough).unwrap_or(8);
        Self { norm, dims, width }
    }

    fn cubes(&self) -> CubeCount {
        let [tasks, _, channels] = self.dims;
        CubeCount::Static(channels.div_ceil(self.width) as u32, tasks as u32, 1)
    }

    fn units(&self) -> CubeDim {
        CubeDim::new_2d(self.width as u32, (LANES / self.width) as u32)
    }

    fn sizes(&self) -> SizesLaunch {
        let [_, rows, channels] = self.dims;
        let Norm { counted, epsilon, negative_slope } = self.norm;
        SizesLaunch::new(rows, channels, counted, 1.0 / counted as f32, epsilon as f32, negative_slope as f32)
    }
}

/// Values from one task to the next.
#[derive(CubeLaunch, CubeType)]
struct Strides {
    x: usize,
    gamma: usize,
    beta: usize,
    x_tangent: usize,
    gamma_tangent: usize,
    beta_tangent: usize,
}

#[derive(CubeLaunch, CubeType)]
struct Sizes {
    rows: usize,
    channels: usize,
    counted: usize,
    /// 1/M
    weight: f32,
    epsilon: f32,
    negative_slope: f32,
}

#[cube(launch)]
fn forward_kernel(
    x: &[f32],
    gamma: &[f32],
    beta: &[f32],
    x_tangent: &[f32],
    gamma_tangent: &[f32],
    beta_tangent: &[f32],
    out: &mut [f32],
    strides: Strides,
    sizes: Sizes,
    tangent_start: usize,
    #[comptime] width: usize,
    #[comptime] relu: bool,
    #[comptime] moves: bool,
    #[comptime] has_x_tangent: bool,
    #[comptime] has_gamma_tangent: bool,
    #[comptime] has_beta_tangent: bool,
) {
    let lanes = comptime!(LANES / width);
    let task = CUBE_POS_Y as usize;
    let own = CUBE_POS_X as usize * width + UNIT_POS_X as usize;
    let is_inside = own < sizes.channels;
    // A unit beyond the last channel repeats it, and writes nothing.
    let channel = select(is_inside, own, sizes.channels - 1);
    let lane = UNIT_POS_Y as usize;
    let mut shared = Shared::<[f32]>::new_slice(comptime!(2 * LANES));

    let first_row = task * strides.x + channel;
    let (mean, inverse) = statistics(x, first_row, &sizes, &mut shared, lane, width);
    let slope = gamma[task * strides.gamma + channel] * inverse;
    let shift = beta[task * strides.beta + channel];

    let tangent_row = task * strides.x_tangent + channel;
    let (mean_tangent, c) = tangent_statistics(
        x,
        first_row,
        x_tangent,
        tangent_row,
        mean,
        inverse,
        &sizes,
        &mut shared,
        lane,
        width,
        has_x_tangent,
    );
    let mut e = 0.0f32 - slope * c;
    if comptime!(moves && has_gamma_tangent) {
        e += gamma_tangent[task * strides.gamma_tangent + channel];
    }
    let slope_tangent = inverse * e;
    let mut shift_tangent = 0.0f32;
    if comptime!(moves && has_beta_tangent) {
        shift_tangent = beta_tangent[task * strides.beta_tangent + channel];
    }

    if is_inside {
        let mut row = lane;
        while row < sizes.rows {
            let centred = x[first_row + row * sizes.channels] - mean;
            let value = centred * slope + shift;
            let at = (task * sizes.rows + row) * sizes.channels + channel;
            out[at] = rectified(value, value, sizes.negative_slope, relu);
            if comptime!(moves) {
                let mut tangent = centred * slope_tangent + shift_tangent;
                if comptime!(has_x_tangent) {
                    tangent += (x_tangent[tangent_row + row * sizes.channels] - mean_tangent) * slope;
                }
                out[tangent_start + at] = rectified(value, tangent, sizes.negative_slope, relu);
            }
            row += lanes;
        }
    }
}

#[cube(launch)]
fn gradient_kernel(
    x: &[f32],
    gamma: &[f32],
    beta: &[f32],
    x_tangent: &[f32],
    gamma_tangent: &[f32],
    g: &[f32],
    g_tangent: &[f32],
    to_rows: &mut [f32],
    to_leaves: &mut [f32],
    strides: Strides,
    sizes: Sizes,
    g_stride: usize,
    g_tangent_stride: usize,
    rows_of_tangent: usize,
    leaf_beta: usize,
    leaf_gamma_tangent: usize,
    leaf_beta_tangent: usize,
    #[comptime] width: usize,
    #[comptime] relu: bool,
    #[comptime] has_g: bool,
    #[comptime] moves: bool,
    #[comptime] has_x_tangent: bool,
    #[comptime] has_gamma_tangent: bool,
) {
    let lanes = comptime!(LANES / width);
    let task = CUBE_POS_Y as usize;
    let own = CUBE_POS_X as usize * width + UNIT_POS_X as usize;
    let is_inside = own < sizes.channels;
    let channel = select(is_inside, own, sizes.channels - 1);
    let lane = UNIT_POS_Y as usize;
    let mut shared = Shared::<[f32]>::new_slice(comptime!(2 * LANES));

    let first_row = task * strides.x + channel;
    let (mean, inverse) = statistics(x, first_row, &sizes, &mut shared, lane, width);
    let scale = gamma[task * strides.gamma + channel];
    let slope = scale * inverse;
    let shift = beta[task * strides.beta + channel];

    let tangent_row = task * strides.x_tangent + channel;
    let (mean_tangent, c) = tangent_statistics(
        x,
        first_row,
        x_tangent,
        tangent_row,
        mean,
        inverse,
        &sizes,
        &mut shared,
        lane,
        width,
        has_x_tangent,
    );
    let mut e = 0.0f32 - slope * c;
    if comptime!(has_gamma_tangent) {
        e += gamma_tangent[task * strides.gamma_tangent + channel];
    }
    let slope_tangent = inverse * e;

    // Σh and Σh x̂ of y, and Σh, Σh x̂ and Σh u r of ẏ.
    let g_row = task * g_stride + channel;
    let g_tangent_row = task * g_tangent_stride + channel;
    let mut sum_h = 0.0f32;
    let mut sum_h_normal = 0.0f32;
    let mut sum_k = 0.0f32;
    let mut sum_k_normal = 0.0f32;
    let mut sum_k_u = 0.0f32;
    let mut row = lane;
    while row < sizes.rows {
        let centred = x[first_row + row * sizes.channels] - mean;
        let value = centred * slope + shift;
        let normal = centred * inverse;
        if comptime!(has_g) {
            let h = rectified(value, g[g_row + row * sizes.channels], sizes.negative_slope, relu);
            sum_h += h;
            sum_h_normal += h * normal;
        }
        if comptime!(moves) {
            let k =
                rectified(value, g_tangent[g_tangent_row + row * sizes.channels], sizes.negative_slope, relu);
            sum_k += k;
            sum_k_normal += k * normal;
            if comptime!(has_x_tangent) {
                let u = x_tangent[tangent_row + row * sizes.channels] - mean_tangent;
                sum_k_u += k * u * inverse;
            }
        }
        row += lanes;
    }
    if comptime!(has_g) {
        let (h, h_normal) = totals(sum_h, sum_h_normal, &mut shared, lane, width);
        sum_h = h;
        sum_h_normal = h_normal;
    }
    if comptime!(moves) {
        let (k, k_normal) = totals(sum_k, sum_k_normal, &mut shared, lane, width);
        sum_k = k;
        sum_k_normal = k_normal;
        if comptime!(has_x_tangent) {
            let (k_u, _unused) = totals(sum_k_u, 0.0f32, &mut shared, lane, width);
            sum_k_u = k_u;
        }
    }
    let gamma_of_tangent = sum_k_u - inverse * c * sum_k_normal;

    if is_inside {
        if lane == 0 {
            let at = task * sizes.channels + channel;
            to_leaves[at] = sum_h_normal + gamma_of_tangent;
            to_leaves[leaf_beta + at] = sum_h;
            if comptime!(moves) {
                to_leaves[leaf_gamma_tangent + at] = sum_k_normal;
                to_leaves[leaf_beta_tangent + at] = sum_k;
            }
        }
        // x̄ = slope h + slope_tangent k − offset − (x − μ) factor − u u_factor
        // ẋ̄ = slope k − tangent_offset − (x − μ) u_factor
        let weight = sizes.weight;
        let offset = weight * (slope * sum_h + slope_tangent * sum_k);
        let sum_normal = scale * gamma_of_tangent + (e - slope * c) * sum_k_normal;
        let factor = weight * inverse * (slope * sum_h_normal + inverse * sum_normal);
        let u_factor = weight * inverse * slope * sum_k_normal;
        let tangent_offset = weight * slope * sum_k;
        let mut row = lane;
        while row < sizes.rows {
            let centred = x[first_row + row * sizes.channels] - mean;
            let value = centred * slope + shift;
            let at = (task * sizes.rows + row) * sizes.channels + channel;
            // Only the counted rows have a part in the statistics.
            let counts = row < sizes.counted;
            let mut to_x = select(counts, 0.0f32 - offset - centred * factor, 0.0f32);
            if comptime!(has_g) {
                to_x += slope * rectified(value, g[g_row + row * sizes.channels], sizes.negative_slope, relu);
            }
            if comptime!(moves) {
                let k = rectified(
                    value,
                    g_tangent[g_tangent_row + row * sizes.channels],
                    sizes.negative_slope,
                    relu,
                );
                to_x += slope_tangent * k;
                if comptime!(has_x_tangent) {
                    let u = x_tangent[tangent_row + row * sizes.channels] - mean_tangent;
                    to_x -= select(counts, u * u_factor, 0.0f32);
                }
                to_rows[rows_of_tangent + at] =
                    slope * k - select(counts, tangent_offset + centred * u_factor, 0.0f32);
            }
            to_rows[at] = to_x;
            row += lanes;
        }
    }
}

/// μ and r. The first row is subtracted from all rows before they are summed, so that a mean far from zero causes no
/// cancellation.
#[cube]
fn statistics(
    x: &[f32],
    first_row: usize,
    sizes: &Sizes,
    shared: &mut Shared<[f32]>,
    lane: usize,
    #[comptime] width: usize,
) -> (f32, f32) {
    let first = x[first_row];
    let mut total = 0.0f32;
    let mut squares = 0.0f32;
    let mut row = lane;
    while row < sizes.counted {
        let centred = x[first_row + row * sizes.channels] - first;
        total += centred;
        squares += centred * centred;
        row += comptime!(LANES / width);
    }
    let (total, squares) = totals(total, squares, shared, lane, width);
    let centre = total * sizes.weight;
    let difference = squares * sizes.weight - centre * centre;
    let variance = select(difference < 0.0f32, 0.0f32, difference);
    (first + centre, 1.0f32 / (variance + sizes.epsilon).sqrt())
}

/// μ̇ and c; zeros without a tangent of x.
#[cube]
fn tangent_statistics(
    x: &[f32],
    first_row: usize,
    x_tangent: &[f32],
    tangent_row: usize,
    mean: f32,
    inverse: f32,
    sizes: &Sizes,
    shared: &mut Shared<[f32]>,
    lane: usize,
    #[comptime] width: usize,
    #[comptime] has_x_tangent: bool,
) -> (f32, f32) {
    let mut total = 0.0f32;
    let mut products = 0.0f32;
    if comptime!(has_x_tangent) {
        let mut row = lane;
        while row < sizes.counted {
            let tangent = x_tangent[tangent_row + row * sizes.channels];
            total += tangent;
            products += (x[first_row + row * sizes.channels] - mean) * inverse * tangent;
            row += comptime!(LANES / width);
        }
        let (all_tangents, all_products) = totals(total, products, shared, lane, width);
        total = all_tangents;
        products = all_products;
    }
    (total * sizes.weight, products * sizes.weight)
}

/// The sums over the lanes of a channel, for every unit.
#[cube]
fn totals(
    first: f32,
    second: f32,
    shared: &mut Shared<[f32]>,
    lane: usize,
    #[comptime] width: usize,
) -> (f32, f32) {
    let own = UNIT_POS_X as usize;
    // The sums before have been read.
    sync_cube();
    shared[lane * width + own] = first;
    shared[LANES + lane * width + own] = second;
    sync_cube();
    let mut first_total = 0.0f32;
    let mut second_total = 0.0f32;
    for at in 0..comptime!(LANES / width) {
        first_total += shared[at * width + own];
        second_total += shared[LANES + at * width + own];
    }
    (first_total, second_total)
}

/// `value`, times the slope where `y` ≤ 0. Where `y` is NaN, `value` is left as it is.
#[cube]
fn rectified(y: f32, value: f32, negative_slope: f32, #[comptime] relu: bool) -> f32 {
    // Not 0 × value, which would be −0 or NaN.
    let mut below = 0.0f32;
    if comptime!(!relu) {
        below = value * negative_slope;
    }
    select(y <= 0.0f32, below, value)
}
