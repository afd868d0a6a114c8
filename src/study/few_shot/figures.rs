//! Figures of the study. An estimator has the same style in all.

use super::Record;
use super::accuracy_curve::Cost;
use super::comparison::{Comparison, Entry};
use crate::report::{Axis, Figure, Panel, Series, significant};
use crate::study::Illustration;
use bilevel::stats::mean;

/// All figures.
pub fn all(comparison: &Comparison) -> Vec<Illustration> {
    [Some(curves(comparison)), Some(target(comparison)), products(comparison)].into_iter().flatten().collect()
}

/// Costs at the points of an estimator's mean curve: as many as its runs have validations, evenly spaced up to the cost
/// that all its runs have spent.
pub fn cost_points(entry: &Entry, cost: Cost) -> Vec<f64> {
    let count = entry.runs.first().map_or(0, |run| run.validations.len()).saturating_sub(1).max(1);
    let end = entry.lowest_spent(cost);
    // Without the minimum, the last point could be past the end of a curve by rounding, and be left out.
    (0..=count).map(|index| (end * index as f64 / count as f64).min(end)).collect()
}

/// Share of its cost after which a curve counts for the range of the axis. Before, all rise steeply and hardly differ.
const EARLY: f64 = 0.25;

/// Axis over the range of the mean accuracies, except early ones, with a margin. What is outside is clipped: early accuracies,
/// and bands of few seeds, which are far wider.
fn accuracy_axis(comparison: &Comparison) -> Axis {
    let means = comparison.entries.iter().flat_map(|entry| {
        let late = |cost| {
            let points = cost_points(entry, cost).into_iter();
            points.filter(move |spent| *spent >= EARLY * entry.lowest_spent(cost))
        };
        let at_cost = |cost| late(cost).map(move |spent| entry.accuracy(cost, spent).value);
        at_cost(Cost::Evaluations).chain(at_cost(Cost::Seconds))
    });
    let (low, high) =
        means.fold((comparison.target, comparison.target), |(low, high), x| (low.min(x), high.max(x)));
    let margin = 0.15 * (high - low);
    Axis::linear("validation accuracy (%)").range((low - margin).max(0.0), (high + margin).min(100.0))
}

fn curves(comparison: &Comparison) -> Illustration {
    let panel = |cost: Cost| {
        let all = comparison.entries.iter().map(|entry| entry.lowest_spent(cost)).fold(0.0, f64::max);
        let panel = Panel::new(Axis::linear(cost.label()).range(0.0, 1.02 * all), accuracy_axis(comparison));
        let panel = comparison.entries.iter().fold(panel, |panel, entry| {
            let point = |spent: f64| {
                let accuracy = entry.accuracy(cost, spent);
                ([spent, accuracy.value], accuracy.ends())
            };
            let (points, band) = cost_points(entry, cost).into_iter().map(point).unzip();
            panel.with(Series::line(entry.estimator.to_string(), points).band(band))
        });
        panel.level(format!("{} %", significant(comparison.target, 3)), comparison.target)
    };
    Illustration {
        name: "curves",
        caption: format!(
            "Validation accuracy against gradient evaluations and against seconds of training: means over {} seeds, \
             with 95 % bands. The vertical axis begins below the accuracies after a quarter of a run. All runs have the \
             same cost at the right ends of the curves in the left panel, and at {} s in the right panel.",
            comparison.seeds(),
            significant(comparison.seconds, 3)
        ),
        figure: Figure { panels: vec![panel(Cost::Evaluations), panel(Cost::Seconds)] },
    }
}

fn target(comparison: &Comparison) -> Illustration {
    let reached = |entry: &Entry| -> Vec<[f64; 2]> {
        let reached = |cost| entry.reached(cost, comparison.target);
        let both = reached(Cost::Evaluations).into_iter().zip(reached(Cost::Seconds));
        both.filter_map(|(evaluations, seconds)| Some([evaluations?, seconds?])).collect()
    };
    let runs: Vec<_> = comparison.entries.iter().map(|entry| (entry, reached(entry))).collect();
    let axis = |cost: Cost| {
        Axis::logarithmic(format!("{}, to {} %", cost.label(), significant(comparison.target, 3)))
    };
    let empty = Panel::new(axis(Cost::Evaluations), axis(Cost::Seconds));
    let panel = runs.into_iter().enumerate().fold(empty, |panel, (look, (entry, points))| match points[..] {
        [] => panel,
        _ => panel.with(Series::marks(entry.estimator.to_string(), points).look(look)),
    });
    Illustration {
        name: "target",
        caption: format!(
            "Cost at which each run first reached an accuracy of {} %, on logarithmic scales; lower left is better. \
             Along lines at 45° the time per evaluation is constant. Runs that did not reach it are not shown.",
            significant(comparison.target, 3)
        ),
        figure: Figure { panels: vec![panel] },
    }
}

/// Products taken along the runs; `None` if no run says.
fn products(comparison: &Comparison) -> Option<Illustration> {
    let all = comparison.entries.iter().flat_map(|entry| &entry.runs).flat_map(|run| &run.intervals);
    let most = all.map(|interval| 100.0 * interval.products).fold(100.0, f64::max);
    let mut panel = Panel::new(
        Axis::linear(Cost::Evaluations.label()),
        Axis::linear("products, % of exact's").range(0.0, 1.05 * most),
    );
    let mut any = false;
    for (look, entry) in comparison.entries.iter().enumerate() {
        let count = entry.runs.iter().map(|run| run.intervals.len()).min().unwrap_or_default();
        let over_runs =
            |of: &dyn Fn(&Record) -> f64| mean(&entry.runs.iter().map(|run| of(run)).collect::<Vec<_>>());
        let point = |at: usize| {
            let evaluations = over_runs(&|run| run.intervals[at].evaluations as f64);
            [evaluations, 100.0 * over_runs(&|run| run.intervals[at].products)]
        };
        if count > 0 {
            any = true;
            let points = (0..count).map(point).collect();
            panel = panel.with(Series::line(entry.estimator.to_string(), points).look(look));
        }
    }
    any.then(|| Illustration {
        name: "products",
        caption: "Hessian-vector products that each estimator took, relative to those of exact gradients: means over seeds and \
                  over the outer steps since the previous validation."
            .into(),
        figure: Figure { panels: vec![panel] },
    })
}
