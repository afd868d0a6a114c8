//! Convolution. It is bilinear: d(x ∗ w) = dx ∗ w + x ∗ dw; both terms are computed in one pass.

use super::Dual;
use crate::kernel::{self, Grid};
use std::sync::Arc;

impl Dual<3> {
    /// Convolves `self [tasks, n·sources, channels]` with each task's `weights [tasks, taps·channels, filters]`;
    /// returns `[tasks, n·targets, filters]` (see [`kernel::convolve`]).
    ///
    /// # Panics
    /// Panics if the rows of `self` are not those of whole images.
    pub fn convolve(self, weights: Self, grid: &Arc<Grid>) -> Self {
        let (x, w) = (self.primal, weights.primal);
        let tangents = [self.tangent, weights.tangent];
        if tangents.iter().any(Option::is_some) && kernel::has_pairs(&x) {
            let [primal, tangent] = kernel::convolve_pair([x, w], tangents, grid);
            return Self { primal, tangent: Some(tangent) };
        }
        let tangent = match tangents {
            [None, None] => None,
            [Some(dx), None] => Some(kernel::convolve(dx, w.clone(), grid)),
            [None, Some(dw)] => Some(kernel::convolve(x.clone(), dw, grid)),
            [Some(dx), Some(dw)] => Some(kernel::convolve_two([dx, w.clone()], [x.clone(), dw], grid)),
        };
        Self { primal: kernel::convolve(x, w, grid), tangent }
    }
}
