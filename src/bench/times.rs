//! Statistics of repeated timings, and the number of repetitions.

/// How often a step is timed.
#[derive(Clone, Copy, Debug)]
pub struct Repeats {
    /// Smallest number of timed steps.
    pub min: usize,
    /// Largest number of timed steps.
    pub max: usize,
    /// Between these bounds, steps are timed until this many seconds have passed.
    pub seconds: f64,
}

impl Default for Repeats {
    /// The same numbers as in the programs that measure other frameworks.
    fn default() -> Self {
        Self { min: 5, max: 40, seconds: 2.0 }
    }
}

impl Repeats {
    /// Exactly this many steps, however long they take.
    pub fn exactly(times: usize) -> Self {
        Self { min: times, max: times, seconds: 0.0 }
    }

    /// Whether `done` steps in `seconds` are enough.
    pub fn suffice(&self, done: usize, seconds: f64) -> bool {
        done >= self.max || (done >= self.min && seconds > self.seconds)
    }
}

/// The smallest of `times`.
pub fn fastest(times: &[f64]) -> f64 {
    times.iter().copied().fold(f64::INFINITY, f64::min)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffice_respects_both_bounds_and_the_time() {
        let repeats = Repeats { min: 3, max: 5, seconds: 1.0 };
        let enough = [(2, 9.0), (3, 0.5), (3, 1.5), (5, 0.0)];
        assert_eq!(enough.map(|(done, seconds)| repeats.suffice(done, seconds)), [false, false, true, true]);
        assert!(!Repeats::exactly(2).suffice(1, 1e9) && Repeats::exactly(2).suffice(2, 1e-9));
    }
}
