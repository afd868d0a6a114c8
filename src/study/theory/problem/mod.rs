//! Problems whose smoothness constants are known, and the bounds on the error of truncated gradients that hold for them.
//!
//! Per task, with ‖∇²L_in‖ ≤ L, ‖∇L_out‖ ≤ B, V the identity and r inner steps at rate α (derivations in
//! docs/mathematics.md, "First-order's bias"):
//!
//! ```text
//! any losses                                ‖g_r − g_K‖ ≤ ((1 + αL)^r − (1 + αL)^K) B
//! convex L_in, αL ≤ 2                       ‖g_r − g_K‖ ≤ min((r − K)αL, 2) B
//! convex L_in of one parameter, αL ≤ 1      ‖g_r − g_K‖ ≤ (1 − (1 − αL)^(r−K)) B
//! ```

mod quadratic;
mod turning;
mod waves;

pub use quadratic::Quadratic;
pub use turning::Turning;
pub use waves::Waves;

use bilevel::{Bilevel, Params};
use burn::tensor::{DType, Device, Tensor, TensorData};

/// What is known of a task's losses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Constants {
    /// L ≥ ‖∇²L_in‖.
    pub curvature: f64,
    /// B ≥ ‖∇L_out‖.
    pub slope: f64,
}

/// The inner losses for which a bound holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Twice differentiable.
    Any,
    /// Also convex.
    Convex,
    /// Also of one parameter.
    ConvexOfOne,
}

impl Class {
    /// The bound on ‖g_r − g_K‖/B for inner rate × curvature bound αL = `sharpness`, r = `steps` and K = `depth` ≤ r.
    pub fn bound(self, sharpness: f64, steps: usize, depth: usize) -> f64 {
        let missing = (steps - depth) as i32;
        match self {
            Self::Any => (1.0 + sharpness).powi(steps as i32) - (1.0 + sharpness).powi(depth as i32),
            Self::Convex => (f64::from(missing) * sharpness).min(2.0),
            Self::ConvexOfOne => 1.0 - (1.0 - sharpness).powi(missing),
        }
    }

    /// The bound for K = 0, in symbols.
    pub fn formula(self) -> &'static str {
        match self {
            Self::Any => "((1 + αL)^r − 1)B",
            Self::Convex => "min(rαL, 2)B",
            Self::ConvexOfOne => "(1 − (1 − αL)^r)B",
        }
    }
}

/// A family of problems with known constants.
pub trait Known {
    /// The problem at one size.
    type Problem: Bilevel;

    /// The bound that holds.
    const CLASS: Class;

    /// The largest L of any task.
    fn curvature(&self) -> f64;

    /// The problem with inner rate `rate` and `steps` inner steps, and the constants of each of its tasks.
    fn problem(&self, rate: f64, steps: usize) -> (Self::Problem, Vec<Constants>);

    /// θ, one task.
    fn theta(&self) -> Params;
}

/// A float64 tensor on flex.
fn tensor<const D: usize>(values: Vec<f64>, shape: [usize; D]) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), (&Device::flex(), DType::F64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::theory::SEED;
    use bilevel::hypergradient::{Draw, Memory, estimate};
    use bilevel::readback::read;
    use bilevel::rng::generator;
    use rand::RngExt;

    /// The largest ‖∇²L_in u‖/L along random directions u and ‖∇L_out‖/B over tasks, both by central differences at random
    /// points within `range` of θ in every coordinate.
    fn largest<K: Known>(known: &K, range: f64) -> [f64; 2] {
        let (problem, constants) = known.problem(0.1, 3);
        let count = problem.tasks();
        let size = known.theta().leaves()[0].dims()[2];
        let mut random = generator(SEED, "test", 0);
        let mut draw = |scale: f64| {
            let values = (0..count * size).map(|_| scale * (2.0 * random.random::<f64>() - 1.0)).collect();
            Params::new(vec![tensor(values, [count, 1, size])])
        };
        let mut most = [0.0_f64; 2];
        for _ in 0..200 {
            let (at, along) = (draw(range), draw(1.0));
            let length = along.clone().squared_norm().sqrt();
            let along = along.map(|leaf| leaf / length.clone().reshape([count, 1, 1]));
            let slope = |at: &Params, inner: bool| {
                let tracked = at.tracked();
                let loss = match inner {
                    true => problem.inner_loss(2, &tracked.constant(), &tracked.constant()).primal,
                    false => problem.outer_loss(3, &tracked, &tracked),
                };
                let [gradient] = Params::gradients([&tracked], loss);
                gradient.expect("the loss depends on φ")
            };
            let step = 1e-4;
            let shifted = |sign: f64| at.clone() + along.clone().scale(&vec![sign * step; count]);
            let curvature = slope(&shifted(1.0), true) - slope(&shifted(-1.0), true);
            let curvatures = read(curvature.squared_norm().sqrt() / (2.0 * step));
            let slopes = read(slope(&at, false).squared_norm().sqrt());
            for (task, constants) in constants.iter().enumerate() {
                most[0] = most[0].max(curvatures[task] / constants.curvature);
                most[1] = most[1].max(slopes[task] / constants.slope);
            }
        }
        most
    }

    #[test]
    fn constants_bound_what_central_differences_find() {
        for (name, [curvature, slope]) in [
            ("quadratic", largest(&Quadratic::new(), 8.0)),
            ("waves", largest(&Waves::new(), 3.0)),
            ("turning", largest(&Turning, 3.0)),
        ] {
            assert!(curvature < 1.0 + 1e-6 && slope < 1.0 + 1e-6, "{name}: {curvature} {slope}");
            // They are not far too large either.
            assert!(curvature > 0.5 && slope > 0.5, "{name}: {curvature} {slope}");
        }
    }

    #[test]
    fn bounds_of_one_step_are_the_same_for_all_classes() {
        for class in [Class::Any, Class::Convex, Class::ConvexOfOne] {
            assert!((class.bound(0.3, 1, 0) - 0.3).abs() < 1e-12);
            assert_eq!(class.bound(0.3, 4, 4), 0.0);
        }
        assert!((Class::Any.bound(1.0, 3, 1) - 6.0).abs() < 1e-12);
        assert!((Class::ConvexOfOne.bound(0.5, 3, 1) - 0.75).abs() < 1e-12);
        assert_eq!(Class::Convex.bound(1.0, 100, 0), 2.0);
    }

    #[test]
    fn projections_that_turn_break_the_bound_of_one_parameter() {
        // Five projections onto lines that turn by 45° from one to the next take u to −u/4.
        let (problem, _) = Turning.problem(1.0, 5);
        let draw = Draw::every_depth(problem.tasks(), 5);
        let estimate = estimate(&problem, &Turning.theta(), &draw, Memory::Store);
        let (_, bias) = estimate.between(0, 5).unwrap();
        let largest = read(bias.squared_norm().sqrt()).into_iter().fold(0.0, f64::max);
        assert!((1.25 - 1e-12..2.0).contains(&largest), "{largest}");
        assert_eq!([Class::ConvexOfOne, Class::Convex].map(|class| class.bound(1.0, 5, 0)), [1.0, 2.0]);
    }
}
