//! What the page of a regression shows: its error after each inner step, and curves before and after adaptation.

use super::section;
use crate::data::SinusoidEpisode;
use crate::report::figure::{Axis, Figure, Panel, Series};
use crate::report::html::{data_uri, escaped, table};
use crate::run::StepError;

/// A curve and what the learner predicts for it.
pub struct FittedCurve {
    /// The curve, the points that were adapted to, and as query points the x of the predictions, in ascending order.
    pub episode: SinusoidEpisode,
    /// Predictions before adaptation and after each inner step, `[steps + 1][queries]`.
    pub predicted: Vec<Vec<f64>>,
}

/// Curves before and after adaptation, one panel each (Finn et al. 2017, figure 2).
pub fn fitted(curves: &[FittedCurve]) -> Figure {
    Figure { panels: curves.iter().map(panel).collect() }
}

fn panel(curve: &FittedCurve) -> Panel {
    let FittedCurve { episode, predicted } = curve;
    let points = |inputs: &[f64], outputs: &[f64]| -> Vec<[f64; 2]> {
        inputs.iter().zip(outputs).map(|(x, y)| [*x, *y]).collect()
    };
    let sinusoid = episode.sinusoid;
    let title = format!("amplitude {:.2}, phase {:.2}", sinusoid.amplitude, sinusoid.phase);
    let truth = points(&episode.query, &sinusoid.at_all(&episode.query));
    let empty = Panel::new(Axis::linear("x"), Axis::linear("y")).titled(title);
    let with_truth = empty.with(Series::curve("the sinusoid", truth).plain());
    let last = predicted.len().saturating_sub(1);
    let mut steps = vec![0, 1, last];
    steps.retain(|step| *step <= last);
    steps.dedup();
    let with_curves = steps.into_iter().fold(with_truth, |panel, step| {
        let name = match step {
            0 => "before adaptation".into(),
            1 => "after 1 inner step".into(),
            _ => format!("after {step} inner steps"),
        };
        panel.with(Series::curve(name, points(&episode.query, &predicted[step])))
    });
    let support = points(&episode.support, &sinusoid.at_all(&episode.support));
    with_curves.with(Series::marks("support points", support))
}

/// The error after each inner step, as a figure and a table, with `note` on what it depends on.
pub(super) fn error_section(title: &str, errors: &[StepError], note: &str) -> String {
    let number = |value: Option<f64>| value.map_or("not finite".into(), |value| format!("{value:.4}"));
    let score = errors.last().map_or_else(String::new, |last| {
        format!("<p class=\"score\">{} ± {}</p>\n", number(last.error), number(last.ci95))
    });
    let finite = errors.iter().filter_map(|step| Some((step.inner_steps as f64, step.error?, step.ci95?)));
    let (points, band) =
        finite.map(|(step, error, half)| ([step, error], [error - half, error + half])).unzip();
    let x = Axis::whole("inner steps");
    let curve = Series::line("mean", points).band(band);
    let medians = errors.iter().filter_map(|step| Some([step.inner_steps as f64, step.median?])).collect();
    let panel =
        Panel::new(x, Axis::linear("squared error")).with(curve).with(Series::line("median", medians));
    let figure = Figure { panels: vec![panel] };
    let uri = data_uri("image/svg+xml", figure.svg().as_bytes());
    let rows = errors.iter().map(|step| {
        let [error, ci95, median] = [step.error, step.ci95, step.median].map(number);
        [step.inner_steps.to_string(), error, ci95, median]
    });
    let body = format!(
        "{score}<p class=\"note\">{}</p>\n<div class=\"curves\">\n<figure><img class=\"curve\" src=\"{uri}\" alt=\"mean squared \
         error by inner steps\"/></figure>\n{}</div>\n",
        escaped(note),
        table(["inner steps", "mean squared error", "± 95 %", "median"], rows),
    );
    section("error", title, &body)
}

/// The curves, one image each.
pub(super) fn fitted_section(curves: &[FittedCurve]) -> String {
    let images: String = curves
        .iter()
        .enumerate()
        .map(|(number, curve)| {
            let uri = data_uri("image/svg+xml", Figure { panels: vec![panel(curve)] }.svg().as_bytes());
            format!(
                "<figure><img class=\"curve\" src=\"{uri}\" alt=\"curves of episode {number}\"/></figure>\n"
            )
        })
        .collect();
    let note = "Each learner sees the support points of one sinusoid only. The curve before adaptation is the same for all.";
    let body = format!("<div class=\"curves\">\n{images}</div>\n<p class=\"note\">{}</p>\n", escaped(note));
    section("fitted", "Curves before and after adaptation", &body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Sinusoid;

    #[test]
    fn a_panel_has_the_curve_its_points_and_each_stage_of_adaptation_once() {
        let named = |steps: usize| -> Vec<&str> {
            let episode = SinusoidEpisode {
                sinusoid: Sinusoid { amplitude: 2.0, phase: 1.0 },
                support: vec![0.5],
                query: vec![-1.0, 0.0, 1.0],
            };
            let predicted = (0..=steps).map(|step| vec![step as f64; 3]).collect();
            let figure = fitted(&[FittedCurve { episode, predicted }]);
            assert_eq!(figure.panels[0].title, "amplitude 2.00, phase 1.00");
            let svg = figure.svg();
            let all = [
                "the sinusoid",
                "before adaptation",
                "after 1 inner step",
                "after 10 inner steps",
                "support points",
            ];
            all.into_iter().filter(|name| svg.contains(&format!("aria-label=\"{name}\""))).collect()
        };
        assert_eq!(named(0), ["the sinusoid", "before adaptation", "support points"]);
        assert_eq!(named(1), ["the sinusoid", "before adaptation", "after 1 inner step", "support points"]);
        assert_eq!(named(10).len(), 5);
    }
}
