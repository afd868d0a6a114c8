//! The matrix products of a convolution and of its gradients, for each task, without patches: the left factor is read
//! where it lies, through a table of the [`Grid`](crate::kernel::Grid).
//!
//! ```text
//! rows         C[m, n] = Σ_k A[m, k] B[k, n]     m a pixel of C's images,  k a tap and a channel of A
//! weights      C[m, n] = Σ_k A[m, k] B[k, n]     m a tap and a channel of A,  k a pixel of B's images
//! A[m, k] = the channel of the pixel of A's images that the tap connects with the pixel; 0 if there is none
//! ```
//!
//! All three products of a convolution and its tangent have the form of a product of dual numbers, computed in one launch:
//!
//! ```text
//! C_0 = A_0 B_0,   C_1 = A_1 B_0 + A_0 B_1
//! ```
//!
//! A cube computes a tile of `side`² values; its 16 × 16 units (side / 16)² each, 16 units apart. Sums are in the order of
//! k, whatever the tile.

#![allow(clippy::too_many_arguments, reason = "a kernel has an argument for each buffer and size")]

use super::stack::{Allocation, Stack, all_values};
use burn_cubecl::cubecl;
use burn_cubecl::cubecl::prelude::*;
use burn_cubecl::tensor::CubeTensor;

/// In a table: no pixel is connected.
pub const NONE: u32 = u32::MAX;

/// Units along each side of a cube.
const UNITS: usize = 16;

/// Columns of A that are in shared memory at once.
const DEPTH: usize = 16;

/// Cubes that keep a GPU busy; below that tiles are smaller.
const CUBES: usize = 128;

/// Cubes that a launch can have along one axis in WebGPU, and along y and z in CUDA.
const MOST_CUBES: usize = 65_535;

/// Which product it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A row of C is a pixel; B is `[taps·channels, columns]`.
    Rows,
    /// A row of C is a pixel; B is `[taps·columns, channels]`.
    RowsByTransposed,
    /// A row of C is a tap and a channel; B is `[pixels, columns]`.
    Weights,
}

/// The connections of A's pixels with those that a table lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Connections {
    /// Taps of the kernel.
    pub taps: usize,
    /// Pixels of an image of A.
    pub pixels: usize,
    /// Pixels in the table.
    pub listed: usize,
}

/// What is known when a kernel is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Plan {
    kind: Kind,
    connections: Connections,
    /// Channels of A.
    channels: usize,
    side: usize,
    has_a: [bool; 2],
    has_b: [bool; 2],
    wants: [bool; 2],
}

/// C_0 and C_1, those that are `wanted`, for stacks A and B. `table [listed, taps]` holds pixels of A, or [`NONE`]. C_0 must
/// have both factors, and C_1 one of its terms.
pub fn product(
    kind: Kind,
    connections: Connections,
    table: &CubeTensor,
    a: [Option<&CubeTensor>; 2],
    b: [Option<&CubeTensor>; 2],
    wanted: [bool; 2],
) -> [Option<CubeTensor>; 2] {
    if wanted == [false; 2] {
        return [None, None];
    }
    let terms = [a[1].is_some() && b[0].is_some(), a[0].is_some() && b[1].is_some()];
    let has_a = [wanted[0] || wanted[1] && terms[1], wanted[1] && terms[0]];
    let has_b = [wanted[0] || wanted[1] && terms[0], wanted[1] && terms[1]];
    // What is not used takes an argument's place too.
    let stacks = |given: [Option<&CubeTensor>; 2], is_read: [bool; 2]| {
        let any = given.into_iter().flatten().next();
        let stack = |at: usize| {
            let tensor = given[at].or(any).unwrap_or_else(|| unreachable!("a product has both factors"));
            let stack = Stack::new(tensor);
            if is_read[at] { stack } else { stack.unread() }
        };
        [stack(0), stack(1)]
    };
    let (a, b) = (stacks(a, has_a), stacks(b, has_b));
    let [tasks, a_rows, channels] = a[0].dims;
    let [_, b_rows, b_columns] = b[0].dims;
    let listed = a_rows / connections.pixels * connections.listed;
    let [m, n, k] = match kind {
        Kind::Rows => [listed, b_columns, b_rows],
        Kind::RowsByTransposed => [listed, b_rows / connections.taps, connections.taps * b_columns],
        Kind::Weights => [connections.taps * channels, b_columns, b_rows],
    };
    let side = side([tasks, m, n]);
    let plan = Plan { kind, connections, channels, side, has_a, has_b, wants: wanted };
    let shape = [tasks, m, n];
    let both = wanted == [true; 2];
    let out = Allocation::new(table, [shape, if both { shape } else { [1; 3] }]);
    let [down, across] = [m.div_ceil(side), n.div_ceil(side)];
    let folds = down.div_ceil(MOST_CUBES);
    product_kernel::launch(
        &table.client,
        CubeCount::Static((across * folds) as u32, down.div_ceil(folds) as u32, tasks as u32),
        CubeDim::new_2d(UNITS as u32, UNITS as u32),
        a[0].argument(),
        a[1].argument(),
        b[0].argument(),
        b[1].argument(),
        all_values(table),
        out.argument(),
        SizesLaunch::new(a[0].stride, a[1].stride, b[0].stride, b[1].stride, m, n, k, across),
        if both { out.starts[1] } else { 0 },
        plan,
    );
    let [first, second] = out.tensors();
    match wanted {
        [true, true] => [Some(first), Some(second)],
        [true, false] => [Some(first), None],
        _ => [None, Some(first)],
    }
}

/// The side of a tile: the largest that is mostly filled, if there are enough tiles.
fn side([tasks, m, n]: [usize; 3]) -> usize {
    let suits =
        |side: &usize| m > side / 2 && n > side / 2 && tasks * m.div_ceil(*side) * n.div_ceil(*side) >= CUBES;
    [64, 32].into_iter().find(suits).unwrap_or(16)
}

#[derive(CubeLaunch, CubeType)]
struct Sizes {
    /// Values from one task to the next.
    a0: usize,
    a1: usize,
    b0: usize,
    b1: usize,
    /// Rows of C.
    m: usize,
    /// Columns of C.
    n: usize,
    /// Terms of a sum.
    k: usize,
    /// Tiles in a row of C.
    across: usize,
}

#[cube(launch)]
fn product_kernel(
    a0: &[f32],
    a1: &[f32],
    b0: &[f32],
    b1: &[f32],
    table: &[u32],
    out: &mut [f32],
    sizes: Sizes,
    second: usize,
    #[comptime] plan: Plan,
) {
    let side = comptime!(plan.side);
    let own = comptime!(plan.side / UNITS);
    let pitch = comptime!(plan.side + 1);
    let task = CUBE_POS_Z as usize;
    // If C has more rows of tiles than there can be cubes along y, they go on along x.
    let (fold, column) = (CUBE_POS_X as usize / sizes.across, CUBE_POS_X as usize % sizes.across);
    let first_row = (fold * CUBE_COUNT_Y as usize + CUBE_POS_Y as usize) * side;
    let first_column = column * side;
    let unit_x = UNIT_POS_X as usize;
    let unit_y = UNIT_POS_Y as usize;
    let unit = unit_y * UNITS + unit_x;

    let mut tile_a0 = Shared::<[f32]>::new_slice(comptime!(tile_length(plan, plan.has_a[0])));
    let mut tile_a1 = Shared::<[f32]>::new_slice(comptime!(tile_length(plan, plan.has_a[1])));
    let mut tile_b0 = Shared::<[f32]>::new_slice(comptime!(tile_length(plan, plan.has_b[0])));
    let mut tile_b1 = Shared::<[f32]>::new_slice(comptime!(tile_length(plan, plan.has_b[1])));
    let mut sums0 = Array::<f32>::new(comptime!((plan.side / UNITS) * (plan.side / UNITS)));
    let mut sums1 = Array::<f32>::new(comptime!((plan.side / UNITS) * (plan.side / UNITS)));
    #[unroll]
    for at in 0..comptime!((plan.side / UNITS) * (plan.side / UNITS)) {
        sums0[at] = 0.0f32;
        sums1[at] = 0.0f32;
    }

    let mut start = 0usize;
    while start < sizes.k {
        #[unroll]
        for part in 0..own {
            // Neighbouring units read neighbouring values.
            let mut row = unit / UNITS + UNITS * part;
            let mut depth = unit % UNITS;
            if comptime!(plan.kind == Kind::Weights) {
                row = unit % side;
                depth = unit / side + comptime!(UNITS * UNITS / plan.side) * part;
            }
            let (place, is_there) = place_in_a(table, first_row + row, start + depth, &sizes, plan);
            if comptime!(plan.has_a[0]) {
                tile_a0[depth * pitch + row] = select(is_there, a0[task * sizes.a0 + place], 0.0f32);
            }
            if comptime!(plan.has_a[1]) {
                tile_a1[depth * pitch + row] = select(is_there, a1[task * sizes.a1 + place], 0.0f32);
            }

            let mut column = unit % side;
            let mut depth = unit / side + comptime!(UNITS * UNITS / plan.side) * part;
            if comptime!(plan.kind == Kind::RowsByTransposed) {
                column = unit / UNITS + UNITS * part;
                depth = unit % UNITS;
            }
            let (place, is_there) = place_in_b(start + depth, first_column + column, &sizes, plan);
            if comptime!(plan.has_b[0]) {
                tile_b0[depth * pitch + column] = select(is_there, b0[task * sizes.b0 + place], 0.0f32);
            }
            if comptime!(plan.has_b[1]) {
                tile_b1[depth * pitch + column] = select(is_there, b1[task * sizes.b1 + place], 0.0f32);
            }
        }
        sync_cube();
        for depth in 0..DEPTH {
            let mut left0 = Array::<f32>::new(own);
            let mut left1 = Array::<f32>::new(own);
            let mut right0 = Array::<f32>::new(own);
            let mut right1 = Array::<f32>::new(own);
            #[unroll]
            for part in 0..own {
                let row = depth * pitch + unit_y + UNITS * part;
                let column = depth * pitch + unit_x + UNITS * part;
                if comptime!(plan.has_a[0]) {
                    left0[part] = tile_a0[row];
                }
                if comptime!(plan.has_a[1]) {
                    left1[part] = tile_a1[row];
                }
                if comptime!(plan.has_b[0]) {
                    right0[part] = tile_b0[column];
                }
                if comptime!(plan.has_b[1]) {
                    right1[part] = tile_b1[column];
                }
            }
            #[unroll]
            for row in 0..own {
                #[unroll]
                for column in 0..own {
                    let at = row * own + column;
                    if comptime!(plan.wants[0]) {
                        sums0[at] += left0[row] * right0[column];
                    }
                    if comptime!(plan.has_a[1]) {
                        sums1[at] += left1[row] * right0[column];
                    }
                    if comptime!(plan.has_b[1]) {
                        sums1[at] += left0[row] * right1[column];
                    }
                }
            }
        }
        sync_cube();
        start += DEPTH;
    }

    #[unroll]
    for part_row in 0..own {
        #[unroll]
        for part_column in 0..own {
            let row = first_row + unit_y + UNITS * part_row;
            let column = first_column + unit_x + UNITS * part_column;
            if row < sizes.m && column < sizes.n {
                let to = (task * sizes.m + row) * sizes.n + column;
                let at = part_row * own + part_column;
                if comptime!(plan.wants[0]) {
                    out[to] = sums0[at];
                }
                if comptime!(plan.wants[1]) {
                    out[second + to] = sums1[at];
                }
            }
        }
    }
}

/// Where A[row, depth] is among its task's values, and whether there is one.
#[cube]
fn place_in_a(
    table: &[u32],
    row: usize,
    depth: usize,
    sizes: &Sizes,
    #[comptime] plan: Plan,
) -> (usize, bool) {
    let taps = comptime!(plan.connections.taps);
    let pixels = comptime!(plan.connections.pixels);
    let listed = comptime!(plan.connections.listed);
    let channels = comptime!(plan.channels);
    let is_inside = row < sizes.m && depth < sizes.k;
    let mut by_pixel = row;
    let mut by_tap = depth;
    if comptime!(plan.kind == Kind::Weights) {
        by_pixel = depth;
        by_tap = row;
    }
    let pixel = by_pixel % listed;
    let image = by_pixel / listed;
    let tap = by_tap / channels;
    let found = table[select(is_inside, pixel * taps + tap, 0usize)];
    let is_there = is_inside && found != NONE;
    let place = (image * pixels + found as usize) * channels + by_tap % channels;
    (select(is_there, place, 0usize), is_there)
}

/// Where B[depth, column] is among its task's values, and whether there is one.
#[cube]
fn place_in_b(depth: usize, column: usize, sizes: &Sizes, #[comptime] plan: Plan) -> (usize, bool) {
    let is_there = depth < sizes.k && column < sizes.n;
    let mut place = depth * sizes.n + column;
    if comptime!(plan.kind == Kind::RowsByTransposed) {
        let channels = comptime!(plan.channels);
        place = (depth / channels * sizes.n + column) * channels + depth % channels;
    }
    (select(is_there, place, 0usize), is_there)
}

fn tile_length(plan: Plan, is_used: bool) -> usize {
    if is_used { DEPTH * (plan.side + 1) } else { 1 }
}
