//! A method followed over many descents.

use super::descent::{Plan, descend, reaches};
use super::family::Family;
use crate::study::Measured;
use serde::{Deserialize, Serialize};

/// Groups of starts for the jackknife.
pub const GROUPS: usize = 20;

/// What became of ∇M.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Trace {
    /// q; 0 is first-order.
    pub q: f64,
    /// As time went on.
    pub looks: Vec<Look>,
    /// ln of the step after which the root mean square of ∇M is the target that was asked for; `None` if it
    /// never is.
    pub reached: Option<Measured>,
}

/// ∇M over starts after `step` outer steps.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Look {
    /// Outer steps.
    pub step: u64,
    /// The mean of ∇M.
    pub mean: Measured,
    /// The mean of |∇M|.
    pub size: Measured,
    /// The quartiles of |∇M|: half of the starts are between them.
    pub quartiles: [f64; 2],
}

impl Trace {
    /// Follows `family` with `q` as `plan` has it; `target` is a root mean square of ∇M.
    pub fn follow(family: &Family, q: f64, plan: &Plan, target: f64) -> Self {
        let slopes = descend(family, q, plan);
        let look = |(at, step): (usize, &u64)| {
            let seen: Vec<f64> = slopes.iter().map(|seen| seen[at]).collect();
            let mut sizes: Vec<f64> = seen.iter().map(|slope| slope.abs()).collect();
            sizes.sort_by(f64::total_cmp);
            let last = sizes.len() - 1;
            let quantile = |share: f64| sizes[(share * last as f64).round() as usize];
            let quartiles = [quantile(0.25), quantile(0.75)];
            Look { step: *step, mean: Measured::mean(&seen), size: Measured::mean(&sizes), quartiles }
        };
        let looks = plan.looks.iter().enumerate().map(look).collect();
        Self { q, looks, reached: reached(&slopes, &plan.looks, target) }
    }

    /// Where it ended.
    pub fn end(&self) -> Look {
        *self.looks.last().expect("a descent is looked at")
    }
}

/// ln of the step after which the root mean square is `target`, with the jackknife's interval.
pub fn reached(slopes: &[Vec<f64>], looks: &[u64], target: f64) -> Option<Measured> {
    let groups: Vec<&[Vec<f64>]> = slopes.chunks(slopes.len().div_ceil(GROUPS)).collect();
    let statistic = |kept: &[usize]| {
        let slopes: Vec<&Vec<f64>> = kept.iter().flat_map(|group| groups[*group]).collect();
        reaches(&slopes, looks, target).map_or(f64::NAN, f64::ln)
    };
    let measured = Measured::jackknife(groups.len(), statistic);
    // What JSON cannot hold is nothing that was measured.
    (measured.value.is_finite() && measured.ci95.is_finite()).then_some(measured)
}
