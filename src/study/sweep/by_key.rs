//! Figures of a sweep's results against a key: accuracy against the number of classes, or against the inner rate.

use super::{Measure, Summary};
use crate::report::{Axis, Figure, Panel, Series};

/// A key has a figure if the sweep gives it at least so many values, all of them numbers.
const LEAST_VALUES: usize = 3;
/// The axis is logarithmic if the largest value is at least so many times the smallest, which is positive.
const MANY_TIMES: f64 = 50.0;

/// For each of the `varied` keys that has several numbers as values: the key, and the mean accuracy or error of the `settings`
/// against it, with 95 % intervals over seeds. Settings that differ only in the key are one curve, named after the values of
/// the other keys.
pub fn figures(measure: Measure, varied: &[String], settings: &[Summary]) -> Vec<(String, Figure)> {
    let figure = |(at, key): (usize, &String)| Some((key.clone(), figure(measure, key, at, settings)?));
    varied.iter().enumerate().filter_map(figure).collect()
}

fn figure(measure: Measure, key: &str, at: usize, settings: &[Summary]) -> Option<Figure> {
    let mut curves: Vec<(String, Vec<(f64, &Summary)>)> = Vec::new();
    for summary in settings {
        let number =
            summary.values[at].replace('_', "").parse::<f64>().ok().filter(|number| number.is_finite())?;
        let others = summary.values.iter().enumerate().filter(|(other, _)| *other != at);
        let others = others.map(|(_, value)| value.trim_matches('"')).collect::<Vec<_>>().join(", ");
        let name = if others.is_empty() { measure.name().to_string() } else { others };
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
    let panel = curves.into_iter().fold(panel, |panel, (name, points)| panel.with(curve(name, points)));
    Some(Figure { panels: vec![panel] })
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
    fn keys_of_few_values_and_keys_of_words_have_no_figure() {
        let of = |keys: [[&str; 2]; 3]| {
            let settings = keys.map(|values| summary(values, Some(50.0), None));
            figures(Measure::Accuracy, &["one".into(), "other".into()], &settings).len()
        };
        assert_eq!(of([["1", "a"], ["2", "a"], ["2", "b"]]), 0);
        assert_eq!(of([["1", "4"], ["2", "5"], ["1_000", "6.5"]]), 2);
    }
}
