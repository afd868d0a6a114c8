//! The quadratic family as a bi-level problem for the engine, in float64 on flex. [`Family`] has the same gradients in
//! closed form; `tests/it/studies.rs` compares the two.

use super::family::{Family, Task};
use bilevel::{Bilevel, Dual, Params, Rates};
use burn::tensor::{DType, Device, Tensor, TensorData};

/// Tasks of one parameter, θ and φ of shape `[tasks, 1, 1]`.
#[derive(Clone, Debug)]
pub struct QuadraticProblem {
    /// L_in of each task.
    pub inner: Vec<Task>,
    /// L_out of each task.
    pub outer: Vec<Task>,
    /// Inner rate α.
    pub rate: f64,
}

impl QuadraticProblem {
    /// The two tasks of `family`; L_in = L_out.
    pub fn of(family: &Family) -> Self {
        Self { inner: family.tasks.to_vec(), outer: family.tasks.to_vec(), rate: family.rate }
    }

    /// θ = `value`.
    pub fn theta(value: f64) -> Params {
        Params::new(vec![Tensor::full([1, 1, 1], value, (&Device::flex(), DType::F64))])
    }
}

/// The losses of `tasks` at `x`, their pieces made of `relu`: with m = min(z, A), u the part of z from A to A + 1 and w
/// that beyond, ½am² + a(−u³/6 + u²/2 + Au) + (a/2 + aA)w.
fn losses(tasks: &[Task], x: &Dual<3>) -> Dual<1> {
    let each = |number: fn(&Task) -> f64| {
        let numbers: Vec<f64> = tasks.iter().map(number).collect();
        let shape = [tasks.len(), 1, 1];
        Dual::constant(Tensor::from_data(TensorData::new(numbers, shape), (&Device::flex(), DType::F64)))
    };
    let from = x.clone() - each(|task| task.offset / task.curvature);
    let distance = from.clone().relu() + from.scale(-1.0).relu();
    let beyond = (distance.clone() - each(|task| task.radius)).relu();
    let far = (distance.clone() - each(|task| task.radius + 1.0)).relu();
    let (within, between) = (distance - beyond.clone(), beyond - far.clone());
    let square = between.clone() * between.clone();
    let cube = square.clone() * between.clone();
    let a = || each(|task| task.curvature);
    let middle = square.scale(0.5) - cube.scale(1.0 / 6.0) + each(|task| task.radius) * between;
    let outside = each(|task| task.curvature * (0.5 + task.radius)) * far;
    let loss = a() * (within.clone() * within).scale(0.5) + a() * middle + outside;
    loss.reshape([tasks.len()])
}

impl Bilevel for QuadraticProblem {
    fn tasks(&self) -> usize {
        self.inner.len()
    }

    fn inner_rates(&self, _step: usize, _outer: &Params) -> Rates {
        Rates::Scalar(self.rate)
    }

    fn inner_loss(&self, _step: usize, _outer: &[Dual<3>], fast: &[Dual<3>]) -> Dual<1> {
        losses(&self.inner, &fast[0])
    }

    fn outer_loss(&self, _step: usize, _outer: &Params, fast: &Params) -> Tensor<1> {
        losses(&self.outer, &fast.constant()[0]).primal
    }

    fn select(&self, tasks: &[usize]) -> Self {
        let pick = |of: &[Task]| tasks.iter().map(|task| of[*task]).collect();
        Self { inner: pick(&self.inner), outer: pick(&self.outer), rate: self.rate }
    }
}
