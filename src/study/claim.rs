//! Claims: an expected range, a measurement with its 95 % interval, and the verdict.

use crate::report::{short, significant};
use crate::support::json::number_or_nan;
use bilevel::stats::{mean, mean_and_ci95, mean_and_t95};
use serde::{Deserialize, Serialize, Serializer};
use std::fmt::{Display, Formatter};

/// A measured value with the half-width of its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// The value.
    #[serde(deserialize_with = "number_or_nan")]
    pub value: f64,
    /// Half-width of the 95 % interval; 0 if there is no uncertainty.
    #[serde(deserialize_with = "number_or_nan")]
    pub ci95: f64,
}

impl Measured {
    /// The mean of independent `values`, of which there is at least one; normal interval.
    pub fn mean(values: &[f64]) -> Self {
        let (value, ci95) = mean_and_ci95(values);
        Self { value, ci95 }
    }

    /// The mean of few independent `values`, such as one per seed, at least one; Student's t interval.
    pub fn mean_of_few(values: &[f64]) -> Self {
        let (value, ci95) = mean_and_t95(values);
        Self { value, ci95 }
    }

    /// A value without uncertainty.
    pub fn exactly(value: f64) -> Self {
        Self { value, ci95: 0.0 }
    }

    /// A statistic of independent, identically distributed groups, with its jackknife interval around the value on all
    /// groups (Quenouille 1956; Tukey 1958). `statistic` gets the indices of the groups to use, out of `groups` ≥ 2.
    pub fn jackknife(groups: usize, statistic: impl Fn(&[usize]) -> f64) -> Self {
        let all: Vec<usize> = (0..groups).collect();
        let without = |left_out: &usize| {
            statistic(&all.iter().copied().filter(|group| group != left_out).collect::<Vec<_>>())
        };
        let estimates: Vec<f64> = all.iter().map(without).collect();
        let middle = mean(&estimates);
        let squares: f64 = estimates.iter().map(|estimate| (estimate - middle).powi(2)).sum();
        let variance = squares * (groups as f64 - 1.0) / groups as f64;
        Self { value: statistic(&all), ci95: 1.96 * variance.sqrt() }
    }

    /// The ends of the interval.
    pub fn ends(self) -> [f64; 2] {
        [self.value - self.ci95, self.value + self.ci95]
    }
}

impl Display for Measured {
    fn fmt(&self, f: &mut Formatter) -> std::fmt::Result {
        match self.ci95 > 0.0 {
            true => write!(f, "{} ± {}", significant(self.value, 3), significant(self.ci95, 2)),
            false => write!(f, "{}", significant(self.value, 3)),
        }
    }
}

/// The range in which a measurement is expected.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Expected {
    text: String,
    low: Option<f64>,
    high: Option<f64>,
}

impl Expected {
    /// `value` ± the fraction `relative` of it.
    pub fn near(value: f64, relative: f64) -> Self {
        let margin = (relative * value).abs();
        let text = format!("{} ± {} %", short(value, 3), short(100.0 * relative, 2));
        Self { text, low: Some(value - margin), high: Some(value + margin) }
    }

    /// Exactly `value`.
    pub fn exactly(value: f64) -> Self {
        Self { text: short(value, 3), low: Some(value), high: Some(value) }
    }

    /// At most `high`.
    pub fn below(high: f64) -> Self {
        Self { text: format!("< {}", short(high, 3)), low: None, high: Some(high) }
    }

    /// At least `low`.
    pub fn above(low: f64) -> Self {
        Self { text: format!("> {}", short(low, 3)), low: Some(low), high: None }
    }

    /// From `low` to `high`.
    pub fn between(low: f64, high: f64) -> Self {
        let text = format!("{} to {}", short(low, 3), short(high, 3));
        Self { text, low: Some(low), high: Some(high) }
    }
}

/// Whether a measurement confirms a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The whole 95 % interval is in the expected range.
    Held,
    /// No part of the interval is in the expected range.
    Failed,
    /// Part of the interval is in the expected range: a larger study could decide.
    Open,
}

impl Display for Verdict {
    fn fmt(&self, f: &mut Formatter) -> std::fmt::Result {
        f.write_str(match self {
            Self::Held => "held",
            Self::Failed => "did not hold",
            Self::Open => "open",
        })
    }
}

impl Serialize for Verdict {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// An expectation, its measurement and the verdict.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Claim {
    /// The claim.
    pub claim: String,
    /// The expected range.
    pub expected: Expected,
    /// The measurement.
    pub measured: Measured,
    /// The verdict.
    pub verdict: Verdict,
}

impl Claim {
    /// Compares `measured` with `expected`. NaN did not hold.
    pub fn new(claim: impl Into<String>, expected: Expected, measured: Measured) -> Self {
        let [low, high] = measured.ends();
        let above = expected.low.is_none_or(|least| low >= least);
        let below = expected.high.is_none_or(|most| high <= most);
        let outside =
            expected.low.is_some_and(|least| high < least) || expected.high.is_some_and(|most| low > most);
        let verdict = match (above && below, outside || measured.value.is_nan()) {
            (true, _) => Verdict::Held,
            (_, true) => Verdict::Failed,
            _ => Verdict::Open,
        };
        Self { claim: claim.into(), expected, measured, verdict }
    }

    /// The expected range as text.
    pub fn expected_text(&self) -> &str {
        &self.expected.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdict_depends_on_the_whole_interval() {
        let verdict =
            |value, ci95| Claim::new("", Expected::near(1.0, 0.1), Measured { value, ci95 }).verdict;
        assert_eq!(verdict(1.05, 0.04), Verdict::Held);
        assert_eq!(verdict(1.05, 0.06), Verdict::Open);
        assert_eq!(verdict(1.2, 0.05), Verdict::Failed);
        assert_eq!(verdict(f64::NAN, 0.0), Verdict::Failed);
        let below = Claim::new("", Expected::below(2.0), Measured::exactly(1.0));
        assert_eq!((below.verdict, below.expected_text()), (Verdict::Held, "< 2"));
    }

    #[test]
    fn jackknife_of_a_mean_equals_its_standard_error() {
        let values = [1.0, 2.0, 4.0, 8.0];
        let of = |groups: &[usize]| mean(&groups.iter().map(|group| values[*group]).collect::<Vec<_>>());
        let (jackknife, plain) = (Measured::jackknife(4, of), Measured::mean(&values));
        assert!((jackknife.value - plain.value).abs() < 1e-12 && (jackknife.ci95 - plain.ci95).abs() < 1e-12);
    }
}
