//! Training runs on one figure: their loss, and their validation accuracy where they have it.

use super::figure::{Axis, Figure, Panel, Series};
use super::runs::{Moment, RunCurves};
use crate::interval::{mean, mean_and_ci95, mean_and_t95};

/// Points of a loss curve, each a mean over consecutive outer steps.
const BINS: usize = 24;

/// What runs are held against each other by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Against {
    /// Outer steps.
    Steps,
    /// Gradient evaluations.
    Evaluations,
    /// Seconds of training.
    Seconds,
}

impl Against {
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Steps => "outer steps",
            Self::Evaluations => "gradient evaluations",
            Self::Seconds => "seconds of training",
        }
    }

    /// `None` where a run does not say.
    pub(super) fn of(self, moment: &Moment) -> Option<f64> {
        match self {
            Self::Steps => Some(moment.steps),
            Self::Evaluations => Some(moment.evaluations),
            Self::Seconds => moment.seconds,
        }
    }
}

/// Runs that differ in nothing but chance, together; groups and runs in the order in which they come.
pub fn pooled(runs: Vec<RunCurves>) -> Vec<Vec<RunCurves>> {
    let mut groups: Vec<Vec<RunCurves>> = Vec::new();
    for run in runs {
        match groups.iter_mut().find(|group| group[0].settings == run.settings) {
            Some(group) => group.push(run),
            None => groups.push(vec![run]),
        }
    }
    groups
}

/// Each run by itself.
pub fn apart(runs: Vec<RunCurves>) -> Vec<Vec<RunCurves>> {
    runs.into_iter().map(|run| vec![run]).collect()
}

/// The figure of `groups`, each drawn as one curve. A single run's bands are its own 95 % intervals: of
/// means over consecutive outer steps, and over validation episodes. Several runs' are those of the mean
/// over runs, by Student's t.
pub fn compare(groups: &[Vec<RunCurves>], against: Against) -> Figure {
    let moments = || groups.iter().flatten().flat_map(|run| run.losses.iter().chain(&run.accuracies));
    let most = moments().filter_map(|moment| against.of(moment)).fold(0.0, f64::max);
    let panel = |label: &str, curve: &dyn Fn(&[RunCurves]) -> Vec<Point>| {
        let x = Axis::linear(against.label()).range(0.0, 1.03 * most);
        let panel = Panel::new(x, Axis::linear(label));
        groups.iter().fold(panel, |panel, group| panel.with(series(name(group), curve(group))))
    };
    let loss = panel("query loss", &|group| losses(group, against));
    let accuracy = panel("validation accuracy (%)", &|group| accuracies(group, against));
    let seen = groups.iter().flatten().any(|run| !run.accuracies.is_empty());
    Figure { panels: if seen { vec![loss, accuracy] } else { vec![loss] } }
}

/// A point of a curve.
pub(super) struct Point {
    pub x: f64,
    pub y: f64,
    pub band: [f64; 2],
}

impl Point {
    pub fn new(x: f64, (y, half): (f64, f64)) -> Self {
        Self { x, y, band: [y - half, y + half] }
    }
}

/// A line through `points`, with their band.
pub(super) fn series(name: impl Into<String>, points: Vec<Point>) -> Series {
    let (points, band) = points.into_iter().map(|point| ([point.x, point.y], point.band)).unzip();
    Series::line(name, points).band(band)
}

/// x and value of every moment that has both, with its interval.
pub(super) fn placed(moments: &[Moment], against: Against) -> Vec<(f64, f64, f64)> {
    moments.iter().filter_map(|moment| Some((against.of(moment)?, moment.value, moment.ci95))).collect()
}

/// Losses of a group's runs.
fn losses(group: &[RunCurves], against: Against) -> Vec<Point> {
    let runs: Vec<_> = group.iter().map(|run| &run.losses[..]).collect();
    binned(&runs, against)
}

/// Means over bins of equal width, which all `runs` share.
pub(super) fn binned(runs: &[&[Moment]], against: Against) -> Vec<Point> {
    let runs: Vec<_> = runs.iter().map(|moments| placed(moments, against)).collect();
    let all = runs.len();
    let most = runs.iter().filter_map(|run| Some(run.last()?.0)).fold(0.0, f64::max);
    let longest = runs.iter().map(Vec::len).max().unwrap_or_default();
    let bins = BINS.min(longest.div_ceil(2)).max(1);
    let bin = |x: f64| ((bins as f64 * x / most) as usize).min(bins - 1);
    let mut binned = vec![vec![Vec::new(); all]; bins];
    for (number, run) in runs.iter().enumerate() {
        run.iter().for_each(|(x, loss, _)| binned[bin(*x)][number].push(*loss));
    }
    let point = |(at, runs): (usize, Vec<Vec<f64>>)| {
        let x = (at as f64 + 0.5) / bins as f64 * most;
        let seen: Vec<Vec<f64>> = runs.into_iter().filter(|losses| !losses.is_empty()).collect();
        match &seen[..] {
            [] => None,
            [alone] if all == 1 => Some(Point::new(x, mean_and_ci95(alone))),
            // Where some runs have ended, the others' mean is another curve.
            _ if seen.len() < all => None,
            _ => {
                Some(Point::new(x, mean_and_t95(&seen.iter().map(|losses| mean(losses)).collect::<Vec<_>>())))
            }
        }
    };
    binned.into_iter().enumerate().filter_map(point).collect()
}

/// Validation accuracies; of several runs, between validations by straight lines, at the first run's.
fn accuracies(group: &[RunCurves], against: Against) -> Vec<Point> {
    let runs: Vec<_> = group.iter().map(|run| placed(&run.accuracies, against)).collect();
    if let [alone] = &runs[..] {
        return alone.iter().map(|(x, accuracy, ci95)| Point::new(*x, (*accuracy, *ci95))).collect();
    }
    let places = runs.first().into_iter().flatten().map(|(x, ..)| *x);
    let point = |x: f64| {
        let values: Option<Vec<f64>> = runs.iter().map(|run| between(run, x)).collect();
        Some(Point::new(x, mean_and_t95(&values?)))
    };
    places.filter_map(point).collect()
}

/// The value at `x` on straight lines between points; their ends stand for what is just outside, by a tenth
/// of a gap.
fn between(points: &[(f64, f64, f64)], x: f64) -> Option<f64> {
    let (first, last) = (points.first()?, points.last()?);
    let slack = 0.1 * (last.0 - first.0) / points.len() as f64;
    if x < first.0 || x > last.0 {
        let end = if x < first.0 { first } else { last };
        return ((x - end.0).abs() <= slack).then_some(end.1);
    }
    let pair = points.windows(2).find(|pair| x <= pair[1].0);
    pair.map_or(Some(first.1), |pair| {
        let width = pair[1].0 - pair[0].0;
        let share = if width > 0.0 { (x - pair[0].0) / width } else { 0.0 };
        Some(pair[0].1 + share * (pair[1].1 - pair[0].1))
    })
}

/// A run's name; of several, what their names begin with, and how many they are.
fn name(group: &[RunCurves]) -> String {
    let [first, rest @ ..] = group else { return String::new() };
    if rest.is_empty() {
        return first.name.clone();
    }
    let shared = |name: &str, other: &str| -> String {
        let same = name.chars().zip(other.chars()).take_while(|(a, b)| a == b);
        same.map(|(letter, _)| letter).collect()
    };
    let common = rest.iter().fold(first.name.clone(), |common, run| shared(&common, &run.name));
    let common = common.trim_end_matches(|letter: char| letter.is_ascii_digit() || "-_. ".contains(letter));
    // Of `exact-rate-0.4-seed-1` …, as sweeps call them, the rate is to be kept.
    let common = common.strip_suffix("seed").map_or(common, |before| before.trim_end_matches(['-', '_']));
    let common = if common.is_empty() { &first.name } else { common };
    format!("{common} ({} runs)", group.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(name: &str, losses: &[f64], setting: i64) -> RunCurves {
        let moment = |(step, loss): (usize, &f64)| Moment {
            steps: step as f64 + 1.0,
            evaluations: 10.0 * (step as f64 + 1.0),
            seconds: None,
            value: *loss,
            ci95: 0.0,
        };
        let losses: Vec<Moment> = losses.iter().enumerate().map(moment).collect();
        let settings = toml::Table::from_iter([("steps".to_string(), toml::Value::Integer(setting))]);
        let (accuracies, norms, products) = (losses.clone(), losses.clone(), losses.clone());
        RunCurves { name: name.into(), settings, accuracies, losses, norms, products, chances: Vec::new() }
    }

    #[test]
    fn repetitions_are_pooled_and_others_are_not() {
        let runs =
            vec![run("a-001", &[1.0, 2.0], 1), run("b-001", &[0.0, 0.0], 2), run("a-002", &[3.0, 4.0], 1)];
        let groups = pooled(runs);
        assert_eq!(groups.iter().map(|group| name(group)).collect::<Vec<_>>(), ["a (2 runs)", "b-001"]);
        let swept = ["exact-rate-0.4-seed-0", "exact-rate-0.4-seed-1"].map(|name| run(name, &[1.0], 1));
        assert_eq!(name(&swept), "exact-rate-0.4 (2 runs)");
        let points = losses(&groups[0], Against::Evaluations);
        // One bin of both steps: means 1.5 and 3.5.
        assert_eq!((points.len(), points[0].y), (1, 2.5));
        assert!((points[0].band[1] - 2.5 - 12.706).abs() < 1e-9);
        let accuracies = accuracies(&groups[0], Against::Steps);
        assert_eq!(
            accuracies.iter().map(|point| (point.x, point.y)).collect::<Vec<_>>(),
            [(1.0, 2.0), (2.0, 3.0)]
        );
        assert!(losses(&groups[0], Against::Seconds).is_empty());
    }

    #[test]
    fn between_points_is_a_straight_line() {
        let points = [(1.0, 10.0, 0.0), (3.0, 20.0, 0.0)];
        assert_eq!([1.0, 2.0, 3.0, 3.05].map(|x| between(&points, x)), [10.0, 15.0, 20.0, 20.0].map(Some));
        assert_eq!([0.5, 3.5].map(|x| between(&points, x)), [None, None]);
    }
}
