//! The study's figures. A law looks the same in all of them.

use super::levels::{Kept, Levels, NAMES, Tried};
use super::scene::{BINS, Look};
use super::{EXACT, RATE, Results};
use crate::interval::mean;
use crate::report::{Axis, Figure, Panel, Series, Table};
use crate::study::Illustration;
use crate::study::laws::{families, laws};
use crate::study::pool::{between, pooled, span};

/// Looks in black: dotted and solid.
const DOTTED: usize = 27;
const PLAIN: usize = 20;

/// All of them.
pub fn all(results: &Results) -> Vec<Illustration> {
    let [biased, unbiased] = families();
    vec![
        descents(results, "biased", &biased, "Exact against biased estimators"),
        descents(results, "unbiased", &unbiased, "Exact against unbiased estimators that cost less a step"),
        weights(results),
        rates(&results.levels),
    ]
}

fn descents(results: &Results, name: &'static str, family: &[&str], what: &str) -> Illustration {
    let evaluations = || Axis::linear("gradient evaluations");
    let curves = |panel: Panel, value: fn(&Look) -> f64| {
        let all = laws(results.size.inner_steps);
        let family = all.iter().filter(|law| family.contains(&law.key));
        family.enumerate().fold(panel, |panel, (look, law)| {
            let curve =
                |looks: &Vec<Look>| looks.iter().map(|at| [at.evaluations as f64, value(at)]).collect();
            let seeds: Vec<Vec<[f64; 2]>> =
                results.by(law.key).map(|cleaned| curve(&cleaned.looks)).collect();
            panel.with(pooled(&law.name, &seeds, between).look(look))
        })
    };
    let level = |panel: Panel, value: fn(&Tried) -> f64| {
        NAMES.into_iter().zip([DOTTED, PLAIN]).fold(panel, |panel, ((name, kept), look)| {
            let values: Vec<f64> = results.levels.iter().map(|levels| value(levels.best(kept))).collect();
            let ends = [0.0, results.size.evaluations as f64].map(|x| [x, mean(&values)]);
            panel.with(Series::curve(name, ends.to_vec()).look(look))
        })
    };
    let loss = Panel::new(evaluations(), Axis::logarithmic("validation loss"));
    let accuracy = Panel::new(evaluations(), Axis::linear("test accuracy (%)"));
    let score = Panel::new(evaluations(), Axis::linear("F1 of wrong labels").range(-0.02, 1.0));
    let panels = vec![
        level(curves(loss, |at| at.loss), |tried| tried.loss),
        level(curves(accuracy, |at| at.accuracy), |tried| tried.accuracy),
        curves(score, |at| at.f1),
    ];
    Illustration {
        name,
        caption: format!(
            "{what}: the classifier trained by the weights, and the wrong labels found, against what learning the \
             weights costs. Means over {} seeds, in bands from the least to the most. Black: classifiers trained on \
             everything and on the clean half, at the best of several inner rates each.",
            results.size.seeds
        ),
        figure: Figure { panels },
    }
}

/// Share of the examples in each bin under exact, all seeds together: of those with right labels, then of those
/// with wrong ones, in %.
fn shares(results: &Results) -> [Vec<f64>; 2] {
    [0, 1].map(|group| {
        let count =
            |bin: usize| results.by(EXACT).map(|cleaned| cleaned.histogram[group][bin]).sum::<usize>();
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
            "Where exact's descent ends: the weights of examples whose labels are right and of those whose \
                  labels are wrong, all seeds together. What is left of ½ counts as found."
                .into(),
        figure: Figure { panels: vec![panel] },
    }
}

/// As the figure has it.
pub fn weights_table(results: &Results) -> Table {
    let mut table = Table::new(["from_weight", "right_labels_percent", "wrong_labels_percent"]);
    let [right, wrong] = shares(results);
    for (bin, (right, wrong)) in right.iter().zip(&wrong).enumerate() {
        table.row([bin as f64 / BINS as f64, *right, *wrong].map(|number| number.to_string()));
    }
    table
}

fn rates(levels: &[Levels]) -> Illustration {
    let series = |name: &str, kept: Kept, value: fn(&Tried) -> f64| {
        let of = |levels: &Levels| -> Vec<Tried> {
            levels.tried.iter().filter(|tried| tried.kept == kept).copied().collect()
        };
        let seeds: Vec<Vec<Tried>> = levels.iter().map(of).collect();
        let rates = seeds.first().map_or(0, Vec::len);
        let point = |at: usize| {
            let values: Vec<f64> = seeds.iter().map(|tried| value(&tried[at])).collect();
            ([seeds[0][at].rate, mean(&values)], span(&values))
        };
        let (points, band) = (0..rates).map(point).unzip();
        Series::line(name, points).band(band)
    };
    let rate = || Axis::logarithmic("inner rate × examples, nα");
    let panel = |y: Axis, value: fn(&Tried) -> f64| {
        NAMES
            .into_iter()
            .fold(Panel::new(rate(), y), |panel, (name, kept)| panel.with(series(name, kept, value)))
    };
    Illustration {
        name: "rates",
        caption: format!(
            "What the descents are held against is given the inner rate at which it gets most validation digits \
             right. Full-batch steps at too high a rate oscillate. Descents have nα = {RATE} and begin at weights ½. \
             Means over seeds, in bands from the least to the most."
        ),
        figure: Figure {
            panels: vec![
                panel(Axis::logarithmic("validation loss"), |tried| tried.loss),
                panel(Axis::linear("test accuracy (%)"), |tried| tried.accuracy),
            ],
        },
    }
}
