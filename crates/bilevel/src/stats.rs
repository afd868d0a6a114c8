//! Means and their 95 % confidence intervals, and medians.

/// The mean of `values`; NaN if there are none.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The largest of `values`, at least 0; NaN if one of them is.
pub fn largest(values: impl IntoIterator<Item = f64>) -> f64 {
    let larger = |a: f64, b: f64| if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) };
    values.into_iter().fold(0.0, larger)
}

/// The median of `values`, the mean of the two middle values if their number is even; NaN if there are none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match &sorted[..] {
        [] => f64::NAN,
        sorted => (sorted[(sorted.len() - 1) / 2] + sorted[sorted.len() / 2]) / 2.0,
    }
}

/// The mean of `values` and the half-width of its 95 % confidence interval, 1.96·s/√n, with s² the unbiased sample
/// variance; the half-width is 0 for a single value.
pub fn mean_and_ci95(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let deviation = if values.len() > 1 { (squares / (count - 1.0)).sqrt() } else { 0.0 };
    (mean, 1.96 * deviation / count.sqrt())
}

/// The 97.5 % quantiles of Student's t distribution for 1, 2, … degrees of freedom.
const STUDENT_T: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
];

/// As [`mean_and_ci95`], for few values: with the quantile of Student's t in place of 1.96 (Student, *The probable
/// error of a mean*, 1908). Beyond 31 values it is 1.96.
pub fn mean_and_t95(values: &[f64]) -> (f64, f64) {
    let (mean, ci95) = mean_and_ci95(values);
    let t = STUDENT_T.get(values.len().saturating_sub(2)).copied().unwrap_or(1.96);
    (mean, ci95 / 1.96 * t)
}

#[cfg(test)]
mod tests {
    use super::{largest, median};

    #[test]
    fn the_largest_value_is_nan_if_one_is() {
        assert_eq!(largest([1.0, 3.0, 2.0]), 3.0);
        assert_eq!(largest([]), 0.0);
        assert!(largest([1.0, f64::NAN, 2.0]).is_nan());
    }

    #[test]
    fn median_of_odd_even_and_no_values() {
        assert_eq!(median(&[3.0, 1.0, 9.0]), 3.0);
        assert_eq!(median(&[3.0, 1.0, 9.0, 4.0]), 3.5);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn the_t_interval_is_wider_for_few_values() {
        let (mean, t95) = super::mean_and_t95(&[1.0, 2.0, 3.0]);
        assert!((mean - 2.0).abs() < 1e-12 && (t95 - 4.303 / 3.0_f64.sqrt()).abs() < 1e-12);
        assert_eq!(super::mean_and_t95(&[5.0]), (5.0, 0.0));
    }

    #[test]
    fn the_half_width_is_1_96_standard_errors() {
        let (mean, ci95) = super::mean_and_ci95(&[1.0, 2.0, 3.0, 6.0]);
        assert_eq!(mean, 3.0);
        assert!((ci95 - 1.96 * (14.0_f64 / 3.0 / 4.0).sqrt()).abs() < 1e-12);
        assert_eq!(super::mean_and_ci95(&[5.0]), (5.0, 0.0));
    }
}
