//! The estimators that the studies on MNIST compare, each with its settings.
//!
//! Those with a base use g_1, one step back. In hyper-cleaning and in the study of hyperparameters θ is neither the
//! start of the inner loop nor an argument of L_out, so first-order's g_0 is 0; UFOM on top of it would rest on rare
//! corrections of large variance.

use crate::config::{Config, Error};
use StudyEstimator::{
    Adaptive, Exact, FirstOrder, StepCoins, Telescoping, TruncatedOne, TruncatedRoot, Ufom, UfomTracked,
};

/// An estimator with its settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StudyEstimator {
    /// The exact gradient, the reference of all comparisons.
    Exact,
    /// No product at all: θ does not move on these problems.
    FirstOrder,
    /// Truncated to the last inner step.
    TruncatedOne,
    /// Truncated to the last √r inner steps.
    TruncatedRoot,
    /// UFOM with q = 0.1.
    Ufom,
    /// UFOM with the best q, estimated while running.
    Adaptive,
    /// UFOM with q = 0.1, whose base's bias is tracked.
    UfomTracked,
    /// Step coins with estimated probabilities.
    StepCoins,
    /// Telescoping with estimated probabilities.
    Telescoping,
}

/// The exact estimator and the biased ones.
pub const BIASED: [StudyEstimator; 4] = [Exact, FirstOrder, TruncatedOne, TruncatedRoot];
/// The exact estimator and the other unbiased ones.
pub const UNBIASED: [StudyEstimator; 6] = [Exact, Ufom, Adaptive, UfomTracked, StepCoins, Telescoping];

impl StudyEstimator {
    /// All of them, in the order of tables.
    pub const ALL: [Self; 9] =
        [Exact, FirstOrder, TruncatedOne, TruncatedRoot, Ufom, Adaptive, UfomTracked, StepCoins, Telescoping];

    /// Its name in keys of records.
    pub fn key(self) -> &'static str {
        match self {
            Exact => "exact",
            FirstOrder => "first-order",
            TruncatedOne => "truncated-1",
            TruncatedRoot => "truncated-root",
            Ufom => "ufom",
            Adaptive => "adaptive",
            UfomTracked => "tracking",
            StepCoins => "step-coins",
            Telescoping => "telescoping",
        }
    }

    /// Its name in figures and tables, with `inner_steps` inner steps.
    pub fn name(self, inner_steps: usize) -> String {
        match self {
            Exact => "exact".into(),
            FirstOrder => "first-order".into(),
            TruncatedOne => "truncated(1)".into(),
            TruncatedRoot => format!("truncated({})", root(inner_steps)),
            Ufom => "UFOM(0.1)".into(),
            Adaptive => "adaptive UFOM".into(),
            UfomTracked => "UFOM(0.1), bias tracked".into(),
            StepCoins => "step coins".into(),
            Telescoping => "telescoping".into(),
        }
    }

    /// Its configuration keys with `inner_steps` inner steps, separated by spaces.
    pub fn settings(self, inner_steps: usize) -> String {
        let settings = match self {
            Exact => "exact",
            FirstOrder => "first-order",
            TruncatedOne => "truncated estimator.truncate=1",
            TruncatedRoot => &format!("truncated estimator.truncate={}", root(inner_steps)),
            Ufom => "ufom estimator.q=0.1 estimator.truncate=1",
            Adaptive => "adaptive estimator.truncate=1 estimator.costs=counted",
            UfomTracked => "ufom estimator.q=0.1 estimator.truncate=1 estimator.tracking=fitted",
            StepCoins => "step-coins estimator.costs=counted",
            Telescoping => "telescoping estimator.truncate=1 estimator.costs=counted",
        };
        format!("estimator.name={settings}")
    }

    /// The configuration of a descent by it over `evaluations` gradient evaluations, with random draws from `seed`;
    /// `outer` holds further keys, separated by spaces.
    ///
    /// # Errors
    /// Returns an error if a value is invalid.
    pub fn config(
        self,
        seed: u64,
        inner_steps: usize,
        evaluations: u64,
        outer: &str,
    ) -> Result<Config, Error> {
        let settings = self.settings(inner_steps);
        let keys = format!(
            "seed={seed} inner.steps={inner_steps} outer.evaluations={evaluations} {outer} {settings}"
        );
        Config::load(None, &keys.split(' ').map(String::from).collect::<Vec<_>>())
    }
}

/// √r, rounded.
fn root(inner_steps: usize) -> usize {
    (inner_steps as f64).sqrt().round() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_estimator_has_a_valid_configuration() {
        for inner_steps in [1, 2, 100] {
            for estimator in StudyEstimator::ALL {
                let config =
                    estimator.config(3, inner_steps, 1000, "outer.rate=0.2").unwrap_or_else(|error| {
                        panic!("{}: {error}", estimator.key());
                    });
                assert_eq!((config.seed, config.outer.rate), (3, 0.2));
            }
        }
        assert_eq!(TruncatedRoot.name(100), "truncated(10)");
    }
}
