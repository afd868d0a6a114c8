//! What an estimate costs, counted.

use serde::{Deserialize, Serialize};
use std::ops::AddAssign;

/// What one estimate cost, in gradient evaluations of one task's loss.
///
/// A Hessian-vector product counts as one, as in the reference code; its arithmetic is about three
/// gradients'.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evaluations {
    /// Gradients of inner losses.
    pub inner: u64,
    /// Gradients of outer losses.
    pub outer: u64,
    /// Hessian-vector products (with the mixed ones, which come along).
    pub products: u64,
    /// Gradients of inner losses taken again, for iterates that were not kept.
    #[serde(default)]
    pub recomputed: u64,
}

impl Evaluations {
    /// All together.
    pub fn total(&self) -> u64 {
        self.inner + self.outer + self.products + self.recomputed
    }
}

impl AddAssign for Evaluations {
    fn add_assign(&mut self, other: Self) {
        self.inner += other.inner;
        self.outer += other.outer;
        self.products += other.products;
        self.recomputed += other.recomputed;
    }
}
