//! Inner learning rates: one for all fast weights, or one for each.

use crate::stack::Stack;

/// α_j: what an inner step multiplies the inner loss's gradient by.
///
/// Rates made of θ are learned with it: Li et al., *Meta-SGD: learning to learn quickly for few-shot
/// learning*, 2017.
#[derive(Clone, Debug)]
pub enum Rates {
    /// One number.
    Scalar(f64),
    /// A number for every fast weight, in φ's shape or with lengths of 1, which are shared along that axis:
    /// `[tasks, …]` or `[1, …]`, and `[tasks, 1, 1]` is one for a whole leaf.
    Each(Stack),
}

impl Rates {
    /// α_j ∘ `direction`, in φ's shape.
    pub fn times(&self, direction: &Stack) -> Stack {
        match self {
            Self::Scalar(rate) => direction.clone().map(|leaf| leaf.mul_scalar(*rate)),
            Self::Each(rates) => rates.clone().zip(direction.clone(), |rate, leaf| rate * leaf),
        }
    }
}
