//! Times of equal pieces of work, and how many of them are enough.

/// How often a step is timed.
#[derive(Clone, Copy, Debug)]
pub struct Repeats {
    /// At least so often.
    pub least: usize,
    /// And no more than so often.
    pub most: usize,
    /// In between, until so many seconds have gone by.
    pub seconds: f64,
}

impl Default for Repeats {
    /// As often as other frameworks' programs do.
    fn default() -> Self {
        Self { least: 5, most: 40, seconds: 2.0 }
    }
}

impl Repeats {
    /// So often, however long that takes.
    pub fn exactly(times: usize) -> Self {
        Self { least: times, most: times, seconds: 0.0 }
    }

    /// Whether `done` steps in `seconds` are enough.
    pub fn suffice(&self, done: usize, seconds: f64) -> bool {
        done >= self.most || (done >= self.least && seconds > self.seconds)
    }
}

/// The middle of `times`, or the mean of the two in the middle; NaN of none.
pub fn median(times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    match &sorted[..] {
        [] => f64::NAN,
        sorted => (sorted[(sorted.len() - 1) / 2] + sorted[sorted.len() / 2]) / 2.0,
    }
}

/// The least of `times`.
pub fn fastest(times: &[f64]) -> f64 {
    times.iter().copied().fold(f64::INFINITY, f64::min)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 9.0]), 3.0);
        assert_eq!(median(&[3.0, 1.0, 9.0, 4.0]), 3.5);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn at_least_at_most_and_long_enough() {
        let repeats = Repeats { least: 3, most: 5, seconds: 1.0 };
        let enough = [(2, 9.0), (3, 0.5), (3, 1.5), (5, 0.0)];
        assert_eq!(enough.map(|(done, seconds)| repeats.suffice(done, seconds)), [false, false, true, true]);
        assert!(!Repeats::exactly(2).suffice(1, 1e9) && Repeats::exactly(2).suffice(2, 1e-9));
    }
}
