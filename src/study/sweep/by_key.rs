//! Figures of a sweep's results against a key: accuracy against the number of classes, or against the inner rate.

use super::{Measure, Summary};
use crate::report::{Axis, Figure, Panel, Series};

/// A key of the grid has a figure if it has at least this many values, all of them numbers.
const LEAST_VALUES: usize = 3;
/// The axis is logarithmic if all values are positive and the largest is at least this many times the smallest.
const MANY_TIMES: f64 = 50.0;

/// For each of the `varied` keys that has several numbers as values: the key, and the mean accuracy or error of the `settings`
/// against it, with 95 % intervals over seeds. Settings that differ only in the key are one curve, named after what else varies.
pub fn figures(measure: Measure, varied: &[String], settings: &[Summary]) -> Vec<(String, Figure)> {
    let figure = |(at, key): (usize, &String)| Some((key.clone(), figure(measure, varied, at, settings)?));
    varied.iter().enumerate().filter_map(figure).collect()
}

/// The figure against key number `at`.
fn figure(measure: Measure, varied: &[String], at: usize, settings: &[Summary]) -> Option<Figure> {
    let key = varied[at].as_str();
    let others: Vec<usize> =
        (0..varied.len()).filter(|other| *other != at && varies(settings, *other)).collect();
    let mut curves: Vec<(String, Vec<(f64, &Summary)>)> = Vec::new();
    for summary in settings {
        let number = summary.values[at].parse::<f64>().ok().filter(|number| number.is_finite())?;
        let values = others.iter().map(|other| named(&varied[*other], &summary.values[*other]));
        let run = Some(summary.run.clone()).filter(|run| !run.is_empty());
        let name = run.into_iter().chain(values).collect::<Vec<_>>().join(", ");
        match curves.iter_mut().find(|(other, _)| *other == name) {
            Some((_, points)) => points.push((number, summary)),
            None => curves.push((name, vec![(number, summary)])),
        }
    }
    let mut numbers: Vec<f64> =
        curves.iter().flat_map(|(_, points)| points).map(|(number, _)| *number).collect();
    numbers.sort_by(f64::total_cmp);
    numbers.dedup();
    let (smallest, largest) = (*numbers.first()?, *numbers.last()?);
    let has_mean = settings.iter().any(|summary| summary.mean.is_some());
    if numbers.len() < LEAST_VALUES || !has_mean {
        return None;
    }
    let axis = match smallest > 0.0 && largest >= MANY_TIMES * smallest {
        true => Axis::logarithmic(key),
        false => Axis::linear(key),
    };
    let panel = Panel::new(axis, Axis::linear(measure.heading()));
    let curves = curves
        .into_iter()
        .map(|(name, points)| curve(if name.is_empty() { measure.name().into() } else { name }, points));
    let panel = curves.fold(panel, Panel::with);
    Some(Figure { panels: vec![panel] })
}

/// Whether settings differ in their value of key number `at`.
fn varies(settings: &[Summary], at: usize) -> bool {
    settings.iter().any(|summary| summary.values[at] != settings[0].values[at])
}

/// A key's value in a legend: words alone, numbers with their key.
fn named(key: &str, value: &str) -> String {
    match value.strip_prefix('"').and_then(|value| value.strip_suffix('"')) {
        Some(words) => words.into(),
        None => format!("{key} = {value}"),
    }
}

fn curve(name: String, mut points: Vec<(f64, &Summary)>) -> Series {
    points.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    let known =
        points.into_iter().filter_map(|(number, summary)| Some((number, summary.mean?, summary.ci95)));
    let point = |(number, mean, ci95): (f64, f64, Option<f64>)| {
        let half = ci95.unwrap_or(0.0);
        ([number, mean], [mean - half, mean + half])
    };
    let (points, band): (Vec<_>, Vec<_>) = known.map(point).unzip();
    Series::line(name, points).band(band)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(values: [&str; 2], mean: Option<f64>, ci95: Option<f64>) -> Summary {
        Summary { values: values.map(String::from).to_vec(), mean, ci95, ..Summary::default() }
    }

    #[test]
    fn curves_are_of_settings_that_differ_only_in_the_key() {
        let varied = ["task.ways".to_string(), "estimator.name".to_string()];
        let settings = [
            summary(["20", "\"exact\""], Some(80.0), Some(1.0)),
            summary(["5", "\"exact\""], Some(95.0), None),
            summary(["60", "\"exact\""], None, None),
            summary(["5", "\"adaptive\""], Some(96.0), Some(2.0)),
        ];
        let figures = figures(Measure::Accuracy, &varied, &settings);
        let [(key, figure)] = &figures[..] else { panic!("one figure, not {figures:?}") };
        let exact =
            Series::line("exact", vec![[5.0, 95.0], [20.0, 80.0]]).band(vec![[95.0, 95.0], [79.0, 81.0]]);
        let adaptive = Series::line("adaptive", vec![[5.0, 96.0]]).band(vec![[94.0, 98.0]]);
        let panel = Panel::new(Axis::linear("task.ways"), Axis::linear("test accuracy (%)"));
        assert_eq!(
            (key.as_str(), figure),
            ("task.ways", &Figure { panels: vec![panel.with(exact).with(adaptive)] })
        );
    }

    #[test]
    fn runs_are_apart_and_numbers_in_legends_have_their_key() {
        let varied = ["inner.rate".to_string(), "inner.steps".to_string(), "seed".to_string()];
        let summary = |run: &str, rate: &str, steps: &str| Summary {
            run: run.into(),
            values: [rate, steps, "0"].map(String::from).to_vec(),
            mean: Some(50.0),
            ..Summary::default()
        };
        let rates = ["0.1", "0.2", "0.4"];
        let settings: Vec<Summary> = ["narrow", "wide"]
            .iter()
            .flat_map(|run| rates.iter().flat_map(|rate| ["1", "5"].map(|steps| summary(run, rate, steps))))
            .collect();
        let figures = figures(Measure::Accuracy, &varied, &settings);
        let [(_, figure)] = &figures[..] else { panic!("one figure, not {figures:?}") };
        let points = rates.map(|rate| [rate.parse().unwrap(), 50.0]);
        let of = |name: &str| Series::line(name, points.to_vec()).band(vec![[50.0, 50.0]; 3]);
        let expected = [
            "narrow, inner.steps = 1",
            "narrow, inner.steps = 5",
            "wide, inner.steps = 1",
            "wide, inner.steps = 5",
        ];
        assert_eq!(figure.panels[0].series, expected.map(of));
        let without_runs: Vec<Summary> = rates.iter().map(|rate| summary("", rate, "1")).collect();
        let figures = super::figures(Measure::Accuracy, &varied, &without_runs);
        assert_eq!(figures[0].1.panels[0].series, [of("accuracy")]);
    }

    #[test]
    fn keys_of_few_values_and_keys_of_words_have_no_figure() {
        let of = |keys: [[&str; 2]; 3]| {
            let settings = keys.map(|values| summary(values, Some(50.0), None));
            figures(Measure::Accuracy, &["one".into(), "other".into()], &settings).len()
        };
        assert_eq!(of([["1", "\"a\""], ["2", "\"a\""], ["2", "\"b\""]]), 0);
        assert_eq!(of([["1", "4"], ["2", "5"], ["1000", "6.5"]]), 2);
    }
}
