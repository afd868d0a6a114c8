//! Many stochastic descents of one family at once, from different starts.
//!
//! θ_{k+1} = θ_k − c/(k+1) · G_k, where G_k is UFOM's estimate of one task drawn at random: g_0 + (ξ/q)(g_r
//! − g_0), ξ ~ Bernoulli(q). q = 0 is the first-order method, q = 1 the exact gradient. A start's draws are
//! the same whatever q is, so that differences between q's are not drowned by chance.

use super::family::Family;
use crate::interval::mean;
use crate::random::generator;
use rand::RngExt;
use rayon::prelude::*;

/// c.
pub const STEP: f64 = 10.0;

/// How long, how often and from where.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Descents.
    pub starts: usize,
    /// θ_0 is uniform between these.
    pub from: [f64; 2],
    /// When ∇M is looked at: steps, ascending; the last ends the descent.
    pub looks: Vec<u64>,
    /// Names the draws.
    pub seed: u64,
}

/// Whole numbers from `first` to `last`, about evenly spaced by their logarithms, `count` or fewer.
pub fn logarithmic(first: u64, last: u64, count: usize) -> Vec<u64> {
    let ratio = (last as f64 / first as f64).ln();
    let at = |index: usize| first as f64 * (ratio * index as f64 / (count.max(2) - 1) as f64).exp();
    let mut all: Vec<u64> = (0..count.max(2)).map(|index| at(index).round() as u64).collect();
    all.dedup();
    all
}

/// ∇M at every look of every start: `[starts][looks]`.
pub fn descend(family: &Family, q: f64, plan: &Plan) -> Vec<Vec<f64>> {
    (0..plan.starts as u64).into_par_iter().map(|start| one(family, q, plan, start)).collect()
}

fn one(family: &Family, q: f64, plan: &Plan, start: u64) -> Vec<f64> {
    let mut random = generator(plan.seed, "quadratic", start);
    let [low, high] = plan.from;
    let mut theta = low + (high - low) * random.random::<f64>();
    let (mut step, mut seen) = (0_u64, Vec::with_capacity(plan.looks.len()));
    for look in &plan.looks {
        while step < *look {
            let bits: u64 = random.random();
            let uniform = (bits >> 11) as f64 * 2.0_f64.powi(-53);
            let [first_order, exact] = family.gradients((bits & 1) as usize, theta);
            let correction = if uniform < q { (exact - first_order) / q } else { 0.0 };
            step += 1;
            theta -= STEP / step as f64 * (first_order + correction);
        }
        seen.push(family.slope(theta));
    }
    seen
}

/// The step after which the mean of (∇M)² over starts is `target`², by a straight line through logarithms at
/// the last decade of `looks`; `None` if it does not fall there.
pub fn reaches(slopes: &[&Vec<f64>], looks: &[u64], target: f64) -> Option<f64> {
    let last = *looks.last()? as f64;
    let tail = looks.iter().enumerate().filter(|(_, look)| **look as f64 >= 0.1 * last);
    let square = |at: usize| mean(&slopes.iter().map(|seen| seen[at] * seen[at]).collect::<Vec<_>>());
    let points: Vec<[f64; 2]> = tail.map(|(at, look)| [(*look as f64).ln(), square(at).ln()]).collect();
    let [x, y] = [0, 1].map(|of| mean(&points.iter().map(|point| point[of]).collect::<Vec<_>>()));
    let along: f64 = points.iter().map(|point| (point[0] - x) * (point[1] - y)).sum();
    let fall = along / points.iter().map(|point| (point[0] - x).powi(2)).sum::<f64>();
    (fall < 0.0).then(|| (x + (2.0 * target.ln() - y) / fall).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_are_spread_over_decades() {
        assert_eq!(logarithmic(1, 1000, 4), [1, 10, 100, 1000]);
        assert_eq!(logarithmic(1, 4, 10), [1, 2, 3, 4]);
    }

    #[test]
    fn a_fall_by_a_power_is_read_off() {
        let looks = logarithmic(10, 1000, 20);
        let slopes: Vec<f64> = looks.iter().map(|look| 3.0 / (*look as f64).sqrt()).collect();
        let step = reaches(&[&slopes], &looks, 0.2).unwrap();
        assert!((step - 225.0).abs() < 1e-6);
        let rising: Vec<f64> = slopes.iter().map(|slope| 1.0 / slope).collect();
        assert_eq!(reaches(&[&rising], &looks, 0.2), None);
    }
}
