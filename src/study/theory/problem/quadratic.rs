//! The quadratic family with an outer loss of its own. Where the inner loss is quadratic and the outer one straight, the
//! bias of first-order attains the bound for convex losses of one parameter.

use super::{Class, Constants, Known};
use crate::study::quadratic::family::Task;
use crate::study::quadratic::problem::QuadraticProblem;
use bilevel::Params;

/// Curvatures a.
const CURVATURES: [f64; 2] = [0.5, 1.5];
/// Radius A of the region in which losses are quadratic.
const RADIUS: f64 = 2.0;
/// Distances of θ to the inner loss's minimum: within the quadratic region, in the bend and beyond.
const DISTANCES: [f64; 5] = [0.5, 1.0, 1.9, 2.5, 5.0];
/// Distances of the outer loss's minimum to that of the inner loss: the same loss, and so far that it is straight.
const SHIFTS: [f64; 3] = [0.0, 1.0, 20.0];

/// Tasks with every combination of curvature, distance and shift.
pub struct Quadratic {
    inner: Vec<Task>,
    outer: Vec<Task>,
}

impl Quadratic {
    /// All tasks.
    pub fn new() -> Self {
        let (mut inner, mut outer) = (Vec::new(), Vec::new());
        for curvature in CURVATURES {
            for distance in DISTANCES {
                for shift in SHIFTS {
                    let task = |minimum: f64| Task { curvature, offset: curvature * minimum, radius: RADIUS };
                    inner.push(task(-distance));
                    outer.push(task(-distance - shift));
                }
            }
        }
        Self { inner, outer }
    }
}

impl Known for Quadratic {
    type Problem = QuadraticProblem;

    const CLASS: Class = Class::ConvexOfOne;

    fn curvature(&self) -> f64 {
        CURVATURES.into_iter().fold(0.0, f64::max)
    }

    fn problem(&self, rate: f64, _steps: usize) -> (QuadraticProblem, Vec<Constants>) {
        let slope = |task: &Task| task.curvature * (0.5 + task.radius);
        let pairs = self.inner.iter().zip(&self.outer);
        let constants =
            pairs.map(|(inner, outer)| Constants { curvature: inner.curvature, slope: slope(outer) });
        let problem = QuadraticProblem { inner: self.inner.clone(), outer: self.outer.clone(), rate };
        (problem, constants.collect())
    }

    fn theta(&self) -> Params {
        QuadraticProblem::theta(0.0)
    }
}
