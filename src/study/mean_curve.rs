//! Mean curves over seeds, with a band from the smallest to the largest value. (With few seeds a 95 % interval is wider
//! than that range; the claims state it.)

use crate::report::Series;
use bilevel::stats::mean;

/// Intervals between the points of a mean curve.
const INTERVALS: usize = 40;

/// The mean of `curves`, whose points are in ascending order of x. Each curve is read with `value_at`; points at which
/// a curve has no value yet are left out. The mean curve ends where the shortest curve ends.
pub fn mean_curve(
    name: &str,
    curves: &[Vec<[f64; 2]>],
    value_at: impl Fn(&[[f64; 2]], f64) -> Option<f64>,
) -> Series {
    let end = |curve: &Vec<[f64; 2]>| curve.last().map_or(0.0, |[x, _]| *x);
    let last = curves.iter().map(end).fold(f64::INFINITY, f64::min);
    let point = |number: usize| {
        // Without the minimum, the last point could be past the end by rounding, and be left out.
        let x = (last * number as f64 / INTERVALS as f64).min(last);
        let values: Option<Vec<f64>> = curves.iter().map(|curve| value_at(curve, x)).collect();
        let values = values.filter(|values| !values.is_empty())?;
        Some(([x, mean(&values)], min_max(&values)))
    };
    let (points, band) = (0..=INTERVALS).filter_map(point).unzip();
    Series::line(name, points).band(band)
}

/// The smallest and the largest of `values`.
pub fn min_max(values: &[f64]) -> [f64; 2] {
    values
        .iter()
        .fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], value| [low.min(*value), high.max(*value)])
}

/// Linear interpolation between `points` at `x`; `None` outside their range.
pub fn interpolate(points: &[[f64; 2]], x: f64) -> Option<f64> {
    points.windows(2).find(|pair| (pair[0][0]..=pair[1][0]).contains(&x)).map(|pair| {
        let width = pair[1][0] - pair[0][0];
        let share = if width > 0.0 { (x - pair[0][0]) / width } else { 1.0 };
        pair[0][1] + share * (pair[1][1] - pair[0][1])
    })
}

/// The smallest value up to `x`; `None` if there is no point yet. NaN is ignored.
pub fn minimum_up_to(points: &[[f64; 2]], x: f64) -> Option<f64> {
    points.iter().take_while(|point| point[0] <= x).map(|point| point[1]).reduce(f64::min)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpolation_and_running_minimum_match_hand_computed_values() {
        let points = [[1.0, 4.0], [3.0, 2.0], [4.0, 5.0]];
        assert_eq!(
            [0.5, 1.0, 2.0, 4.0].map(|x| interpolate(&points, x)),
            [None, Some(4.0), Some(3.0), Some(5.0)]
        );
        assert_eq!(interpolate(&points, 4.5), None);
        assert_eq!(
            [0.5, 1.0, 2.9, 9.0].map(|x| minimum_up_to(&points, x)),
            [None, Some(4.0), Some(4.0), Some(2.0)]
        );
        assert_eq!(minimum_up_to(&[[1.0, f64::NAN], [2.0, 7.0]], 2.0), Some(7.0));
    }

    #[test]
    fn mean_curve_ends_with_the_shortest_curve() {
        let curves = [vec![[0.0, 1.0], [10.0, 3.0]], vec![[0.0, 3.0], [8.0, 5.0]]];
        let ours = mean_curve("both", &curves, interpolate);
        let points: Vec<[f64; 2]> = (0..=INTERVALS)
            .map(|number| 8.0 * number as f64 / INTERVALS as f64)
            .map(|x| [x, 2.0 + 0.225 * x])
            .collect();
        let band = points.iter().map(|[x, _]| [1.0 + 0.2 * x, 3.0 + 0.25 * x]).collect();
        let wanted = Series::line("both", points).band(band);
        let (ours, wanted) = (format!("{ours:.4?}"), format!("{wanted:.4?}"));
        assert_eq!(ours, wanted);
    }
}
