//! Stochastic descents on one family from many random starts.
//!
//! θ_{k+1} = θ_k − η_{k+1} G_k with step sizes η_k = c/k or c/√k, where G_k is UFOM's estimate on one task drawn at random: g_0 + (ξ/q)(g_r
//! − g_0), ξ ~ Bernoulli(q). q = 0 is the first-order method, q = 1 the exact gradient. The draws of a
//! start do not depend on q, so that comparisons between values of q have less variance.

use super::family::Family;
use bilevel::rng::generator;
use bilevel::stats::mean;
use rand::RngExt;
use rayon::prelude::*;

/// Step size constant c of this study.
pub const STEP: f64 = 10.0;

/// Step sizes of this study.
pub const SIZES: StepSizes = StepSizes::Harmonic(STEP);

/// η_k, the size of outer step k = 1, 2, …
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum StepSizes {
    /// c/k.
    Harmonic(f64),
    /// c/√k.
    Root(f64),
}

impl StepSizes {
    /// η_k, k = `step` ≥ 1.
    pub fn at(self, step: u64) -> f64 {
        match self {
            Self::Harmonic(c) => c / step as f64,
            Self::Root(c) => c / (step as f64).sqrt(),
        }
    }
}

/// Starts, steps and seed of the descents.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Number of descents.
    pub starts: usize,
    /// θ_0 is uniform on this interval.
    pub start: [f64; 2],
    /// Sizes of the outer steps.
    pub sizes: StepSizes,
    /// Outer steps after which ∇M is evaluated, ascending; the last one ends the descent.
    pub samples: Vec<u64>,
    /// Seed of all random draws.
    pub seed: u64,
}

/// At most `count` whole numbers from `first` to `last`, about evenly spaced in their logarithms.
pub fn log_spaced(first: u64, last: u64, count: usize) -> Vec<u64> {
    let ratio = (last as f64 / first as f64).ln();
    let at = |index: usize| first as f64 * (ratio * index as f64 / (count.max(2) - 1) as f64).exp();
    let mut all: Vec<u64> = (0..count.max(2)).map(|index| at(index).round() as u64).collect();
    all.dedup();
    all
}

/// ∇M at every sample of every start: `[starts][samples]`.
pub fn descend(family: &Family, q: f64, plan: &Plan) -> Vec<Vec<f64>> {
    (0..plan.starts as u64).into_par_iter().map(|start| one(family, q, plan, start)).collect()
}

fn one(family: &Family, q: f64, plan: &Plan, start: u64) -> Vec<f64> {
    let mut random = generator(plan.seed, "quadratic", start);
    let [low, high] = plan.start;
    let mut theta = low + (high - low) * random.random::<f64>();
    let (mut step, mut slopes) = (0_u64, Vec::with_capacity(plan.samples.len()));
    for sample in &plan.samples {
        while step < *sample {
            let bits: u64 = random.random();
            let uniform = (bits >> 11) as f64 * 2.0_f64.powi(-53);
            let [first_order, exact] = family.gradients((bits & 1) as usize, theta);
            let correction = if uniform < q { (exact - first_order) / q } else { 0.0 };
            step += 1;
            theta -= plan.sizes.at(step) * (first_order + correction);
        }
        slopes.push(family.slope(theta));
    }
    slopes
}

/// The step after which the mean of (∇M)² over starts equals `target`², by a straight line fitted to logarithms over
/// the last decade of `samples`; `None` if the mean does not decrease there.
pub fn step_to_target(slopes: &[&Vec<f64>], samples: &[u64], target: f64) -> Option<f64> {
    let last = *samples.last()? as f64;
    let tail = samples.iter().enumerate().filter(|(_, step)| **step as f64 >= 0.1 * last);
    let square =
        |index: usize| mean(&slopes.iter().map(|values| values[index] * values[index]).collect::<Vec<_>>());
    let points: Vec<[f64; 2]> = tail.map(|(index, step)| [(*step as f64).ln(), square(index).ln()]).collect();
    let Line { slope, middle: [x, y] } = Line::through(&points);
    (slope < 0.0).then(|| (x + (2.0 * target.ln() - y) / slope).exp())
}

/// A straight line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// Its slope.
    pub slope: f64,
    /// A point on it: the mean of the points that it was fitted to.
    pub middle: [f64; 2],
}

impl Line {
    /// The least-squares fit to `points`.
    pub fn through(points: &[[f64; 2]]) -> Self {
        let [x, y] = [0, 1].map(|axis| mean(&points.iter().map(|point| point[axis]).collect::<Vec<_>>()));
        let covariance: f64 = points.iter().map(|point| (point[0] - x) * (point[1] - y)).sum();
        let slope = covariance / points.iter().map(|point| (point[0] - x).powi(2)).sum::<f64>();
        Self { slope, middle: [x, y] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_spaced_steps_cover_all_decades() {
        assert_eq!(log_spaced(1, 1000, 4), [1, 10, 100, 1000]);
        assert_eq!(log_spaced(1, 4, 10), [1, 2, 3, 4]);
    }

    #[test]
    fn step_to_target_recovers_a_power_law() {
        let samples = log_spaced(10, 1000, 20);
        let slopes: Vec<f64> = samples.iter().map(|step| 3.0 / (*step as f64).sqrt()).collect();
        let step = step_to_target(&[&slopes], &samples, 0.2).unwrap();
        assert!((step - 225.0).abs() < 1e-6);
        let rising: Vec<f64> = slopes.iter().map(|slope| 1.0 / slope).collect();
        assert_eq!(step_to_target(&[&rising], &samples, 0.2), None);
    }
}
