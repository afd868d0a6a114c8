//! Pooling: the largest value or the mean of each window of an image.

use super::Dual;
use crate::kernel::{self, Grid, reference};
use std::sync::Arc;

impl Dual<3> {
    /// The largest values of `self [tasks, n·sources, channels]` in each window: `[tasks, n·targets, channels]` (see
    /// [`kernel::max_pool`]). The tangent is that of the largest value, ẏ = ẋ_argmax.
    ///
    /// # Panics
    /// Panics if a window extends beyond the image, or the rows are not those of whole images.
    pub fn max_pool(self, grid: &Arc<Grid>) -> Self {
        let tangent =
            self.tangent.map(|tangent| kernel::max_pool_tangent(self.primal.clone(), tangent, grid));
        Self { primal: kernel::max_pool(self.primal, grid), tangent }
    }

    /// The mean of `self [tasks, n·sources, channels]` over each window: `[tasks, n·targets, channels]`. Padding counts
    /// as zeros.
    ///
    /// # Panics
    /// Panics if the rows are not those of whole images.
    pub fn mean_pool(self, grid: &Grid) -> Self {
        self.linear(|x| reference::mean_pool(x, grid))
    }
}
