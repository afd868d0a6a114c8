//! The gradient of an outer loss before it is taken to θ.

use super::products::through_start;
use crate::launches::Phase;
use crate::params::Params;
use crate::problem::Bilevel;
use burn::tensor::Tensor;

/// A vector v in φ's shape and a vector h in θ's shape, of each task. Together they stand for the gradient
/// h + (∂V/∂θ)ᵀ v in θ.
///
/// That gradient is linear in (v, h). So pairs are added and scaled first, and V is differentiated once for all of them.
#[derive(Clone)]
pub struct OuterGradient {
    /// v
    pub fast: Params,
    /// h; `None` if it is zero.
    pub direct: Option<Params>,
}

impl OuterGradient {
    /// ∇_φ L_out and ∂_θ L_out at φ_step = `fast`, times `weight`, and L_out of each task without it.
    pub fn at<P: Bilevel>(
        problem: &P,
        outer: &Params,
        step: usize,
        fast: &Params,
        weight: f64,
    ) -> (Self, Tensor<1>) {
        Phase::Outer.run(|| {
            let (theta, phi) = (outer.tracked(), fast.tracked());
            let loss = problem.outer_loss(step, &theta, &phi);
            let value = loss.clone().inner();
            let [direct, vector] = Params::gradients([&theta, &phi], loss);
            let gradient = Self { fast: vector.unwrap_or_else(|| fast.zeros_like()), direct };
            (gradient.scale(&vec![weight; outer.tasks()]), value)
        })
    }

    /// Zero, for the same tasks.
    pub fn zeros_like(&self) -> Self {
        Self { fast: self.fast.zeros_like(), direct: None }
    }

    /// The gradient of each task times that task's factor.
    pub fn scale(self, factors: &[f64]) -> Self {
        let direct = self.direct.map(|direct| direct.scale(factors));
        Self { fast: self.fast.scale(factors), direct }
    }

    /// The gradients of the tasks at `tasks`, in that order.
    pub fn select(&self, tasks: &[usize]) -> Self {
        let direct = self.direct.as_ref().map(|direct| direct.select(tasks));
        Self { fast: self.fast.select(tasks), direct }
    }

    /// Adds `update` to the gradients of the tasks at `tasks`, which must be distinct. `outer` is θ with all tasks.
    pub fn add_at(self, tasks: &[usize], update: Self, outer: &Params) -> Self {
        let direct = match (self.direct, update.direct) {
            (direct, None) => direct,
            (direct, Some(update)) => {
                Some(direct.unwrap_or_else(|| outer.zeros_like()).add_at(tasks, update))
            }
        };
        Self { fast: self.fast.add_at(tasks, update.fast), direct }
    }

    /// h + (∂V/∂θ)ᵀ v at θ = `outer`, in θ's shape.
    pub fn in_theta<P: Bilevel>(self, problem: &P, outer: &Params) -> Params {
        let through = through_start(problem, outer, self.fast);
        sum(self.direct, through).unwrap_or_else(|| outer.zeros_like())
    }
}

impl std::ops::Add for OuterGradient {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { fast: self.fast + other.fast, direct: sum(self.direct, other.direct) }
    }
}

/// The sum of two gradients, either of which may be zero (`None`).
fn sum(left: Option<Params>, right: Option<Params>) -> Option<Params> {
    match (left, right) {
        (Some(left), Some(right)) => Some(left + right),
        (left, right) => left.or(right),
    }
}
