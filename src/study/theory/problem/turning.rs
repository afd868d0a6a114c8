//! Convex inner losses in the plane whose Hessians do not commute.
//!
//! ```text
//! L_in of step j = ½ (n_j·φ)²,   L_out = u·φ,   ‖∇²L_in‖ = 1,   ‖∇L_out‖ = 1
//! ```
//!
//! Each inner step pulls φ towards a line, and the lines turn by the same angle from step to step. At αL = 1 every factor
//! I − αH_j is the projection onto the line of step j. Projections onto lines that turn by π in all take u nearly to
//! −u: the bias tends to 2, the bound for convex losses, while the bound of one parameter is 1.

use super::{Class, Constants, Known, tensor};
use bilevel::{Bilevel, Dual, Params, Rates, task_indices};
use burn::tensor::Tensor;
use std::f64::consts::{FRAC_PI_2, FRAC_PI_4};

/// Tasks that differ in the angle by which the lines turn in all, in quarters of π, and in whether u is along the last
/// line or perpendicular to it.
pub struct Turning;

/// The largest of these angles, in quarters of π.
const QUARTERS: usize = 4;

impl Known for Turning {
    type Problem = TurningProblem;

    const CLASS: Class = Class::Convex;

    fn curvature(&self) -> f64 {
        1.0
    }

    fn problem(&self, rate: f64, steps: usize) -> (TurningProblem, Vec<Constants>) {
        let angles: Vec<f64> = (0..=QUARTERS)
            .flat_map(|quarters| [FRAC_PI_4 * quarters as f64 / (steps.max(2) - 1) as f64; 2])
            .collect();
        let tasks = angles.len();
        // The line of step r is the first axis.
        let slopes = (0..tasks).flat_map(|task| if task % 2 == 0 { [1.0, 0.0] } else { [0.0, 1.0] });
        let problem = TurningProblem {
            slopes: tensor(slopes.collect(), [tasks, 1, 2]),
            angles: tensor(angles, [tasks, 1, 1]),
            steps,
            rate,
        };
        (problem, vec![Constants { curvature: 1.0, slope: 1.0 }; tasks])
    }

    fn theta(&self) -> Params {
        Params::new(vec![tensor(vec![0.0; 2], [1, 1, 2])])
    }
}

/// The problem at one inner rate and number of inner steps; θ and φ are `[tasks, 1, 2]`.
pub struct TurningProblem {
    /// The angle between the lines of one step and the next, `[tasks, 1, 1]`.
    angles: Tensor<3>,
    /// u, `[tasks, 1, 2]`.
    slopes: Tensor<3>,
    steps: usize,
    rate: f64,
}

impl Bilevel for TurningProblem {
    fn tasks(&self) -> usize {
        self.angles.dims()[0]
    }

    fn inner_rates(&self, _step: usize, _outer: &Params) -> Rates {
        Rates::Scalar(self.rate)
    }

    fn inner_loss(&self, step: usize, _outer: &[Dual<3>], fast: &[Dual<3>]) -> Dual<1> {
        let normal = self.angles.clone() * (self.steps - step) as f64 + FRAC_PI_2;
        let normal = Tensor::cat(vec![normal.clone().cos(), normal.sin()], 2);
        (fast[0].clone() * Dual::constant(normal)).sum_dim(2).squared_norm().scale(0.5)
    }

    fn outer_loss(&self, _step: usize, _outer: &Params, fast: &Params) -> Tensor<1> {
        let tasks = self.tasks();
        (fast.leaves()[0].clone() * self.slopes.clone()).sum_dim(2).reshape([tasks])
    }

    fn select(&self, tasks: &[usize]) -> Self {
        let pick = |of: &Tensor<3>| of.clone().select(0, task_indices(tasks, &of.device()));
        Self { angles: pick(&self.angles), slopes: pick(&self.slopes), steps: self.steps, rate: self.rate }
    }
}
