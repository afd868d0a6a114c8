//! Which outer losses along the inner loop the outer objective has, and how their weights change along a run.
//!
//! With r inner steps, at outer step n of L ([`OuterLosses::All`] with `until` = L), the multi-step loss of Antoniou,
//! Edwards & Storkey, *How to train your MAML*, 2019, in outer steps instead of epochs:
//!
//! ```text
//! w_j = max((1 − n/L)/r, 0.03/r) for 1 ≤ j < r,   w_r = 1 − Σ_{j<r} w_j;   from n = L on, w_r = 1 alone
//! ```

use crate::hypergradient::LossWeights;
use serde::{Deserialize, Serialize};

/// The lower bound of w_j·r, j < r, before outer step L.
const LEAST: f64 = 0.03;

/// The outer losses that the outer objective has.
///
/// ```
/// use bilevel::OuterLosses;
///
/// let losses = OuterLosses::All { until: Some(100) };
/// assert_eq!(losses.weights(2, 0).get(1), 0.5);
/// assert_eq!(losses.weights(2, 50).get(1), 0.25);
/// assert_eq!(losses.weights(2, 100), OuterLosses::Last.weights(2, 0));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "losses", rename_all = "lowercase")]
pub enum OuterLosses {
    /// Only the loss after the last inner step.
    #[default]
    Last,
    /// The losses after every inner step.
    ///
    /// [`Reptile`](crate::estimator::Reptile) and [`Implicit`](crate::estimator::Implicit) cannot use them; an outer step
    /// with one of these panics.
    All {
        /// The outer step L from which on only the last loss counts. `None` gives all losses the same weight, 1/r, throughout.
        #[serde(rename = "losses_until", default, skip_serializing_if = "Option::is_none")]
        until: Option<u64>,
    },
}

impl OuterLosses {
    /// The weights for `steps` inner steps after `done` outer steps.
    pub fn weights(self, steps: usize, done: u64) -> LossWeights {
        let share = match self {
            Self::All { until: None } => 1.0,
            Self::All { until: Some(until) } if done < until => (1.0 - done as f64 / until as f64).max(LEAST),
            _ => return LossWeights::last(steps),
        };
        if steps == 0 {
            return LossWeights::last(0);
        }
        let each = share / steps as f64;
        let mut weights = vec![each; steps + 1];
        weights[0] = 0.0;
        weights[steps] = 1.0 - each * (steps - 1) as f64;
        LossWeights::new(weights)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_sum_to_one_and_fall_to_the_last() {
        let losses = OuterLosses::All { until: Some(1000) };
        for (done, first) in [(0, 0.2), (500, 0.1), (990, 0.006), (1000, 0.0), (5000, 0.0)] {
            let weights = losses.weights(5, done);
            let all: Vec<f64> = (0..=5).map(|step| weights.get(step)).collect();
            assert!((all.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            assert_eq!(all[0], 0.0);
            assert!(all[1..5].iter().all(|weight| (weight - first).abs() < 1e-12), "{done}: {all:?}");
        }
        let equal = OuterLosses::All { until: None };
        assert!((equal.weights(4, 10_000).get(4) - 0.25).abs() < 1e-12);
    }
}
