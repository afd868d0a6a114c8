//! A run's accuracy over what it has spent: straight lines between its looks.

use serde::{Deserialize, Serialize};

/// In what runs are held equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// Gradient evaluations.
    Evaluations,
    /// Seconds of training.
    Seconds,
}

impl Cost {
    /// As an axis is called.
    pub fn label(self) -> &'static str {
        match self {
            Self::Evaluations => "gradient evaluations",
            Self::Seconds => "seconds of training",
        }
    }
}

/// A validation, and what the run had spent by then.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Look {
    /// Outer steps.
    pub steps: u64,
    /// Gradient evaluations.
    pub evaluations: u64,
    /// Seconds of training.
    pub seconds: f64,
    /// Percent.
    pub accuracy: f64,
    /// Half of its 95 % interval over episodes, percent.
    pub ci95: f64,
    /// Cores kept busy by this program, and by others, since the look before; `None` where the system does
    /// not say, and at a look that no training went before.
    pub cores: Option<[f64; 2]>,
}

impl Look {
    /// What the run had spent.
    pub fn spent(&self, cost: Cost) -> f64 {
        match cost {
            Cost::Evaluations => self.evaluations as f64,
            Cost::Seconds => self.seconds,
        }
    }
}

/// The accuracy once `spent` is spent; `None` before the first of `looks` and after the last.
pub fn accuracy(looks: &[Look], cost: Cost, spent: f64) -> Option<f64> {
    let after = looks.iter().position(|look| look.spent(cost) >= spent)?;
    let (high, low) = (&looks[after], &looks[after.saturating_sub(1)]);
    match share(low.spent(cost), high.spent(cost), spent) {
        _ if high.spent(cost) == spent => Some(high.accuracy),
        _ if after == 0 => None,
        share => Some(low.accuracy + share * (high.accuracy - low.accuracy)),
    }
}

/// What was spent when the accuracy was first `target`; `None` if it never was.
pub fn reached(looks: &[Look], cost: Cost, target: f64) -> Option<f64> {
    let after = looks.iter().position(|look| look.accuracy >= target)?;
    let (high, low) = (&looks[after], &looks[after.saturating_sub(1)]);
    let share = if after == 0 { 1.0 } else { share(low.accuracy, high.accuracy, target) };
    Some(low.spent(cost) + share * (high.spent(cost) - low.spent(cost)))
}

/// How far from `low` to `high` a value is; at the end if they are one.
fn share(low: f64, high: f64, value: f64) -> f64 {
    if high > low { (value - low) / (high - low) } else { 1.0 }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Looks at (evaluations, accuracy), where an evaluation takes `pace` seconds.
    pub fn looks<const N: usize>(pace: f64, points: [(u64, f64); N]) -> Vec<Look> {
        let look = |(evaluations, accuracy)| Look {
            steps: evaluations / 10,
            evaluations,
            seconds: pace * evaluations as f64,
            accuracy,
            ci95: 1.0,
            cores: Some([1.5, 0.1]),
        };
        points.map(look).to_vec()
    }

    #[test]
    fn between_looks_is_a_straight_line() {
        let looks = looks(0.5, [(0, 20.0), (100, 40.0), (200, 30.0)]);
        let at = |spent| accuracy(&looks, Cost::Evaluations, spent);
        assert_eq!([0.0, 25.0, 100.0, 150.0, 200.0].map(at), [20.0, 25.0, 40.0, 35.0, 30.0].map(Some));
        assert_eq!([-1.0, 201.0].map(at), [None, None]);
        assert_eq!(accuracy(&looks, Cost::Seconds, 25.0), Some(30.0));
        assert_eq!(accuracy(&[], Cost::Seconds, 0.0), None);
    }

    #[test]
    fn the_first_crossing_counts() {
        let looks = looks(0.5, [(0, 20.0), (100, 40.0), (200, 30.0), (300, 50.0)]);
        let at = |target| reached(&looks, Cost::Evaluations, target);
        assert_eq!([10.0, 20.0, 35.0, 40.0, 45.0].map(at), [0.0, 0.0, 75.0, 100.0, 275.0].map(Some));
        assert_eq!(at(50.1), None);
        assert_eq!(reached(&looks, Cost::Seconds, 35.0), Some(37.5));
    }
}
