//! The cost of an estimate, in gradient evaluations.

use serde::{Deserialize, Serialize};
use std::ops::AddAssign;

/// The cost of one estimate, in gradient evaluations of one task's loss.
///
/// A Hessian-vector product counts as one evaluation, as in the reference code; its arithmetic is that of about three
/// gradients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evaluations {
    /// Gradients of inner losses.
    pub inner: u64,
    /// Gradients of outer losses.
    pub outer: u64,
    /// Hessian-vector products, each with its mixed product.
    pub products: u64,
    /// Gradients of inner losses recomputed for iterates that were not stored.
    #[serde(default)]
    pub recomputed: u64,
}

impl Evaluations {
    /// The sum of all.
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
