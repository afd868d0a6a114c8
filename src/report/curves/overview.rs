//! One training run on one figure: its results, and how its estimator behaved.

use super::comparison::{Against, Point, binned, placed, series};
use super::{RunCurves, Sample};
use crate::report::figure::{Axis, Figure, Panel};

/// Loss, validation accuracy or error if there is any, the meta-gradient's norm, products and the estimator's probabilities.
/// Bands are 95 % confidence intervals of means over consecutive outer steps, and over validation episodes.
pub fn overview(run: &RunCurves, against: Against) -> Figure {
    let samples = run.losses.iter().chain(&run.validations);
    let most = samples.filter_map(|sample| against.of(sample)).fold(0.0, f64::max);
    let x = || Axis::linear(against.label()).range(0.0, 1.03 * most);
    let panel = |y: Axis, name: &str, points: Vec<Point>| Panel::new(x(), y).with(series(name, points));
    let means = |samples: &[Sample]| binned(&[samples], against);
    let mut panels = vec![panel(Axis::linear("query loss"), &run.name, means(&run.losses))];
    if !run.validations.is_empty() {
        let measured = placed(&run.validations, against).into_iter();
        let points = measured.map(|(x, value, ci95)| Point::new(x, (value, ci95))).collect();
        panels.push(panel(Axis::linear(run.measure), &run.name, points));
    }
    panels.push(panel(Axis::logarithmic("meta-gradient norm"), &run.name, means(&run.norms)));
    panels.push(panel(Axis::linear("products per step"), &run.name, means(&run.products)));
    if !run.probabilities.is_empty() {
        let empty = Panel::new(x(), Axis::linear("probability").range(0.0, 1.0));
        let probabilities = run.probabilities.iter();
        panels.push(
            probabilities
                .fold(empty, |panel, (name, samples)| panel.with(series(name.as_str(), means(samples)))),
        );
    }
    Figure { panels }
}
