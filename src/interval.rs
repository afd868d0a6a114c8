//! Means, and their 95 % intervals, as accuracies are reported.

/// The mean of `values`, at least one.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The mean of `values` and half of its 95 % interval, 1.96·s/√n with s from n − 1; 0 for one value.
pub fn mean_and_ci95(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let deviation = if values.len() > 1 { (squares / (count - 1.0)).sqrt() } else { 0.0 };
    (mean, 1.96 * deviation / count.sqrt())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_interval_is_two_standard_errors_to_either_side() {
        let (mean, ci95) = super::mean_and_ci95(&[1.0, 2.0, 3.0, 6.0]);
        assert_eq!(mean, 3.0);
        assert!((ci95 - 1.96 * (14.0_f64 / 3.0 / 4.0).sqrt()).abs() < 1e-12);
        assert_eq!(super::mean_and_ci95(&[5.0]), (5.0, 0.0));
    }
}
