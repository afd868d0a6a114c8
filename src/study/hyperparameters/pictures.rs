//! The study's figures. A law looks the same in all of them.

use super::{EXACT, PENALTIES, RANDOM, RATES, Results};
use crate::interval::mean;
use crate::report::{Axis, Figure, Panel, Series};
use crate::study::Illustration;
use crate::study::laws::families;
use crate::study::pool::{least, pooled, span};

/// All of them.
pub fn all(results: &Results) -> Vec<Illustration> {
    let [biased, unbiased] = families();
    vec![
        search(results, "biased", &biased, "exact and biased estimators"),
        search(results, "unbiased", &unbiased, "exact and unbiased estimators that cost less a step"),
        found(results),
    ]
}

fn search(results: &Results, name: &'static str, family: &[&str], what: &str) -> Illustration {
    let budget = results.size.evaluations as f64;
    let axes = Panel::new(Axis::linear("gradient evaluations"), Axis::linear("least validation loss so far"));
    let names = results.names().into_iter().filter(|(key, _)| *key == RANDOM || family.contains(key));
    let panel = names.fold(axes, |panel, (key, name)| {
        // What is found stays found, to the end of the budget.
        let seeds: Vec<Vec<[f64; 2]>> = results
            .by(key)
            .map(|searched| searched.trials.iter().copied().chain([[budget, f64::NAN]]).collect())
            .collect();
        let series = pooled(&name, &seeds, least);
        panel.with(if key == RANDOM { series.plain() } else { series })
    });
    Illustration {
        name,
        caption: format!(
            "Descents from the middle of the ranges by {what}, and random search in them, at equal gradient \
             evaluations: means over {} seeds, in bands from the least to the most.",
            results.size.seeds
        ),
        figure: Figure { panels: vec![panel] },
    }
}

fn found(results: &Results) -> Illustration {
    let panel = |what: &str, [low, high]: [f64; 2], of: fn(&super::Best) -> &Vec<f64>| {
        let empty = Panel::new(Axis::whole("layer"), Axis::logarithmic(what).range(low, high));
        let panel =
            [(EXACT, "exact"), (RANDOM, "random search")].into_iter().fold(empty, |panel, (key, name)| {
                let seeds: Vec<Vec<f64>> = results
                    .by(key)
                    .map(|searched| of(&searched.best).iter().map(|x| x.ln()).collect())
                    .collect();
                let layers = seeds.first().map_or(0, Vec::len);
                let point = |layer: usize| {
                    let values: Vec<f64> = seeds.iter().map(|seed| seed[layer]).collect();
                    ([(layer + 1) as f64, mean(&values).exp()], span(&values).map(f64::exp))
                };
                let (points, band) = (0..layers).map(point).unzip();
                let series = Series::line(name, points).band(band);
                panel.with(if key == RANDOM { series.plain() } else { series })
            });
        panel.level("start of descents", (low * high).sqrt())
    };
    Illustration {
        name: "found",
        caption:
            "The best rates and penalties found: geometric means over seeds, in bands from the least to the most. The axes are the ranges."
                .into(),
        figure: Figure {
            panels: vec![
                panel("learning rate", RATES, |best| &best.rates),
                panel("penalty", PENALTIES, |best| &best.penalties),
            ],
        },
    }
}
