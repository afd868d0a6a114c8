//! One training run on one figure: what it reached, and how its estimator behaved.

use super::comparison::{Against, Point, binned, placed, series};
use super::figure::{Axis, Figure, Panel};
use super::runs::{Moment, RunCurves};

/// Loss, validation accuracy where there is one, the meta-gradient's norm, and what the estimator spent and chose.
/// Bands are 95 % intervals: of means over consecutive outer steps, and over validation episodes.
pub fn portrait(run: &RunCurves, against: Against) -> Figure {
    let moments = run.losses.iter().chain(&run.accuracies);
    let most = moments.filter_map(|moment| against.of(moment)).fold(0.0, f64::max);
    let x = || Axis::linear(against.label()).range(0.0, 1.03 * most);
    let panel = |y: Axis, name: &str, points: Vec<Point>| Panel::new(x(), y).with(series(name, points));
    let means = |moments: &[Moment]| binned(&[moments], against);
    let mut panels = vec![panel(Axis::linear("query loss"), &run.name, means(&run.losses))];
    if !run.accuracies.is_empty() {
        let measured = placed(&run.accuracies, against).into_iter();
        let points = measured.map(|(x, accuracy, ci95)| Point::new(x, (accuracy, ci95))).collect();
        panels.push(panel(Axis::linear("validation accuracy (%)"), &run.name, points));
    }
    panels.push(panel(Axis::logarithmic("meta-gradient norm"), &run.name, means(&run.norms)));
    panels.push(panel(Axis::linear("products per step"), &run.name, means(&run.products)));
    if !run.chances.is_empty() {
        let empty = Panel::new(x(), Axis::linear("probability").range(0.0, 1.0));
        let chances = run.chances.iter();
        panels.push(
            chances.fold(empty, |panel, (name, moments)| panel.with(series(name.as_str(), means(moments)))),
        );
    }
    Figure { panels }
}
