//! Figures of the study. An estimator has the same style in all of them.

use super::baselines::{Baseline, Baselines, Trial};
use super::experiment::{BINS, Sample};
use super::{RATE, Results};
use crate::report::{Axis, Figure, Panel, Series, Table};
use crate::study::Illustration;
use crate::study::estimators::{BIASED, StudyEstimator, UNBIASED};
use crate::study::mean_curve::{interpolate, mean_curve, min_max};
use bilevel::stats::mean;

/// Line styles in black: dotted and solid.
const DOTTED: usize = 27;
const SOLID: usize = 20;

/// All figures.
pub fn all(results: &Results) -> Vec<Illustration> {
    vec![
        descents(results, "biased", &BIASED, "The exact estimator and biased ones"),
        descents(
            results,
            "unbiased",
            &UNBIASED,
            "The exact estimator and unbiased ones with a lower cost per step",
        ),
        weights(results),
        rates(&results.baselines),
    ]
}

fn descents(
    results: &Results,
    name: &'static str,
    estimators: &[StudyEstimator],
    subject: &str,
) -> Illustration {
    let evaluations = || Axis::linear("gradient evaluations");
    let curves = |panel: Panel, value: fn(&Sample) -> f64| {
        estimators.iter().enumerate().fold(panel, |panel, (style, estimator)| {
            let curve = |samples: &Vec<Sample>| {
                samples.iter().map(|sample| [sample.evaluations as f64, value(sample)]).collect()
            };
            let seeds: Vec<Vec<[f64; 2]>> =
                results.by(*estimator).map(|descent| curve(&descent.samples)).collect();
            let name = estimator.name(results.size.inner_steps);
            panel.with(mean_curve(&name, &seeds, interpolate).look(style))
        })
    };
    let levels = |panel: Panel, value: fn(&Trial) -> f64| {
        Baseline::ALL.into_iter().zip([DOTTED, SOLID]).fold(panel, |panel, (baseline, style)| {
            let values: Vec<f64> =
                results.baselines.iter().map(|baselines| value(baselines.best(baseline))).collect();
            let ends = [0.0, results.size.evaluations as f64].map(|x| [x, mean(&values)]);
            panel.with(Series::curve(baseline.name(), ends.to_vec()).look(style))
        })
    };
    let loss = Panel::new(evaluations(), Axis::logarithmic("validation loss"));
    let accuracy = Panel::new(evaluations(), Axis::linear("test accuracy (%)"));
    let score = Panel::new(evaluations(), Axis::linear("F1 of wrong labels").range(-0.02, 1.0));
    let panels = vec![
        levels(curves(loss, |sample| sample.loss), |trial| trial.loss),
        levels(curves(accuracy, |sample| sample.accuracy), |trial| trial.accuracy),
        curves(score, |sample| sample.f1),
    ];
    Illustration {
        name,
        caption: format!(
            "{subject}: scores of the classifier trained with the learned weights, and F1 score of the wrong labels \
             found, against gradient evaluations. Means over {} seeds, with bands from the smallest to the largest \
             value. Black: classifiers trained on everything and on the clean half, each at the best of several inner \
             rates.",
            results.size.seeds
        ),
        figure: Figure { panels },
    }
}

/// Percentages of the examples in each bin at the end of exact's descents, all seeds together: of those with right
/// labels, and of those with wrong ones.
fn shares(results: &Results) -> [Vec<f64>; 2] {
    [0, 1].map(|group| {
        let count = |bin: usize| {
            results.by(StudyEstimator::Exact).map(|descent| descent.histogram[group][bin]).sum::<usize>()
        };
        let all: usize = (0..BINS).map(count).sum();
        (0..BINS).map(|bin| 100.0 * count(bin) as f64 / all as f64).collect()
    })
}

fn weights(results: &Results) -> Illustration {
    let panel = Panel::new(
        Axis::linear("weight, σ(θᵢ)").range(0.0, 1.0),
        Axis::linear("share of examples (%)").range(0.0, 100.0),
    );
    let panel = ["right label", "wrong label"].into_iter().zip(shares(results)).fold(
        panel,
        |panel, (name, shares)| {
            let edge = |bin: usize| bin as f64 / BINS as f64;
            let bars = shares.iter().enumerate();
            let points =
                bars.flat_map(|(bin, share)| [[edge(bin), *share], [edge(bin + 1), *share]]).collect();
            panel.with(Series::curve(name, points))
        },
    );
    Illustration {
        name: "weights",
        caption:
            "Final weights by the exact estimator, of examples with right and with wrong labels, all seeds \
                  together. Labels with weights below ½ count as found."
                .into(),
        figure: Figure { panels: vec![panel] },
    }
}

/// Data of the figure of weights.
pub fn weights_table(results: &Results) -> Table {
    let mut table = Table::new(["from_weight", "right_labels_percent", "wrong_labels_percent"]);
    let [right, wrong] = shares(results);
    for (bin, (right, wrong)) in right.iter().zip(&wrong).enumerate() {
        table.row([bin as f64 / BINS as f64, *right, *wrong].map(|number| number.to_string()));
    }
    table
}

fn rates(baselines: &[Baselines]) -> Illustration {
    let series = |baseline: Baseline, value: fn(&Trial) -> f64| {
        let trials = |baselines: &Baselines| -> Vec<Trial> {
            baselines.trials.iter().filter(|trial| trial.baseline == baseline).copied().collect()
        };
        let seeds: Vec<Vec<Trial>> = baselines.iter().map(trials).collect();
        let rates = seeds.first().map_or(0, Vec::len);
        let point = |rate: usize| {
            let values: Vec<f64> = seeds.iter().map(|trials| value(&trials[rate])).collect();
            ([seeds[0][rate].rate, mean(&values)], min_max(&values))
        };
        let (points, band) = (0..rates).map(point).unzip();
        Series::line(baseline.name(), points).band(band)
    };
    let rate = || Axis::logarithmic("inner rate × examples, nα");
    let panel = |y: Axis, value: fn(&Trial) -> f64| {
        let empty = Panel::new(rate(), y);
        Baseline::ALL.into_iter().fold(empty, |panel, baseline| panel.with(series(baseline, value)))
    };
    Illustration {
        name: "rates",
        caption: format!(
            "Baselines against the inner rate. Each baseline uses the rate with the best validation accuracy; at too \
             high a rate full-batch steps oscillate. Descents use nα = {RATE}, and start at weights ½. Means over \
             seeds, with bands from the smallest to the largest value."
        ),
        figure: Figure {
            panels: vec![
                panel(Axis::logarithmic("validation loss"), |trial| trial.loss),
                panel(Axis::linear("test accuracy (%)"), |trial| trial.accuracy),
            ],
        },
    }
}
