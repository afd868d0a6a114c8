//! Convolution is bilinear: d(x ∗ w) = dx ∗ w + x ∗ dw, both terms in one pass.

use super::Dual;
use crate::kernel::{self, Grid};
use std::sync::Arc;

impl Dual<3> {
    /// `self [tasks, n·sources, channels]` under each task's `weights [tasks, taps·channels, filters]`:
    /// `[tasks, n·targets, filters]` (see [`kernel::convolve`]).
    pub fn convolve(self, weights: Self, grid: &Arc<Grid>) -> Self {
        let (x, w) = (self.primal, weights.primal);
        let tangent = match (self.tangent, weights.tangent) {
            (None, None) => None,
            (Some(along), None) => Some(kernel::convolve(along, w.clone(), grid)),
            (None, Some(along)) => Some(kernel::convolve(x.clone(), along, grid)),
            (Some(x_along), Some(w_along)) => {
                Some(kernel::convolve_two([x_along, w.clone()], [x.clone(), w_along], grid))
            }
        };
        Self { primal: kernel::convolve(x, w, grid), tangent }
    }
}
