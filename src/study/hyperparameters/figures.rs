//! Figures of the study. A method has the same style in all of them.

use super::{EXACT, Method, PENALTIES, RATES, Results};
use crate::report::{Axis, Figure, Panel, Series};
use crate::study::Illustration;
use crate::study::estimators::{BIASED, StudyEstimator, UNBIASED};
use crate::study::mean_curve::{mean_curve, min_max, minimum_up_to};
use bilevel::stats::mean;

/// All figures.
pub fn all(results: &Results) -> Vec<Illustration> {
    vec![
        lowest_losses(results, "biased", &BIASED, "the exact estimator and biased ones"),
        lowest_losses(
            results,
            "unbiased",
            &UNBIASED,
            "the exact estimator and unbiased ones with a lower cost per step",
        ),
        best_found(results),
    ]
}

fn lowest_losses(
    results: &Results,
    name: &'static str,
    estimators: &[StudyEstimator],
    subject: &str,
) -> Illustration {
    let budget = results.size.evaluations as f64;
    let axes =
        Panel::new(Axis::linear("gradient evaluations"), Axis::linear("lowest validation loss so far"));
    let descents = estimators.iter().copied().map(Method::Descent);
    let panel = descents.chain([Method::RandomSearch]).fold(axes, |panel, method| {
        // The lowest loss stays valid up to the end of the budget.
        let seeds: Vec<Vec<[f64; 2]>> = results
            .by(method)
            .map(|record| record.trials.iter().copied().chain([[budget, f64::NAN]]).collect())
            .collect();
        let series = mean_curve(&method.name(results.size.inner_steps), &seeds, minimum_up_to);
        panel.with(if method == Method::RandomSearch { series.plain() } else { series })
    });
    Illustration {
        name,
        caption: format!(
            "Descents by {subject} from the middle of the ranges, and random search in the ranges, at equal gradient \
             evaluations: means over {} seeds, with bands from the smallest to the largest value.",
            results.size.seeds
        ),
        figure: Figure { panels: vec![panel] },
    }
}

fn best_found(results: &Results) -> Illustration {
    let panel = |label: &str, [low, high]: [f64; 2], values: fn(&super::Best) -> &Vec<f64>| {
        let empty = Panel::new(Axis::whole("layer"), Axis::logarithmic(label).range(low, high));
        let panel = [EXACT, Method::RandomSearch].into_iter().fold(empty, |panel, method| {
            let seeds: Vec<Vec<f64>> = results
                .by(method)
                .map(|record| values(&record.best).iter().map(|x| x.ln()).collect())
                .collect();
            let layers = seeds.first().map_or(0, Vec::len);
            let point = |layer: usize| {
                let values: Vec<f64> = seeds.iter().map(|seed| seed[layer]).collect();
                ([(layer + 1) as f64, mean(&values).exp()], min_max(&values).map(f64::exp))
            };
            let (points, band) = (0..layers).map(point).unzip();
            let series = Series::line(method.name(results.size.inner_steps), points).band(band);
            panel.with(if method == Method::RandomSearch { series.plain() } else { series })
        });
        panel.level("start of descents", (low * high).sqrt())
    };
    Illustration {
        name: "found",
        caption: "The best learning rates and penalties found: geometric means over seeds, with bands from the smallest \
                  to the largest value. The axes span the ranges of the search."
            .into(),
        figure: Figure {
            panels: vec![
                panel("learning rate", RATES, |best| &best.rates),
                panel("penalty", PENALTIES, |best| &best.penalties),
            ],
        },
    }
}
