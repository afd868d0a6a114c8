//! Settings shared by adaptive estimators.

use super::CostUnit;
use super::range::{assert_decay, assert_probability};
use serde::{Deserialize, Serialize};

/// How an adaptive estimator chooses its probabilities.
///
/// Defaults: `exponent` 2, `beta` 0.99, `floor` 0.05, `costs` [`CostUnit::Counted`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tuning {
    /// The time to a given accuracy grows with the second moment of the estimate to this power; > 0.
    pub exponent: f64,
    /// Decay rate of the running averages, in [0, 1).
    pub beta: f64,
    /// Lower bound of every probability, in (0, 1].
    pub floor: f64,
    /// How costs are measured.
    pub costs: CostUnit,
}

impl Tuning {
    /// The names of these settings in serialised form.
    pub const KEYS: [&'static str; 4] = ["exponent", "beta", "floor", "costs"];

    /// The same settings.
    ///
    /// # Panics
    /// Panics if one is outside of its range.
    pub(super) fn checked(self) -> Self {
        let Self { exponent, beta, floor, .. } = self;
        assert_probability("the lower bound of an estimator's probabilities", floor);
        assert_decay(beta);
        assert!(
            exponent > 0.0 && exponent.is_finite(),
            "the exponent of the second moment must be finite and > 0, but is {exponent}"
        );
        self
    }
}

impl Default for Tuning {
    /// Exponent 2, β = 0.99, floor 0.05, costs in gradient evaluations (Likhosherstov et al. 2021).
    fn default() -> Self {
        Self { exponent: 2.0, beta: 0.99, floor: 0.05, costs: CostUnit::Counted }
    }
}
