//! Means with standard errors.

use crate::stats::mean_and_ci95;
use serde::{Deserialize, Serialize};

/// A mean over independent values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mean {
    /// The mean.
    pub value: f64,
    /// Its standard error, s/√n with s from n − 1; 0 for one value.
    pub standard_error: f64,
}

impl Mean {
    /// The mean of `values`, which must not be empty.
    pub fn of(values: &[f64]) -> Self {
        let (value, ci95) = mean_and_ci95(values);
        Self { value, standard_error: ci95 / 1.96 }
    }

    /// The mean and its standard error divided by `unit`, which is taken as exact.
    pub fn over(self, unit: f64) -> Self {
        Self { value: self.value / unit, standard_error: self.standard_error / unit }
    }
}
