//! The study's figures. An estimator looks the same in both.

use super::curve::Cost;
use super::race::{Entry, Race};
use crate::report::{Axis, Figure, Panel, Series, significant};
use crate::study::Illustration;

/// Both.
pub fn all(race: &Race) -> Vec<Illustration> {
    vec![curves(race), target(race)]
}

/// What was spent at each point of an estimator's curve: as many as there were looks, evenly up to what all
/// its runs have spent.
pub fn places(entry: &Entry, cost: Cost) -> Vec<f64> {
    let count = entry.runs.first().map_or(0, |run| run.looks.len()).saturating_sub(1).max(1);
    let end = entry.least_spent(cost);
    (0..=count).map(|at| end * at as f64 / count as f64).collect()
}

/// Accuracies that the means come to, with some room. Bands of few seeds reach far beyond, and are cut there.
fn accuracies(race: &Race) -> Axis {
    let means = race.entries.iter().flat_map(|entry| {
        let of = |cost| places(entry, cost).into_iter().map(move |spent| entry.accuracy(cost, spent).value);
        of(Cost::Evaluations).chain(of(Cost::Seconds))
    });
    let (low, high) = means.fold((race.target, race.target), |(low, high), x| (low.min(x), high.max(x)));
    let room = 0.15 * (high - low);
    Axis::linear("validation accuracy (%)").range((low - room).max(0.0), (high + room).min(100.0))
}

fn curves(race: &Race) -> Illustration {
    let panel = |cost: Cost| {
        let all = race.entries.iter().map(|entry| entry.least_spent(cost)).fold(0.0, f64::max);
        let panel = Panel::new(Axis::linear(cost.label()).range(0.0, 1.02 * all), accuracies(race));
        let panel = race.entries.iter().fold(panel, |panel, entry| {
            let point = |spent: f64| {
                let accuracy = entry.accuracy(cost, spent);
                ([spent, accuracy.value], accuracy.ends())
            };
            let (points, band) = places(entry, cost).into_iter().map(point).unzip();
            panel.with(Series::line(entry.method.to_string(), points).band(band))
        });
        panel.level(format!("{} %", significant(race.target, 3)), race.target)
    };
    Illustration {
        name: "curves",
        caption: format!(
            "Validation accuracy over gradient evaluations and over seconds of training: the mean over {} \
             seeds, with its 95 % band. At the right ends of the left panel all have spent the same; on the \
             right that is so at {} s.",
            race.seeds(),
            significant(race.seconds, 3)
        ),
        figure: Figure { panels: vec![panel(Cost::Evaluations), panel(Cost::Seconds)] },
    }
}

fn target(race: &Race) -> Illustration {
    let reached = |entry: &Entry| -> Vec<[f64; 2]> {
        let reached = |cost| entry.reached(cost, race.target);
        let both = reached(Cost::Evaluations).into_iter().zip(reached(Cost::Seconds));
        both.filter_map(|(evaluations, seconds)| Some([evaluations?, seconds?])).collect()
    };
    let runs: Vec<_> = race.entries.iter().map(|entry| (entry, reached(entry))).collect();
    let axis =
        |cost: Cost| Axis::logarithmic(format!("{}, to {} %", cost.label(), significant(race.target, 3)));
    let empty = Panel::new(axis(Cost::Evaluations), axis(Cost::Seconds));
    let panel = runs.into_iter().enumerate().fold(empty, |panel, (look, (entry, points))| match points[..] {
        [] => panel,
        _ => panel.with(Series::marks(entry.method.to_string(), points).look(look)),
    });
    Illustration {
        name: "target",
        caption: format!(
            "What each run had spent when its accuracy was first {} %, on logarithmic scales: the closer to the \
             lower left corner, the better. Lines at 45° are times that an evaluation takes. Runs that did not get \
             there are not shown.",
            significant(race.target, 3)
        ),
        figure: Figure { panels: vec![panel] },
    }
}
