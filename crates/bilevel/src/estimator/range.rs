//! Checks of settings: a value outside of its range would bias an estimate, or make it NaN, without a sign of it.

/// Panics unless the probability `p`, which is called `name`, is in (0, 1].
pub fn assert_probability(name: &str, p: f64) {
    assert!(0.0 < p && p <= 1.0, "{name} must be in (0, 1], but is {p}");
}

/// Panics unless `beta`, the decay rate of running averages, is in [0, 1).
pub fn assert_decay(beta: f64) {
    assert!(
        (0.0..1.0).contains(&beta),
        "the decay rate of running averages must be in [0, 1), but is {beta}"
    );
}
