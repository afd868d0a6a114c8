//! The budget of an outer loop, the learning-rate schedule over it, and the warm-up.

use crate::choice;
use serde::{Deserialize, Serialize};

choice! {
    /// How the learning rate changes over the budget.
    pub enum Schedule {
        /// Constant.
        Constant = "constant",
        /// Linear decay.
        Linear = "linear",
        /// Cosine decay (half a period; Loshchilov & Hutter 2017, without restarts).
        Cosine = "cosine",
    }
}

/// When training ends, and the length of the learning-rate schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Budget {
    /// After this many outer steps.
    Steps(u64),
    /// After the outer step that reaches this many gradient evaluations.
    Evaluations(u64),
}

impl Schedule {
    /// The share s of the initial learning rate when `progress` (0 to 1) of the budget is used: 1 at its start and, for a
    /// schedule that decays, 0 at its end. The learning rate is final + s · (initial − final).
    pub fn share(self, progress: f64) -> f64 {
        let progress = progress.clamp(0.0, 1.0);
        match self {
            Self::Constant => 1.0,
            Self::Linear => 1.0 - progress,
            Self::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
        }
    }
}

/// The factor of the learning rate in outer step `step` (from 1) of a linear warm-up over `warmup` outer steps:
/// min(1, step / warmup), and 1 without warm-up.
pub fn warm_up(step: u64, warmup: u64) -> f64 {
    if step < warmup { step as f64 / warmup as f64 } else { 1.0 }
}

impl Budget {
    /// The fraction of the budget used after `steps` outer steps and `evaluations` gradient evaluations; 1 or more
    /// once it is used up.
    pub fn progress(self, steps: u64, evaluations: u64) -> f64 {
        match self {
            Self::Steps(all) => steps as f64 / all as f64,
            Self::Evaluations(all) => evaluations as f64 / all as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_start_at_the_initial_rate_and_end_at_the_final_rate() {
        for (schedule, middle, end) in
            [(Schedule::Constant, 1.0, 1.0), (Schedule::Linear, 0.5, 0.0), (Schedule::Cosine, 0.5, 0.0)]
        {
            let shares = [0.0, 0.5, 1.0].map(|progress| schedule.share(progress));
            assert!((shares[0] - 1.0).abs() < 1e-12);
            assert!((shares[1] - middle).abs() < 1e-12 && (shares[2] - end).abs() < 1e-12);
        }
    }

    #[test]
    fn warm_up_rises_linearly_to_1_at_its_last_step() {
        assert_eq!([1, 2, 3, 4, 5].map(|step| warm_up(step, 4)), [0.25, 0.5, 0.75, 1.0, 1.0]);
        assert_eq!([warm_up(1, 0), warm_up(1, 1)], [1.0, 1.0]);
    }

    #[test]
    fn progress_is_measured_in_the_unit_of_the_budget() {
        assert_eq!(Budget::Steps(4).progress(2, 1000), 0.5);
        assert!(Budget::Evaluations(1000).progress(2, 1001) > 1.0);
    }
}
