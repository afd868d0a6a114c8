//! A run's accuracy against its cost, interpolated linearly between validations.

use serde::{Deserialize, Serialize};

/// The cost at which runs are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// Gradient evaluations.
    Evaluations,
    /// Seconds of training.
    Seconds,
}

impl Cost {
    /// Label of an axis.
    pub fn label(self) -> &'static str {
        match self {
            Self::Evaluations => "gradient evaluations",
            Self::Seconds => "seconds of training",
        }
    }
}

/// A validation, and what the run had spent by then.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Validation {
    /// Outer steps.
    pub steps: u64,
    /// Gradient evaluations.
    pub evaluations: u64,
    /// Seconds of training.
    pub seconds: f64,
    /// Validation accuracy, in percent.
    pub accuracy: f64,
    /// Half of its 95 % interval over episodes, in percent.
    pub ci95: f64,
    /// Cores kept busy by this program and by others since the previous validation; `None` if the system does not report
    /// it, or no training came before.
    pub cores: Option<[f64; 2]>,
}

impl Validation {
    /// The cost of the run so far.
    pub fn spent(&self, cost: Cost) -> f64 {
        match cost {
            Cost::Evaluations => self.evaluations as f64,
            Cost::Seconds => self.seconds,
        }
    }
}

/// The accuracy after a cost of `spent`; `None` before the first of `validations` and after the last.
pub fn accuracy(validations: &[Validation], cost: Cost, spent: f64) -> Option<f64> {
    let after = validations.iter().position(|validation| validation.spent(cost) >= spent)?;
    let (high, low) = (&validations[after], &validations[after.saturating_sub(1)]);
    match fraction(low.spent(cost), high.spent(cost), spent) {
        _ if high.spent(cost) == spent => Some(high.accuracy),
        _ if after == 0 => None,
        fraction => Some(low.accuracy + fraction * (high.accuracy - low.accuracy)),
    }
}

/// The cost at which the accuracy first reached `target`; `None` if it never did.
pub fn reached(validations: &[Validation], cost: Cost, target: f64) -> Option<f64> {
    let after = validations.iter().position(|validation| validation.accuracy >= target)?;
    let (high, low) = (&validations[after], &validations[after.saturating_sub(1)]);
    let fraction = if after == 0 { 1.0 } else { fraction(low.accuracy, high.accuracy, target) };
    Some(low.spent(cost) + fraction * (high.spent(cost) - low.spent(cost)))
}

/// Position of `value` between `low` (0) and `high` (1); 1 if they are equal.
fn fraction(low: f64, high: f64, value: f64) -> f64 {
    if high > low { (value - low) / (high - low) } else { 1.0 }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Validations at (evaluations, accuracy), where an evaluation takes `pace` seconds.
    pub fn validations<const N: usize>(pace: f64, points: [(u64, f64); N]) -> Vec<Validation> {
        let validation = |(evaluations, accuracy)| Validation {
            steps: evaluations / 10,
            evaluations,
            seconds: pace * evaluations as f64,
            accuracy,
            ci95: 1.0,
            cores: Some([1.5, 0.1]),
        };
        points.map(validation).to_vec()
    }

    #[test]
    fn accuracy_is_interpolated_linearly() {
        let validations = validations(0.5, [(0, 20.0), (100, 40.0), (200, 30.0)]);
        let at = |spent| accuracy(&validations, Cost::Evaluations, spent);
        assert_eq!([0.0, 25.0, 100.0, 150.0, 200.0].map(at), [20.0, 25.0, 40.0, 35.0, 30.0].map(Some));
        assert_eq!([-1.0, 201.0].map(at), [None, None]);
        assert_eq!(accuracy(&validations, Cost::Seconds, 25.0), Some(30.0));
        assert_eq!(accuracy(&[], Cost::Seconds, 0.0), None);
    }

    #[test]
    fn reached_returns_the_first_crossing() {
        let validations = validations(0.5, [(0, 20.0), (100, 40.0), (200, 30.0), (300, 50.0)]);
        let at = |target| reached(&validations, Cost::Evaluations, target);
        assert_eq!([10.0, 20.0, 35.0, 40.0, 45.0].map(at), [0.0, 0.0, 75.0, 100.0, 275.0].map(Some));
        assert_eq!(at(50.1), None);
        assert_eq!(reached(&validations, Cost::Seconds, 35.0), Some(37.5));
    }
}
