//! Several training runs on one figure: loss, and validation accuracy or error if there is any.

use super::{ACCURACY, ERROR, RunCurves, Sample};
use crate::config::TaskKind;
use crate::report::figure::{Axis, Figure, Panel, Series};
use bilevel::stats::{mean, mean_and_ci95, mean_and_t95};
use std::collections::BTreeSet;
use toml::Value;

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

/// Groups runs on the same images that differ only in incidental settings such as the seed, in order of first appearance.
pub fn pooled(runs: Vec<RunCurves>) -> Vec<Vec<RunCurves>> {
    let mut groups: Vec<Vec<RunCurves>> = Vec::new();
    for run in runs {
        match groups.iter_mut().find(|group| is_repeated(&group[0], &run)) {
            Some(group) => group.push(run),
            None => groups.push(vec![run]),
        }
    }
    groups
}

fn is_repeated(run: &RunCurves, other: &RunCurves) -> bool {
    (&run.settings, &run.data) == (&other.settings, &other.data)
}

/// Each run as a group of its own.
pub fn apart(runs: Vec<RunCurves>) -> Vec<Vec<RunCurves>> {
    runs.into_iter().map(|run| vec![run]).collect()
}

/// A key, and the words that name its value in a legend.
type Setting = (&'static str, fn(&str) -> String);

/// Settings that decide what a loss or an accuracy means: curves that differ in one cannot be compared.
const MEANING: [Setting; 9] = [
    ("task.kind", str::to_string),
    ("task.ways", |ways| format!("{ways}-way")),
    ("task.shots", |shots| format!("{shots}-shot")),
    ("eval.ways", |ways| format!("measured {ways}-way")),
    ("eval.shots", |shots| format!("measured {shots}-shot")),
    ("eval.queries", |queries| format!("{queries} queries")),
    ("model.batch_norm", |mode| format!("batch norm {mode}")),
    ("data.source", str::to_string),
    (DATA, |digest| format!("data {digest}")),
];
/// Stands for the digest of the images.
const DATA: &str = "data";

/// What the group's value of a key of [`MEANING`] is; empty if it is not known.
fn meaning(group: &[RunCurves], key: &str) -> String {
    let Some(run) = group.first() else { return String::new() };
    if key == DATA {
        return run.data.clone();
    }
    let value = setting(run, key).or_else(|| setting(run, in_training(key)?));
    if key == "task.kind" && value.is_none() {
        return TaskKind::Classification.to_string();
    }
    value.map_or_else(String::new, |value| value.as_str().map_or_else(|| value.to_string(), str::to_string))
}

/// The value of a key that the run's configuration has, such as `task.ways`.
fn setting<'a>(run: &'a RunCurves, key: &str) -> Option<&'a Value> {
    let (section, key) = key.split_once('.')?;
    run.settings.get(section)?.get(key)
}

/// The key of training episodes whose value `key` has where it is not set itself.
fn in_training(key: &str) -> Option<&'static str> {
    match key {
        "eval.ways" => Some("task.ways"),
        "eval.shots" => Some("task.shots"),
        _ => None,
    }
}

/// The keys of [`MEANING`] in which groups differ. If no group sets a key of `[eval]`, that of `[task]` says it. Other sources have other images, and the same images in another form have
/// another digest: then the digest says nothing more.
fn differing(groups: &[Vec<RunCurves>]) -> Vec<Setting> {
    let differs = |key: &str| {
        let values: BTreeSet<String> = groups.iter().map(|group| meaning(group, key)).collect();
        values.iter().filter(|value| !value.is_empty()).count() > 1
    };
    let explained = ["data.source", "data.image_size", "data.channels", "data.fit"].into_iter().any(differs);
    let as_in_training = |key: &str| {
        in_training(key).is_some() && groups.iter().flatten().all(|run| setting(run, key).is_none())
    };
    let differs = |(key, _): &Setting| differs(key) && !(*key == DATA && explained) && !as_in_training(key);
    MEANING.into_iter().filter(differs).collect()
}

/// If there are more groups, a difference lists the distinct values without the names of the groups.
const MOST_NAMED: usize = 6;

/// In what the groups differ that makes their losses and accuracies incomparable, such as `task.ways is 5 (a) and 2 (b)`;
/// `None` if in nothing.
pub fn incomparable(groups: &[Vec<RunCurves>]) -> Option<String> {
    let said = differing(groups).into_iter().map(|(key, _)| {
        let mut values: Vec<String> = Vec::new();
        for group in groups {
            let mut value = meaning(group, key);
            if groups.len() <= MOST_NAMED {
                value += &format!(" ({})", name(group));
            } else if values.contains(&value) {
                continue;
            }
            values.push(value);
        }
        format!("{key} is {}", values.join(", "))
    });
    let said: Vec<String> = said.collect();
    (!said.is_empty()).then(|| said.join("; "))
}

/// The group's name in the legend, with its value of each setting that makes the groups incomparable.
fn labelled(group: &[RunCurves], differing: &[Setting]) -> String {
    let values: Vec<String> = differing
        .iter()
        .map(|(key, words)| (meaning(group, key), words))
        .filter(|(value, _)| !value.is_empty())
        .map(|(value, words)| words(&value))
        .collect();
    let name = name(group);
    if values.is_empty() { name } else { format!("{name}: {}", values.join(", ")) }
}

/// The names of all groups in the legend. Those that would have the same are numbered.
fn labels(groups: &[Vec<RunCurves>]) -> Vec<String> {
    let differing = differing(groups);
    let mut labels: Vec<String> = Vec::with_capacity(groups.len());
    for group in groups {
        let label = labelled(group, &differing);
        let numbered = (2..).map(|number| format!("{label} #{number}"));
        let free = std::iter::once(label.clone()).chain(numbered).find(|label| !labels.contains(label));
        labels.extend(free);
    }
    labels
}

/// A figure of loss and, if there is any, validation accuracy or error, with one curve for each group. The band of a single
/// run is the 95 % confidence interval of means over consecutive outer steps, and over validation episodes. That of
/// several runs is the 95 % confidence interval of the mean over runs, by Student's t. Where the groups are [`incomparable`],
/// the legend says so.
pub fn compare(groups: &[Vec<RunCurves>], against: Against) -> Figure {
    let labels = labels(groups);
    let samples = || groups.iter().flatten().flat_map(|run| run.losses.iter().chain(&run.validations));
    let most = samples().filter_map(|sample| against.of(sample)).fold(0.0, f64::max);
    type Named<'a> = (&'a Vec<RunCurves>, &'a String);
    let panel = |label: &str, groups: &[Named], curve: &dyn Fn(&[RunCurves]) -> Vec<Point>| {
        let x = Axis::linear(against.label()).range(0.0, 1.03 * most);
        let panel = Panel::new(x, Axis::linear(label));
        groups.iter().fold(panel, |panel, (group, name)| panel.with(series((*name).clone(), curve(group))))
    };
    let all: Vec<Named> = groups.iter().zip(&labels).collect();
    let mut panels = vec![panel("query loss", &all, &|group| losses(group, against))];
    for measure in [ACCURACY, ERROR] {
        let measured = |group: &[RunCurves]| group.iter().any(|run| run.measure == measure);
        let those: Vec<Named> = all.iter().copied().filter(|(group, _)| measured(group)).collect();
        if those.iter().any(|(group, _)| group.iter().any(|run| !run.validations.is_empty())) {
            panels.push(panel(measure, &those, &|group| validations(group, against)));
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
    let slack = 0.1 * (last.0 - first.0) / (points.len() - 1).max(1) as f64;
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
            data: String::new(),
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
    fn groups_of_one_name_have_different_labels() {
        let groups: Vec<_> = (0..3).map(|_| vec![run("exact", &[1.0, 2.0], 1)]).collect();
        assert_eq!(labels(&groups), ["exact", "exact #2", "exact #3"]);
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
