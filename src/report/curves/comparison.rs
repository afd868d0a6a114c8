//! Several training runs on one figure: loss, and validation accuracy or error if there is any.

use super::{ACCURACY, ERROR, RunCurves, Sample};
use crate::report::figure::{Axis, Figure, Panel, Series};
use bilevel::stats::{mean, mean_and_ci95, mean_and_t95};

/// Bins of a loss curve; each point is a mean over the consecutive outer steps of a bin.
const BINS: usize = 24;

/// The horizontal axis of a comparison.
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

    /// The value on this axis; `None` if it was not recorded.
    pub(super) fn of(self, sample: &Sample) -> Option<f64> {
        match self {
            Self::Steps => Some(sample.steps),
            Self::Evaluations => Some(sample.evaluations),
            Self::Seconds => sample.seconds,
        }
    }
}

/// Groups runs that differ only in incidental settings such as the seed, in order of first appearance.
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

/// Each run as a group of its own.
pub fn apart(runs: Vec<RunCurves>) -> Vec<Vec<RunCurves>> {
    runs.into_iter().map(|run| vec![run]).collect()
}

/// A figure of loss and, if there is any, validation accuracy or error, with one curve for each group. The band of a single
/// run is the 95 % confidence interval of means over consecutive outer steps, and over validation episodes. That of
/// several runs is the 95 % confidence interval of the mean over runs, by Student's t.
pub fn compare(groups: &[Vec<RunCurves>], against: Against) -> Figure {
    let samples = || groups.iter().flatten().flat_map(|run| run.losses.iter().chain(&run.validations));
    let most = samples().filter_map(|sample| against.of(sample)).fold(0.0, f64::max);
    let empty =
        |label| Panel::new(Axis::linear(against.label()).range(0.0, 1.03 * most), Axis::linear(label));
    let drawn = |panel: Panel, group: &Vec<RunCurves>, curve| panel.with(series(name(group), curve));
    let loss =
        groups.iter().fold(empty("query loss"), |panel, group| drawn(panel, group, losses(group, against)));
    let mut panels = vec![loss];
    for measure in [ACCURACY, ERROR] {
        let measured: Vec<_> = groups.iter().filter(|group| group[0].measure == measure).collect();
        if measured.iter().any(|group| group.iter().any(|run| !run.validations.is_empty())) {
            let panel = measured
                .into_iter()
                .fold(empty(measure), |panel, group| drawn(panel, group, validations(group, against)));
            panels.push(panel);
        }
    }
    Figure { panels }
}

/// A point of a drawn curve, with its band.
pub struct Point {
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

/// x, value and interval of every sample that has an x.
pub(super) fn placed(samples: &[Sample], against: Against) -> Vec<(f64, f64, f64)> {
    samples.iter().filter_map(|sample| Some((against.of(sample)?, sample.value, sample.ci95))).collect()
}

/// The loss curve of a group.
fn losses(group: &[RunCurves], against: Against) -> Vec<Point> {
    let runs: Vec<_> = group.iter().map(|run| &run.losses[..]).collect();
    binned(&runs, against)
}

/// Means over bins of equal width, shared by all `runs`.
pub(super) fn binned(runs: &[&[Sample]], against: Against) -> Vec<Point> {
    let runs: Vec<_> = runs.iter().map(|samples| placed(samples, against)).collect();
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
            // Skip bins that lack a run: a mean over the other runs would not be comparable.
            _ if seen.len() < all => None,
            _ => {
                Some(Point::new(x, mean_and_t95(&seen.iter().map(|losses| mean(losses)).collect::<Vec<_>>())))
            }
        }
    };
    binned.into_iter().enumerate().filter_map(point).collect()
}

/// The validation accuracies or errors of a group; for several runs, interpolated linearly at the first run's validations.
fn validations(group: &[RunCurves], against: Against) -> Vec<Point> {
    let runs: Vec<_> = group.iter().map(|run| placed(&run.validations, against)).collect();
    if let [alone] = &runs[..] {
        return alone.iter().map(|(x, value, ci95)| Point::new(*x, (*value, *ci95))).collect();
    }
    let places = runs.first().into_iter().flatten().map(|(x, ..)| *x);
    let point = |x: f64| {
        let values: Option<Vec<f64>> = runs.iter().map(|run| between(run, x)).collect();
        Some(Point::new(x, mean_and_t95(&values?)))
    };
    places.filter_map(point).collect()
}

/// The value at `x` by linear interpolation. Up to a tenth of a mean gap outside the points, the value at the
/// nearest end.
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

/// A run's name; for several runs, their common prefix and their number.
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
    // For names of sweeps such as `exact-rate-0.4-seed-1`, keep the rate and drop `seed`.
    let common = common.strip_suffix("seed").map_or(common, |before| before.trim_end_matches(['-', '_']));
    let common = if common.is_empty() { &first.name } else { common };
    format!("{common} ({} runs)", group.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(name: &str, losses: &[f64], setting: i64) -> RunCurves {
        let sample = |(step, loss): (usize, &f64)| Sample {
            steps: step as f64 + 1.0,
            evaluations: 10.0 * (step as f64 + 1.0),
            seconds: None,
            value: *loss,
            ci95: 0.0,
        };
        let losses: Vec<Sample> = losses.iter().enumerate().map(sample).collect();
        let settings = toml::Table::from_iter([("steps".to_string(), toml::Value::Integer(setting))]);
        let (validations, norms, products) = (losses.clone(), losses.clone(), losses.clone());
        RunCurves {
            name: name.into(),
            settings,
            validations,
            measure: ACCURACY,
            losses,
            norms,
            products,
            probabilities: Vec::new(),
        }
    }

    #[test]
    fn runs_that_differ_only_in_incidental_settings_are_pooled() {
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
        let validations = validations(&groups[0], Against::Steps);
        assert_eq!(
            validations.iter().map(|point| (point.x, point.y)).collect::<Vec<_>>(),
            [(1.0, 2.0), (2.0, 3.0)]
        );
        assert!(losses(&groups[0], Against::Seconds).is_empty());
    }

    #[test]
    fn accuracies_and_errors_are_drawn_apart() {
        let labels = |runs: Vec<RunCurves>| -> Vec<String> {
            compare(&apart(runs), Against::Steps).panels.iter().map(|panel| panel.y.label().into()).collect()
        };
        let (classifier, mut regression) = (run("a", &[1.0, 2.0], 1), run("b", &[1.0, 2.0], 1));
        regression.measure = ERROR;
        assert_eq!(labels(vec![regression.clone()]), ["query loss", "validation error"]);
        assert_eq!(
            labels(vec![classifier, regression]),
            ["query loss", "validation accuracy (%)", "validation error"]
        );
    }

    #[test]
    fn between_interpolates_linearly() {
        let points = [(1.0, 10.0, 0.0), (3.0, 20.0, 0.0)];
        assert_eq!([1.0, 2.0, 3.0, 3.05].map(|x| between(&points, x)), [10.0, 15.0, 20.0, 20.0].map(Some));
        assert_eq!([0.5, 3.5].map(|x| between(&points, x)), [None, None]);
    }
}
