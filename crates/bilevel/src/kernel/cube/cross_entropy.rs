//! The cross-entropy of a linear layer's softmax, for value and tangent together: a cube computes a task.
//!
//! With logits z = x W + b of n rows, targets y, s = Σ_k y, p the softmax of a row, and r = s p − y:
//!
//! ```text
//! L  = −1/n Σ y log p            z̄ = L̄ r / n
//! L̇  = 1/n Σ r ż                 ż = ẋ W + x Ẇ + ḃ
//!                                ż̄ = L̇̄ r / n,   z̄ = L̇̄ s p (ż − Σ_k p ż) / n
//! x̄ = z̄ Wᵀ + ż̄ Ẇᵀ,  W̄ = xᵀ z̄ + ẋᵀ ż̄,  b̄ = Σ_i z̄,     ẋ̄ = ż̄ Wᵀ,  Ẇ̄ = xᵀ ż̄,  ḃ̄ = Σ_i ż̄
//! ```
//!
//! z and ż are in shared memory, and z̄ and ż̄ take their place.

#![allow(clippy::too_many_arguments, reason = "a kernel has an argument for each buffer and size")]

use super::stack::{Allocation, Stack, argument, with_shape};
use burn_cubecl::cubecl;
use burn_cubecl::cubecl::prelude::*;
use burn_cubecl::tensor::CubeTensor;

/// Units of a cube.
const UNITS: usize = 256;

/// The most logits of a task: two arrays of them and one value of each unit are in shared memory.
pub const MAX_LOGITS: usize = 3584;

/// L and L̇, `[tasks]` each, for `inputs` x, W and b; a tangent of `None` is zero.
pub fn pair(
    inputs: [&CubeTensor; 3],
    tangents: [Option<&CubeTensor>; 3],
    targets: &CubeTensor,
) -> (CubeTensor, CubeTensor) {
    losses::<2>(inputs, tangents, targets).into()
}

/// L, `[tasks]`, for `inputs` x, W and b.
pub fn value(inputs: [&CubeTensor; 3], targets: &CubeTensor) -> CubeTensor {
    let [loss] = losses::<1>(inputs, [None; 3], targets);
    loss
}

fn losses<const N: usize>(
    inputs: [&CubeTensor; 3],
    tangents: [Option<&CubeTensor>; 3],
    targets: &CubeTensor,
) -> [CubeTensor; N] {
    let head = Head::new(inputs, tangents, targets);
    let [tasks, ..] = head.x.dims;
    let out = Allocation::<N>::new(targets, [[1, 1, tasks]; N]);
    loss_kernel::launch(
        &targets.client,
        CubeCount::Static(tasks as u32, 1, 1),
        CubeDim::new_1d(UNITS as u32),
        head.arguments(),
        out.argument(),
        out.starts[N - 1],
        head.logits(),
        N == 2,
        tangents.map(|tangent| tangent.is_some()),
    );
    out.tensors().map(|tensor| with_shape(&tensor, [tasks]))
}

/// The gradients of [x, W, b, ẋ, Ẇ, ḃ], given those of L and L̇, at least one of which is present. Without a gradient of L̇
/// the last three are absent.
pub fn gradients(
    inputs: [&CubeTensor; 3],
    tangents: [Option<&CubeTensor>; 3],
    targets: &CubeTensor,
    gradients: [Option<&CubeTensor>; 2],
) -> [Option<CubeTensor>; 6] {
    let moves = gradients[1].is_some();
    let tangents = tangents.map(|tangent| tangent.filter(|_| moves));
    let head = Head::new(inputs, tangents, targets);
    let shapes = [&head.x, &head.weight, &head.bias].map(|stack| stack.dims);
    let [tasks, ..] = head.x.dims;
    let bias = [tasks, 1, shapes[2][2]];
    let [x, weight, _] = shapes.map(|[_, rows, columns]| [tasks, rows, columns]);
    let of_tangents = if moves { [x, weight, bias] } else { [[1; 3]; 3] };
    let out = Allocation::new(targets, [x, weight, bias, of_tangents[0], of_tangents[1], of_tangents[2]]);
    let [g, g_tangent] = gradients.map(|gradient| {
        let given = gradient.or(gradients[0]).or(gradients[1]);
        let given = given.unwrap_or_else(|| unreachable!("one of the gradients is present"));
        let stride = if tasks == 1 { 1 } else { given.meta.strides()[0] };
        let length = (tasks - 1) * stride + 1;
        (argument(given, length, if gradient.is_some() { length } else { 0 }), stride)
    });
    gradient_kernel::launch(
        &targets.client,
        CubeCount::Static(tasks as u32, 1, 1),
        CubeDim::new_1d(UNITS as u32),
        head.arguments(),
        g.0,
        g_tangent.0,
        out.argument(),
        PlacesLaunch::new(
            g.1,
            g_tangent.1,
            out.starts[1],
            out.starts[2],
            out.starts[3],
            out.starts[4],
            out.starts[5],
        ),
        head.logits(),
        gradients[0].is_some(),
        moves,
        tangents.map(|tangent| tangent.is_some()),
    );
    let mut found = out.tensors().map(Some);
    if !moves {
        found[3..].fill(None);
    }
    found
}

/// The inputs of both kernels.
struct Head {
    x: Stack,
    weight: Stack,
    bias: Stack,
    tangents: [Stack; 3],
    targets: Stack,
}

impl Head {
    fn new(inputs: [&CubeTensor; 3], tangents: [Option<&CubeTensor>; 3], targets: &CubeTensor) -> Self {
        let [x, weight, bias] = inputs.map(Stack::new);
        // What is absent is not read; x takes its place as an argument.
        let tangents = tangents.map(|tangent| tangent.map_or_else(|| x.unread(), Stack::new));
        Self { x, weight, bias, tangents, targets: Stack::new(targets) }
    }

    /// Logits of a task.
    fn logits(&self) -> usize {
        self.targets.dims[1] * self.targets.dims[2]
    }

    fn arguments(&self) -> InputsLaunch {
        let [x_tangent, weight_tangent, bias_tangent] = &self.tangents;
        let [_, rows, classes] = self.targets.dims;
        InputsLaunch::new(
            self.x.argument(),
            self.weight.argument(),
            self.bias.argument(),
            x_tangent.argument(),
            weight_tangent.argument(),
            bias_tangent.argument(),
            self.targets.argument(),
            self.x.stride,
            self.weight.stride,
            self.bias.stride,
            x_tangent.stride,
            weight_tangent.stride,
            bias_tangent.stride,
            self.targets.stride,
            rows,
            self.x.dims[2],
            classes,
            1.0 / rows as f32,
        )
    }
}

#[derive(CubeLaunch, CubeType)]
struct Inputs {
    x: Box<[f32]>,
    weight: Box<[f32]>,
    bias: Box<[f32]>,
    x_tangent: Box<[f32]>,
    weight_tangent: Box<[f32]>,
    bias_tangent: Box<[f32]>,
    targets: Box<[f32]>,
    /// Values from one task to the next.
    x_stride: usize,
    weight_stride: usize,
    bias_stride: usize,
    x_tangent_stride: usize,
    weight_tangent_stride: usize,
    bias_tangent_stride: usize,
    targets_stride: usize,
    /// n
    rows: usize,
    /// Columns of x.
    width: usize,
    /// Columns of z.
    classes: usize,
    /// 1/n
    share: f32,
}

/// Where gradients are.
#[derive(CubeLaunch, CubeType)]
struct Places {
    /// Values from one task to the next, of the given gradients.
    g: usize,
    g_tangent: usize,
    /// The first value of each result but the first.
    weight: usize,
    bias: usize,
    x_tangent: usize,
    weight_tangent: usize,
    bias_tangent: usize,
}

#[cube(launch)]
fn loss_kernel(
    inputs: Inputs,
    out: &mut [f32],
    tangent_start: usize,
    #[comptime] logits: usize,
    #[comptime] moves: bool,
    #[comptime] has: [bool; 3],
) {
    let task = CUBE_POS_X as usize;
    let unit = UNIT_POS_X as usize;
    let mut z = Shared::<[f32]>::new_slice(logits);
    let mut z_tangent = Shared::<[f32]>::new_slice(comptime!(if moves { logits } else { 1 }));
    let mut partial = Shared::<[f32]>::new_slice(comptime!(2 * UNITS));
    fill(&inputs, task, unit, &mut z, &mut z_tangent, logits, moves, has);
    sync_cube();

    let mut loss = 0.0f32;
    let mut tangent = 0.0f32;
    let mut row = unit;
    while row < inputs.rows {
        let first = row * inputs.classes;
        let targets = task * inputs.targets_stride + first;
        let (largest, total) = softmax(&z, first, inputs.classes);
        let log_total = total.ln();
        let mut sum = 0.0f32;
        for class in 0..inputs.classes {
            let target = inputs.targets[targets + class];
            sum += target;
            loss -= target * (z[first + class] - largest - log_total);
        }
        if comptime!(moves) {
            for class in 0..inputs.classes {
                let p = (z[first + class] - largest).exp() / total;
                let r = sum * p - inputs.targets[targets + class];
                tangent += r * z_tangent[first + class];
            }
        }
        row += UNITS;
    }
    partial[unit] = loss;
    partial[UNITS + unit] = tangent;
    sync_cube();
    if unit == 0 {
        let mut loss = 0.0f32;
        let mut tangent = 0.0f32;
        for at in 0..UNITS {
            loss += partial[at];
            tangent += partial[UNITS + at];
        }
        out[task] = loss * inputs.share;
        if comptime!(moves) {
            out[tangent_start + task] = tangent * inputs.share;
        }
    }
}

#[cube(launch)]
fn gradient_kernel(
    inputs: Inputs,
    g: &[f32],
    g_tangent: &[f32],
    out: &mut [f32],
    places: Places,
    #[comptime] logits: usize,
    #[comptime] has_g: bool,
    #[comptime] moves: bool,
    #[comptime] has: [bool; 3],
) {
    let task = CUBE_POS_X as usize;
    let unit = UNIT_POS_X as usize;
    let mut z = Shared::<[f32]>::new_slice(logits);
    let mut z_tangent = Shared::<[f32]>::new_slice(comptime!(if moves { logits } else { 1 }));
    fill(&inputs, task, unit, &mut z, &mut z_tangent, logits, moves, has);
    sync_cube();

    // z̄ and ż̄ in place of z and ż.
    let mut scale = 0.0f32;
    if comptime!(has_g) {
        scale = g[task * places.g] * inputs.share;
    }
    let mut tangent_scale = 0.0f32;
    if comptime!(moves) {
        tangent_scale = g_tangent[task * places.g_tangent] * inputs.share;
    }
    let classes = inputs.classes;
    let mut row = unit;
    while row < inputs.rows {
        let first = row * classes;
        let targets = task * inputs.targets_stride + first;
        let (largest, total) = softmax(&z, first, classes);
        let mut sum = 0.0f32;
        let mut mean = 0.0f32;
        for class in 0..classes {
            sum += inputs.targets[targets + class];
            if comptime!(moves) {
                mean += (z[first + class] - largest).exp() / total * z_tangent[first + class];
            }
        }
        for class in 0..classes {
            let p = (z[first + class] - largest).exp() / total;
            let r = sum * p - inputs.targets[targets + class];
            let mut gradient = scale * r;
            if comptime!(moves) {
                gradient += tangent_scale * sum * p * (z_tangent[first + class] - mean);
                z_tangent[first + class] = tangent_scale * r;
            }
            z[first + class] = gradient;
        }
        row += UNITS;
    }
    sync_cube();

    let width = inputs.width;
    let mut at = unit;
    while at < inputs.rows * width {
        let row = at / width;
        let column = at % width;
        let mut to_x = 0.0f32;
        let mut to_x_tangent = 0.0f32;
        for class in 0..classes {
            let weight = inputs.weight[task * inputs.weight_stride + column * classes + class];
            to_x += z[row * classes + class] * weight;
            if comptime!(moves) {
                let u = z_tangent[row * classes + class];
                to_x_tangent += u * weight;
                if comptime!(has[1]) {
                    let place = task * inputs.weight_tangent_stride + column * classes + class;
                    to_x += u * inputs.weight_tangent[place];
                }
            }
        }
        out[task * inputs.rows * width + at] = to_x;
        if comptime!(moves) {
            out[places.x_tangent + task * inputs.rows * width + at] = to_x_tangent;
        }
        at += UNITS;
    }

    let mut at = unit;
    while at < width * classes {
        let column = at / classes;
        let class = at % classes;
        let mut to_weight = 0.0f32;
        let mut to_tangent = 0.0f32;
        for row in 0..inputs.rows {
            let value = inputs.x[task * inputs.x_stride + row * width + column];
            to_weight += value * z[row * classes + class];
            if comptime!(moves) {
                let u = z_tangent[row * classes + class];
                to_tangent += value * u;
                if comptime!(has[0]) {
                    to_weight += inputs.x_tangent[task * inputs.x_tangent_stride + row * width + column] * u;
                }
            }
        }
        out[places.weight + task * width * classes + at] = to_weight;
        if comptime!(moves) {
            out[places.weight_tangent + task * width * classes + at] = to_tangent;
        }
        at += UNITS;
    }

    let mut class = unit;
    while class < classes {
        let mut to_bias = 0.0f32;
        let mut to_tangent = 0.0f32;
        for row in 0..inputs.rows {
            to_bias += z[row * classes + class];
            if comptime!(moves) {
                to_tangent += z_tangent[row * classes + class];
            }
        }
        out[places.bias + task * classes + class] = to_bias;
        if comptime!(moves) {
            out[places.bias_tangent + task * classes + class] = to_tangent;
        }
        class += UNITS;
    }
}

/// Writes z and ż of a task.
#[cube]
fn fill(
    inputs: &Inputs,
    task: usize,
    unit: usize,
    z: &mut Shared<[f32]>,
    z_tangent: &mut Shared<[f32]>,
    #[comptime] logits: usize,
    #[comptime] moves: bool,
    #[comptime] has: [bool; 3],
) {
    let mut at = unit;
    while at < logits {
        let row = at / inputs.classes;
        let class = at % inputs.classes;
        let mut value = inputs.bias[task * inputs.bias_stride + class];
        let mut tangent = 0.0f32;
        if comptime!(moves && has[2]) {
            tangent = inputs.bias_tangent[task * inputs.bias_tangent_stride + class];
        }
        for column in 0..inputs.width {
            let x = inputs.x[task * inputs.x_stride + row * inputs.width + column];
            let weight = inputs.weight[task * inputs.weight_stride + column * inputs.classes + class];
            value += x * weight;
            if comptime!(moves && has[0]) {
                tangent +=
                    inputs.x_tangent[task * inputs.x_tangent_stride + row * inputs.width + column] * weight;
            }
            if comptime!(moves && has[1]) {
                let place = task * inputs.weight_tangent_stride + column * inputs.classes + class;
                tangent += x * inputs.weight_tangent[place];
            }
        }
        z[at] = value;
        if comptime!(moves) {
            z_tangent[at] = tangent;
        }
        at += UNITS;
    }
}

/// The largest logit m of the row that begins at `first`, and Σ exp(z − m).
#[cube]
fn softmax(z: &Shared<[f32]>, first: usize, classes: usize) -> (f32, f32) {
    let mut largest = z[first];
    for class in 1..classes {
        let value = z[first + class];
        largest = select(value > largest, value, largest);
    }
    let mut total = 0.0f32;
    for class in 0..classes {
        total += (z[first + class] - largest).exp();
    }
    (largest, total)
}
