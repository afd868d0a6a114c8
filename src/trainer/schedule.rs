//! The outer learning rate over a run.

use crate::config::{Budget, Schedule};

/// The share of the initial rate that `schedule` leaves once `progress` (0 to 1) of the budget is
/// used.
pub fn share(schedule: Schedule, progress: f64) -> f64 {
    let progress = progress.clamp(0.0, 1.0);
    match schedule {
        Schedule::Constant => 1.0,
        Schedule::Linear => 1.0 - progress,
        Schedule::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
    }
}

/// How much of `budget` is used after `steps` outer steps and `evaluations` gradient evaluations: 0
/// to 1, and 1 or more means that the run is over.
pub fn progress(budget: Budget, steps: u64, evaluations: u64) -> f64 {
    match budget {
        Budget::Steps(all) => steps as f64 / all as f64,
        Budget::Evaluations(all) => evaluations as f64 / all as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_begin_at_one_and_end_where_they_should() {
        for (schedule, middle, end) in
            [(Schedule::Constant, 1.0, 1.0), (Schedule::Linear, 0.5, 0.0), (Schedule::Cosine, 0.5, 0.0)]
        {
            let shares = [0.0, 0.5, 1.0].map(|progress| share(schedule, progress));
            assert!((shares[0] - 1.0).abs() < 1e-12);
            assert!((shares[1] - middle).abs() < 1e-12 && (shares[2] - end).abs() < 1e-12);
        }
    }

    #[test]
    fn either_budget_ends() {
        assert_eq!(progress(Budget::Steps(4), 2, 1000), 0.5);
        assert!(progress(Budget::Evaluations(1000), 2, 1001) > 1.0);
    }
}
