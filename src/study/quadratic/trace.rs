//! ∇M along many descents by one estimator.

use super::Estimator;
use super::descent::{Plan, descend, step_to_target};
use super::family::Family;
use crate::study::Measured;
use serde::{Deserialize, Serialize};

/// Groups of starts for the jackknife.
pub const GROUPS: usize = 20;

/// ∇M along many descents.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Trace {
    /// q; 0 is first-order.
    pub q: f64,
    /// ∇M at increasing numbers of steps.
    #[serde(rename = "looks")]
    pub samples: Vec<Sample>,
    /// ln of the step after which the root mean square of ∇M equals the target; `None` if it never does.
    pub reached: Option<Measured>,
}

/// ∇M over all starts after `step` outer steps.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Sample {
    /// Outer steps.
    pub step: u64,
    /// Mean of ∇M.
    pub mean: Measured,
    /// Mean of |∇M|.
    pub size: Measured,
    /// First and third quartile of |∇M|.
    pub quartiles: [f64; 2],
}

impl Trace {
    /// Descends on `family` with `q` according to `plan`; `target` is a root mean square of ∇M.
    pub fn record(family: &Family, q: f64, plan: &Plan, target: f64) -> Self {
        let slopes = descend(family, q, plan);
        let sample = |(index, step): (usize, &u64)| {
            let values: Vec<f64> = slopes.iter().map(|descent| descent[index]).collect();
            let mut sizes: Vec<f64> = values.iter().map(|slope| slope.abs()).collect();
            sizes.sort_by(f64::total_cmp);
            let last = sizes.len() - 1;
            let quantile = |share: f64| sizes[(share * last as f64).round() as usize];
            let quartiles = [quantile(0.25), quantile(0.75)];
            Sample { step: *step, mean: Measured::mean(&values), size: Measured::mean(&sizes), quartiles }
        };
        let samples = plan.samples.iter().enumerate().map(sample).collect();
        Self { q, samples, reached: reached(&slopes, &plan.samples, target) }
    }

    /// The last sample.
    pub fn end(&self) -> Sample {
        *self.samples.last().expect("a plan has at least one sample")
    }
}

/// The trace of `estimator`, if it is there.
pub fn find(traces: &[(Estimator, Trace)], estimator: Estimator) -> Option<&Trace> {
    traces.iter().find(|(name, _)| *name == estimator).map(|(_, trace)| trace)
}

/// ln of the step after which the root mean square of ∇M equals `target`, with its jackknife interval. `slopes` are
/// `[starts][samples]`.
pub fn reached(slopes: &[Vec<f64>], samples: &[u64], target: f64) -> Option<Measured> {
    let groups: Vec<&[Vec<f64>]> = slopes.chunks(slopes.len().div_ceil(GROUPS)).collect();
    let statistic = |included: &[usize]| {
        let slopes: Vec<&Vec<f64>> = included.iter().flat_map(|group| groups[*group]).collect();
        step_to_target(&slopes, samples, target).map_or(f64::NAN, f64::ln)
    };
    let measured = Measured::jackknife(groups.len(), statistic);
    // JSON has no NaN and no infinity.
    (measured.value.is_finite() && measured.ci95.is_finite()).then_some(measured)
}
