//! Operations on all leaves of parameters at once: a launch for as many leaves as a kernel may have arguments. New leaves
//! lie in one allocation.
//!
//! A unit computes one value. It finds its leaf among those of the launch by its place in the allocation.

use super::stack::{Joint, Stack, all_values, argument, dims, places, uninitialised};
use crate::kernel::leaves::AdamStep;
use burn_cubecl::cubecl;
use burn_cubecl::cubecl::{calculate_cube_count_elemwise, prelude::*};
use burn_cubecl::tensor::CubeTensor;

/// Cubes that a task's inner product is shared out over.
const PARTS: usize = 64;

/// Units of a cube that adds up.
const UNITS: usize = 256;

/// Arguments besides those of the leaves.
const OTHERS: usize = 2;

/// The leaves of a launch: as many as have room, with `each` arguments for a leaf.
fn group(like: &CubeTensor, each: usize) -> usize {
    let room = like.client.properties().hardware.max_bindings as usize;
    // Metadata takes a binding too.
    (room.saturating_sub(OTHERS + 1) / each).max(1)
}

/// x + f·y for each task, with the factor f = `factor`, or that of `factors [tasks]`. Without x it is 0.
pub fn add_scaled(
    x: Option<&[CubeTensor]>,
    y: &[CubeTensor],
    factor: f32,
    factors: Option<&CubeTensor>,
) -> Vec<CubeTensor> {
    let size = group(&y[0], 2);
    let mut all = Vec::with_capacity(y.len());
    for (at, y) in y.chunks(size).enumerate() {
        let x = x.map(|x| &x[at * size..][..y.len()]);
        let joint = Joint::new(&y[0], y.iter().map(dims));
        let mut leaves = SequenceArg::new();
        for (index, own) in y.iter().enumerate() {
            let own = Stack::new(own);
            let other = x.map_or_else(|| own.unread(), |x| Stack::new(&x[index]));
            let (start, count) = joint.places[index];
            leaves.push(TwoLaunch::new(
                other.argument(),
                own.argument(),
                other.stride,
                own.stride,
                start,
                start + count,
                own.dims[1] * own.dims[2],
            ));
        }
        let client = &y[0].client;
        let units = CubeDim::new(client, joint.length);
        add_scaled_kernel::launch(
            client,
            calculate_cube_count_elemwise(client, joint.length, units),
            units,
            leaves,
            factors.map_or_else(|| argument(&y[0], 1, 0), all_values),
            joint.argument(),
            factor,
            x.is_some(),
            factors.is_some(),
        );
        all.extend(joint.tensors);
    }
    all
}

/// Values of tensors that are copied into one allocation. A larger tensor has an allocation of its own.
const COPIED_TOGETHER: usize = 1 << 22;

/// The tensors `x`, which may differ in their tasks, in groups that share an allocation.
fn copied_together(x: &[CubeTensor]) -> Vec<&[CubeTensor]> {
    let size = group(&x[0], 1);
    let (mut groups, mut first, mut values) = (Vec::new(), 0, 0);
    for (at, tensor) in x.iter().enumerate() {
        let count: usize = dims(tensor).iter().product();
        if at > first && (at - first == size || values + count > COPIED_TOGETHER) {
            groups.push(&x[first..at]);
            (first, values) = (at, 0);
        }
        values += count;
    }
    groups.push(&x[first..]);
    groups
}

/// Copies of `x`, which may differ in their tasks, followed by the allocations that they lie in, as [`overwrite`] takes them.
pub fn copy(x: &[CubeTensor]) -> Vec<CubeTensor> {
    let (mut copies, mut allocations) = (Vec::with_capacity(x.len()), Vec::new());
    for group in copied_together(x) {
        let joint = Joint::new(&x[0], group.iter().map(dims));
        allocations.push(joint.whole());
        copies.extend(joint.tensors);
    }
    overwrite(x, &allocations);
    copies.extend(allocations);
    copies
}

/// Writes `x` over copies, made by [`copy`], of tensors of the same shapes, which lie in these `allocations`.
pub fn overwrite(x: &[CubeTensor], allocations: &[CubeTensor]) {
    for (group, allocation) in copied_together(x).into_iter().zip(allocations) {
        let shapes: Vec<[usize; 3]> = group.iter().map(dims).collect();
        copy_to(group, &places(&x[0], &shapes).0, allocation);
    }
}

/// The values of all `x`, one after the other, `[values]`.
pub fn concatenate(x: &[CubeTensor]) -> CubeTensor {
    let mut length = 0;
    let places = x.iter().map(|x| {
        let (start, count) = (length, dims(x).iter().product::<usize>());
        length += count;
        (start, count)
    });
    let places: Vec<(usize, usize)> = places.collect();
    let all = uninitialised(&x[0], length);
    let size = group(&x[0], 1);
    x.chunks(size).zip(places.chunks(size)).for_each(|(x, places)| copy_to(x, places, &all));
    all
}

/// Writes each of `x` to its place in `out`: the first value's, and the number of values.
fn copy_to(x: &[CubeTensor], places: &[(usize, usize)], out: &CubeTensor) {
    let client = &out.client;
    let first = places.first().map_or(0, |(start, _)| *start);
    let end = places.last().map_or(0, |(start, count)| start + count);
    let units = CubeDim::new(client, end);
    copy_kernel::launch(
        client,
        calculate_cube_count_elemwise(client, end, units),
        units,
        leaves_at(x, places),
        argument(out, end, end - first),
    );
}

/// Leaves as arguments, each with its place among the results.
fn leaves_at(x: &[CubeTensor], places: &[(usize, usize)]) -> SequenceArg<One> {
    let mut leaves = SequenceArg::new();
    for (leaf, (start, count)) in x.iter().zip(places) {
        let leaf = Stack::new(leaf);
        let size = leaf.dims[1] * leaf.dims[2];
        leaves.push(OneLaunch::new(leaf.argument(), leaf.stride, *start, start + count, size));
    }
    leaves
}

/// The mean over tasks; the results have one task.
pub fn mean(x: &[CubeTensor]) -> Vec<CubeTensor> {
    let mut all = Vec::with_capacity(x.len());
    for x in x.chunks(group(&x[0], 1)) {
        let tasks = dims(&x[0])[0];
        let joint = Joint::new(
            &x[0],
            x.iter().map(|leaf| {
                let [_, rows, columns] = dims(leaf);
                [1, rows, columns]
            }),
        );
        let client = &x[0].client;
        let units = CubeDim::new(client, joint.length);
        mean_kernel::launch(
            client,
            calculate_cube_count_elemwise(client, joint.length, units),
            units,
            leaves_at(x, &joint.places),
            joint.argument(),
            tasks,
            1.0 / tasks as f32,
        );
        all.extend(joint.tensors);
    }
    all
}

/// The inner products of one or two stacks x with y, for each task: `[tasks, 1, 1]` of each stack. The stacks have these
/// numbers of leaves.
pub fn dots(x: &[CubeTensor], y: &[CubeTensor], leaves_of_stacks: &[usize]) -> Vec<CubeTensor> {
    let size = group(&x[0], 2);
    let client = &x[0].client;
    // The row of partial sums of the first task of each leaf's stack, and the row after its last task's.
    let (mut rows, mut shapes) = (Vec::with_capacity(x.len()), Vec::with_capacity(2));
    let (mut tasks, mut first) = (0, 0);
    for count in leaves_of_stacks {
        let own = dims(&x[first])[0];
        rows.extend((0..*count).map(|_| (tasks, tasks + own)));
        shapes.push([own, 1, 1]);
        (tasks, first) = (tasks + own, first + count);
    }
    let columns = x.len().div_ceil(size) * PARTS;
    let partial = uninitialised(&x[0], tasks * columns);
    let chunks = x.chunks(size).zip(y.chunks(size)).zip(rows.chunks(size));
    for (at, ((x, y), rows)) in chunks.enumerate() {
        let mut leaves = SequenceArg::new();
        for ((x, y), (first, end)) in x.iter().zip(y).zip(rows) {
            let (x, y) = (Stack::new(x), Stack::new(y));
            let count = x.dims[1] * x.dims[2];
            leaves.push(TwoLaunch::new(x.argument(), y.argument(), x.stride, y.stride, *first, *end, count));
        }
        partial_dot_kernel::launch(
            client,
            CubeCount::Static(PARTS as u32, tasks as u32, 1),
            CubeDim::new_1d(UNITS as u32),
            leaves,
            argument(&partial, tasks * columns, tasks * PARTS),
            columns,
            at * PARTS,
        );
    }
    let (second, total) = (shapes[0][0], Joint::new(&x[0], shapes.into_iter()));
    total_kernel::launch(
        client,
        CubeCount::Static((tasks as u32).div_ceil(UNITS as u32), 1, 1),
        CubeDim::new_1d(UNITS as u32),
        all_values(&partial),
        total.argument(),
        tasks,
        columns,
        second,
        total.places.get(1).map_or(0, |(start, _)| start - second),
    );
    total.tensors
}

/// One step of Adam: θ, and its moments, after it. Without moments they are zero.
pub fn adam(
    theta: &[CubeTensor],
    gradient: &[CubeTensor],
    moments: Option<[&[CubeTensor]; 2]>,
    step: &AdamStep,
) -> [Vec<CubeTensor>; 3] {
    let size = group(&theta[0], 4);
    let mut all = [const { Vec::new() }; 3];
    for (at, theta) in theta.chunks(size).enumerate() {
        let range = at * size..at * size + theta.len();
        // θ, then both moments, of the same shapes.
        let joint = Joint::new(&theta[0], theta.iter().cycle().take(3 * theta.len()).map(dims));
        let mut leaves = SequenceArg::new();
        for (index, at) in range.enumerate() {
            let [theta, gradient] = [&theta[index], &gradient[at]].map(Stack::new);
            let [first, second] = match moments {
                Some(moments) => moments.map(|moments| Stack::new(&moments[at])),
                None => [theta.unread(), theta.unread()],
            };
            let places = [index, index + joint.tensors.len() / 3, index + 2 * joint.tensors.len() / 3];
            let [start, first_start, second_start] = places.map(|place| joint.places[place].0);
            leaves.push(MovingLaunch::new(
                theta.argument(),
                gradient.argument(),
                first.argument(),
                second.argument(),
                start,
                start + joint.places[index].1,
                first_start,
                second_start,
                step.rates[at] as f32,
            ));
        }
        let client = &theta[0].client;
        // The units of θ write the moments too.
        let length = joint.places[theta.len() - 1].0 + joint.places[theta.len() - 1].1;
        let units = CubeDim::new(client, length);
        adam_kernel::launch(
            client,
            calculate_cube_count_elemwise(client, length, units),
            units,
            leaves,
            joint.argument(),
            CoefficientsLaunch::new(
                step.beta_1,
                1.0 - step.beta_1,
                step.beta_2,
                1.0 - step.beta_2,
                step.epsilon(),
                step.factor(),
                step.decay,
            ),
            moments.is_some(),
        );
        let mut tensors = joint.tensors.into_iter();
        for part in &mut all {
            part.extend(tensors.by_ref().take(theta.len()));
        }
    }
    all
}

/// A leaf of one operand.
#[derive(CubeLaunch, CubeType)]
struct One {
    x: Box<[f32]>,
    x_stride: usize,
    /// Its place among the results.
    start: usize,
    end: usize,
    /// Values of a task.
    size: usize,
}

/// A leaf of two operands.
#[derive(CubeLaunch, CubeType)]
struct Two {
    x: Box<[f32]>,
    y: Box<[f32]>,
    x_stride: usize,
    y_stride: usize,
    /// Its place among the results; the rows of results that it is part of, for inner products.
    start: usize,
    end: usize,
    /// Values of a task.
    size: usize,
}

/// A leaf that an optimiser moves.
#[derive(CubeLaunch, CubeType)]
struct Moving {
    theta: Box<[f32]>,
    gradient: Box<[f32]>,
    first: Box<[f32]>,
    second: Box<[f32]>,
    /// Its place among the results, and the places of its moments.
    start: usize,
    end: usize,
    first_start: usize,
    second_start: usize,
    rate: f32,
}

#[derive(CubeLaunch, CubeType)]
struct Coefficients {
    beta_1: f32,
    rest_1: f32,
    beta_2: f32,
    rest_2: f32,
    /// ε √(1 − β_2^t)
    epsilon: f32,
    /// √(1 − β_2^t) / (1 − β_1^t)
    factor: f32,
    decay: f32,
}

#[cube(launch)]
fn add_scaled_kernel(
    leaves: Sequence<Two>,
    factors: &[f32],
    out: &mut [f32],
    factor: f32,
    #[comptime] has_x: bool,
    #[comptime] has_factors: bool,
) {
    let at = ABSOLUTE_POS;
    for leaf in leaves {
        if at >= leaf.start && at < leaf.end {
            let task = (at - leaf.start) / leaf.size;
            let place = (at - leaf.start) % leaf.size;
            let mut scale = factor;
            if comptime!(has_factors) {
                scale = factors[task];
            }
            let mut value = leaf.y[task * leaf.y_stride + place] * scale;
            if comptime!(has_x) {
                value += leaf.x[task * leaf.x_stride + place];
            }
            out[at] = value;
        }
    }
}

#[cube(launch)]
fn copy_kernel(leaves: Sequence<One>, out: &mut [f32]) {
    let at = ABSOLUTE_POS;
    for leaf in leaves {
        if at >= leaf.start && at < leaf.end {
            let task = (at - leaf.start) / leaf.size;
            out[at] = leaf.x[task * leaf.x_stride + (at - leaf.start) % leaf.size];
        }
    }
}

#[cube(launch)]
fn mean_kernel(leaves: Sequence<One>, out: &mut [f32], tasks: usize, share: f32) {
    let at = ABSOLUTE_POS;
    for leaf in leaves {
        if at >= leaf.start && at < leaf.end {
            let mut sum = 0.0f32;
            for task in 0..tasks {
                sum += leaf.x[task * leaf.x_stride + at - leaf.start];
            }
            out[at] = sum * share;
        }
    }
}

#[cube(launch)]
fn partial_dot_kernel(leaves: Sequence<Two>, out: &mut [f32], columns: usize, first: usize) {
    let row = CUBE_POS_Y as usize;
    let part = CUBE_POS_X as usize;
    let unit = UNIT_POS_X as usize;
    let mut shared = Shared::<[f32]>::new_slice(UNITS);
    let mut sum = 0.0f32;
    for leaf in leaves {
        if row >= leaf.start && row < leaf.end {
            let task = row - leaf.start;
            let mut at = part * UNITS + unit;
            while at < leaf.size {
                sum += leaf.x[task * leaf.x_stride + at] * leaf.y[task * leaf.y_stride + at];
                at += comptime!(PARTS * UNITS);
            }
        }
    }
    shared[unit] = sum;
    sync_cube();
    if unit == 0 {
        let mut total = 0.0f32;
        for at in 0..UNITS {
            total += shared[at];
        }
        out[row * columns + first + part] = total;
    }
}

/// Adds the columns of each row. The rows from `second` on belong `gap` further in `out`.
#[cube(launch)]
fn total_kernel(partial: &[f32], out: &mut [f32], tasks: usize, columns: usize, second: usize, gap: usize) {
    let row = ABSOLUTE_POS;
    if row < tasks {
        let mut total = 0.0f32;
        for at in 0..columns {
            total += partial[row * columns + at];
        }
        let mut place = row;
        if row >= second {
            place += gap;
        }
        out[place] = total;
    }
}

#[cube(launch)]
fn adam_kernel(
    leaves: Sequence<Moving>,
    out: &mut [f32],
    coefficients: Coefficients,
    #[comptime] has_moments: bool,
) {
    let at = ABSOLUTE_POS;
    for leaf in leaves {
        if at >= leaf.start && at < leaf.end {
            let place = at - leaf.start;
            let theta = leaf.theta[place];
            let gradient = leaf.gradient[place] + theta * coefficients.decay;
            let mut first = gradient * coefficients.rest_1;
            let mut second = gradient * gradient * coefficients.rest_2;
            if comptime!(has_moments) {
                first += leaf.first[place] * coefficients.beta_1;
                second += leaf.second[place] * coefficients.beta_2;
            }
            out[leaf.first_start + place] = first;
            out[leaf.second_start + place] = second;
            let direction = first * coefficients.factor / (second.sqrt() + coefficients.epsilon);
            out[at] = theta - direction * leaf.rate;
        }
    }
}
