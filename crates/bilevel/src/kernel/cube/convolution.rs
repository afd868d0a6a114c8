//! Convolutions and their gradients as [products](super::product).

use super::product::{Connections, Kind, product};
use crate::kernel::Grid;
use burn_cubecl::tensor::CubeTensor;

/// `images [tasks, n·sources, channels]` convolved with `weights [tasks, taps·channels, filters]`.
pub fn convolve(grid: &Grid, images: &CubeTensor, weights: &CubeTensor) -> CubeTensor {
    let [y, _] = along(Kind::Rows, grid, [Some(images), None], [Some(weights), None], [true, false]);
    found(y)
}

/// The sum of two convolutions, each of images and weights.
pub fn convolve_two(grid: &Grid, [a, v]: [&CubeTensor; 2], [b, w]: [&CubeTensor; 2]) -> CubeTensor {
    let [_, sum] = along(Kind::Rows, grid, [Some(b), Some(a)], [Some(v), Some(w)], [false, true]);
    found(sum)
}

/// y = x∗w and ẏ = ẋ∗w + x∗ẇ; at least one tangent is given.
pub fn convolve_pair(
    grid: &Grid,
    [x, w]: [&CubeTensor; 2],
    [x_tangent, w_tangent]: [Option<&CubeTensor>; 2],
) -> (CubeTensor, CubeTensor) {
    let [y, tangent] = along(Kind::Rows, grid, [Some(x), x_tangent], [Some(w), w_tangent], [true; 2]);
    (found(y), found(tangent))
}

/// x̄, given the `gradient` of y = x∗w.
pub fn input_gradient(grid: &Grid, gradient: &CubeTensor, weights: &CubeTensor) -> CubeTensor {
    let [x, _] =
        along(Kind::RowsByTransposed, grid, [Some(gradient), None], [Some(weights), None], [true, false]);
    found(x)
}

/// w̄, given the `gradient` of y = x∗w.
pub fn weight_gradient(grid: &Grid, images: &CubeTensor, gradient: &CubeTensor) -> CubeTensor {
    let [w, _] = along(Kind::Weights, grid, [Some(images), None], [Some(gradient), None], [true, false]);
    found(w)
}

/// The gradients of [x, w, ẋ, ẇ] that are `needed`, given those of y and ẏ of [`convolve_pair`].
pub fn pair_gradients(
    grid: &Grid,
    [x, w, x_tangent, w_tangent]: [Option<&CubeTensor>; 4],
    [of_y, of_tangent]: [Option<&CubeTensor>; 2],
    needed: [bool; 4],
) -> [Option<CubeTensor>; 4] {
    // x̄ = ȳ wᵀ + ẏ̄ ẇᵀ and ẋ̄ = ẏ̄ wᵀ; w̄ = xᵀ ȳ + ẋᵀ ẏ̄ and ẇ̄ = xᵀ ẏ̄.
    let moves = of_tangent.is_some();
    let depends = |tangent: Option<_>| of_y.is_some() || moves && tangent.is_some();
    let inputs = [needed[2] && moves, needed[0] && depends(w_tangent)];
    let [to_x_tangent, to_x] =
        along(Kind::RowsByTransposed, grid, [of_tangent, of_y], [w, w_tangent], inputs);
    let weights = [needed[3] && moves, needed[1] && depends(x_tangent)];
    let [to_w_tangent, to_w] = along(Kind::Weights, grid, [x, x_tangent], [of_tangent, of_y], weights);
    [to_x, to_w, to_x_tangent, to_w_tangent]
}

/// A product over the connections of `grid`: forwards from sources to targets, or, for
/// [`Kind::RowsByTransposed`], backwards.
fn along(
    kind: Kind,
    grid: &Grid,
    a: [Option<&CubeTensor>; 2],
    b: [Option<&CubeTensor>; 2],
    wanted: [bool; 2],
) -> [Option<CubeTensor>; 2] {
    let like = a.into_iter().flatten().next().unwrap_or_else(|| unreachable!("a product has both factors"));
    // Any number of pixels can be one image of a 1×1 kernel's.
    let (sources, targets) =
        if grid.is_pointwise() { (1, 1) } else { (grid.source_pixels(), grid.target_pixels()) };
    let [forward, backward] = grid.tables(like);
    let (table, pixels, listed) = match kind {
        Kind::Rows | Kind::Weights => (forward, sources, targets),
        Kind::RowsByTransposed => (backward, targets, sources),
    };
    product(kind, Connections { taps: grid.taps(), pixels, listed }, &table, a, b, wanted)
}

fn found(tensor: Option<CubeTensor>) -> CubeTensor {
    tensor.unwrap_or_else(|| unreachable!("it was wanted"))
}
