//! Inner learning rates: one for all fast weights, or one per weight.

use crate::params::Params;

/// α_j: the learning rates of an inner step.
///
/// Rates that are part of θ are learned: Li et al., *Meta-SGD: learning to learn quickly for few-shot learning*, 2017.
#[derive(Clone, Debug)]
pub enum Rates {
    /// One rate for all fast weights.
    Scalar(f64),
    /// One rate per fast weight. The leaves are broadcast to φ's: for example, `[1, rows, columns]` is the same for all
    /// tasks, and `[tasks, 1, 1]` is one rate per task and leaf.
    Each(Params),
}

impl Rates {
    /// α_j ∘ `direction`, with φ's shapes.
    pub fn times(&self, direction: &Params) -> Params {
        match self {
            Self::Scalar(rate) => direction.clone().scale(&vec![*rate; direction.tasks()]),
            Self::Each(rates) => rates.clone().zip(direction.clone(), |rate, leaf| rate * leaf),
        }
    }

    /// `from` − α_j ∘ `direction`.
    pub fn descend(&self, from: Params, direction: Params) -> Params {
        match self {
            Self::Scalar(rate) => {
                let tasks: Vec<usize> = (0..direction.tasks()).collect();
                from.add_scaled_at(&tasks, direction, &vec![-rate; tasks.len()])
            }
            Self::Each(_) => from - self.times(&direction),
        }
    }
}
