//! Curves of several seeds as one: the mean at common places, in a band from the least to the most. (Of few seeds a
//! 95 % interval is wider than all that was seen; claims have it.)

use crate::interval::mean;
use crate::report::Series;

/// Places of a pooled curve.
const PLACES: usize = 40;

/// The mean of `curves`, points in the order of x, each read by `at`; where one of them has no value yet,
/// there is none. The last place is the smallest of the curves' ends.
pub fn pooled(name: &str, curves: &[Vec<[f64; 2]>], at: impl Fn(&[[f64; 2]], f64) -> Option<f64>) -> Series {
    let end = |curve: &Vec<[f64; 2]>| curve.last().map_or(0.0, |[x, _]| *x);
    let last = curves.iter().map(end).fold(f64::INFINITY, f64::min);
    let place = |number: usize| {
        let x = last * number as f64 / PLACES as f64;
        let values: Option<Vec<f64>> = curves.iter().map(|curve| at(curve, x)).collect();
        let values = values.filter(|values| !values.is_empty())?;
        Some(([x, mean(&values)], span(&values)))
    };
    let (points, band) = (0..=PLACES).filter_map(place).unzip();
    Series::line(name, points).band(band)
}

/// The least and the most of `values`.
pub fn span(values: &[f64]) -> [f64; 2] {
    values
        .iter()
        .fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], value| [low.min(*value), high.max(*value)])
}

/// The value at `x` on straight lines between points; `None` outside.
pub fn between(points: &[[f64; 2]], x: f64) -> Option<f64> {
    points.windows(2).find(|pair| (pair[0][0]..=pair[1][0]).contains(&x)).map(|pair| {
        let width = pair[1][0] - pair[0][0];
        let share = if width > 0.0 { (x - pair[0][0]) / width } else { 1.0 };
        pair[0][1] + share * (pair[1][1] - pair[0][1])
    })
}

/// The least value up to `x`; `None` before there is any. What is not a number is passed over.
pub fn least(points: &[[f64; 2]], x: f64) -> Option<f64> {
    points.iter().take_while(|point| point[0] <= x).map(|point| point[1]).reduce(f64::min)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_are_read_between_and_up_to_their_points() {
        let points = [[1.0, 4.0], [3.0, 2.0], [4.0, 5.0]];
        assert_eq!(
            [0.5, 1.0, 2.0, 4.0].map(|x| between(&points, x)),
            [None, Some(4.0), Some(3.0), Some(5.0)]
        );
        assert_eq!(between(&points, 4.5), None);
        assert_eq!([0.5, 1.0, 2.9, 9.0].map(|x| least(&points, x)), [None, Some(4.0), Some(4.0), Some(2.0)]);
        assert_eq!(least(&[[1.0, f64::NAN], [2.0, 7.0]], 2.0), Some(7.0));
    }

    #[test]
    fn the_pooled_curve_is_the_mean_as_far_as_all_go() {
        let curves = [vec![[0.0, 1.0], [10.0, 3.0]], vec![[0.0, 3.0], [8.0, 5.0]]];
        let ours = pooled("both", &curves, between);
        let points: Vec<[f64; 2]> = (0..=PLACES)
            .map(|place| 8.0 * place as f64 / PLACES as f64)
            .map(|x| [x, 2.0 + 0.225 * x])
            .collect();
        let band = points.iter().map(|[x, _]| [1.0 + 0.2 * x, 3.0 + 0.25 * x]).collect();
        let wanted = Series::line("both", points).band(band);
        let (ours, wanted) = (format!("{ours:.4?}"), format!("{wanted:.4?}"));
        assert_eq!(ours, wanted);
    }
}
