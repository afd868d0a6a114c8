//! Schedules of estimators: one estimator until a given outer step, then another.
//!
//! A cheap, biased estimator is often good enough while θ is far from its goal. Derivative-order annealing (Antoniou et
//! al. 2019, "How to train your MAML") is the schedule first-order, then exact.

use super::{Estimator, EstimatorSettings, OuterPart};
use std::fmt;

/// A part of a run with one estimator.
#[derive(Clone, Debug, PartialEq)]
pub struct Phase {
    /// The estimator.
    pub estimator: EstimatorSettings,
    /// The number of the last outer step of this phase, ≥ 1; outer steps count from 1.
    pub until: u64,
}

/// Which estimator makes which outer step: phases in ascending order, the last without end.
///
/// The settings of an estimator convert into a schedule with one phase.
///
/// ```
/// use bilevel::estimator::{EstimatorSchedule, Exact, FirstOrder, Phase};
///
/// let annealed =
///     EstimatorSchedule::new(vec![Phase { estimator: FirstOrder {}.into(), until: 1000 }], Exact {});
/// assert_eq!((annealed.phase(999), annealed.phase(1000)), (0, 1));
/// assert_eq!(annealed.to_string(), "first-order until step 1000, then exact");
/// assert_eq!(EstimatorSchedule::from(Exact {}).to_string(), "exact");
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct EstimatorSchedule {
    earlier: Vec<Phase>,
    last: EstimatorSettings,
}

impl EstimatorSchedule {
    /// The phases `earlier`, and then `last` until the end of the run.
    ///
    /// # Panics
    /// Panics unless the ends of the phases are at least 1 and ascend.
    pub fn new(earlier: Vec<Phase>, last: impl Into<EstimatorSettings>) -> Self {
        let ends: Vec<u64> = earlier.iter().map(|phase| phase.until).collect();
        assert!(
            ends.first() != Some(&0) && ends.is_sorted_by(|a, b| a < b),
            "phases end after outer steps {ends:?}, but these must be at least 1 and ascend"
        );
        Self { earlier, last: last.into() }
    }

    /// The phases before the last.
    pub fn earlier(&self) -> &[Phase] {
        &self.earlier
    }

    /// The estimator of the last phase.
    pub fn last(&self) -> &EstimatorSettings {
        &self.last
    }

    /// The estimator of each phase, in order.
    pub fn estimators(&self) -> impl Iterator<Item = &EstimatorSettings> {
        self.earlier.iter().map(|phase| &phase.estimator).chain([&self.last])
    }

    /// The index of the phase that makes the outer step after `steps` outer steps.
    pub fn phase(&self, steps: u64) -> usize {
        self.earlier.iter().take_while(|phase| phase.until <= steps).count()
    }

    /// The estimator of phase `index`.
    pub fn estimator(&self, index: usize) -> &EstimatorSettings {
        self.earlier.get(index).map_or(&self.last, |phase| &phase.estimator)
    }

    /// A new estimator for each phase.
    ///
    /// # Panics
    /// Panics if a setting is outside of its range.
    pub fn build(&self) -> Vec<Box<dyn Estimator>> {
        self.estimators().map(EstimatorSettings::build).collect()
    }

    /// The largest number of `steps` inner steps that any phase may differentiate.
    ///
    /// # Panics
    /// Panics if a setting is outside of its range.
    pub fn max_depth(&self, steps: usize) -> usize {
        self.estimators().map(|estimator| estimator.build().max_depth(steps)).max().unwrap_or(0)
    }

    /// The reason why the last estimator gives `part` of θ a gradient of zero, if every phase does.
    pub fn cannot_learn(&self, part: OuterPart) -> Option<&'static str> {
        let learned = self.earlier.iter().any(|phase| phase.estimator.cannot_learn(part).is_none());
        self.last.cannot_learn(part).filter(|_| !learned)
    }
}

impl<S: Into<EstimatorSettings>> From<S> for EstimatorSchedule {
    fn from(settings: S) -> Self {
        Self { earlier: Vec::new(), last: settings.into() }
    }
}

impl fmt::Display for EstimatorSchedule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Phase { estimator, until } in &self.earlier {
            write!(out, "{} until step {until}, then ", estimator.name())?;
        }
        write!(out, "{}", self.last.name())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Exact, FirstOrder, Truncated};
    use super::*;

    fn phase(estimator: impl Into<EstimatorSettings>, until: u64) -> Phase {
        Phase { estimator: estimator.into(), until }
    }

    #[test]
    fn phase_ends_after_its_last_step() {
        let schedule =
            EstimatorSchedule::new(vec![phase(FirstOrder {}, 2), phase(Exact {}, 5)], Truncated { depth: 1 });
        let phases: Vec<usize> = (0..7).map(|steps| schedule.phase(steps)).collect();
        assert_eq!(phases, [0, 0, 1, 1, 1, 2, 2]);
        assert_eq!(*schedule.estimator(1), Exact {}.into());
        assert_eq!(schedule.estimator(2), schedule.last());
        assert_eq!(schedule.max_depth(4), 4, "that of the deepest phase");
    }

    #[test]
    fn part_is_learned_if_any_phase_learns_it() {
        let part = OuterPart::InnerRates;
        let first_order_only = EstimatorSchedule::new(vec![phase(FirstOrder {}, 2)], FirstOrder {});
        assert!(first_order_only.cannot_learn(part).is_some());
        for learned in [
            EstimatorSchedule::new(vec![phase(FirstOrder {}, 2)], Exact {}),
            EstimatorSchedule::new(vec![phase(Exact {}, 2)], FirstOrder {}),
        ] {
            assert_eq!(learned.cannot_learn(part), None);
        }
    }

    #[test]
    #[should_panic(expected = "must be at least 1 and ascend")]
    fn phases_must_ascend() {
        EstimatorSchedule::new(vec![phase(FirstOrder {}, 2), phase(Exact {}, 2)], Exact {});
    }
}
