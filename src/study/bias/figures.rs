//! Figures of the study. A checkpoint has the same style in all of them.

use super::{Record, measured};
use crate::report::{Axis, Figure, Panel, Series};
use crate::study::Illustration;
use bilevel::variance::{Mean, Step, Truncation};

/// All figures.
pub fn all(records: &[Record]) -> Vec<Illustration> {
    vec![errors(records), steps(records), best_settings(records)]
}

/// The angle with this cosine, in degrees.
pub fn degrees(cosine: f64) -> f64 {
    cosine.clamp(-1.0, 1.0).acos().to_degrees()
}

fn name(record: &Record) -> String {
    format!("after {} outer steps", record.step)
}

/// A curve of `means` with 95 % bands; the first one is at x = `first`.
fn curve(record: &Record, first: usize, means: impl Iterator<Item = Mean>) -> Series {
    let (points, band) =
        (first..).zip(means).map(|(x, mean)| ([x as f64, mean.value], measured(mean).ends())).unzip();
    Series::line(name(record), points).band(band)
}

fn errors(records: &[Record]) -> Illustration {
    let depth = || Axis::whole("inner steps differentiated, K");
    let empty = [
        Panel::new(depth(), Axis::linear("angle to exact gradient (°)")),
        Panel::new(depth(), Axis::linear("error ÷ norm of exact gradient")),
    ];
    let panels = records.iter().fold(empty, |[angles, sizes], record| {
        let truncations = || record.diagnosis.truncations.iter();
        let angle = |truncation: &Truncation| {
            let [low, high] = measured(truncation.cosine).ends();
            (degrees(truncation.cosine.value), [degrees(high), degrees(low)])
        };
        let (points, band) = (0..)
            .zip(truncations().map(angle))
            .map(|(depth, (angle, band))| ([f64::from(depth), angle], band))
            .unzip();
        let angles = angles.with(Series::line(name(record), points).band(band));
        [angles, sizes.with(curve(record, 0, truncations().map(|truncation| truncation.relative)))]
    });
    Illustration {
        name: "errors",
        caption: "Error of the gradient truncated to the last K inner steps; K = 0 is first-order, K = r exact. Means \
                  over tasks, 95 %."
            .into(),
        figure: Figure { panels: panels.into() },
    }
}

fn steps(records: &[Record]) -> Illustration {
    let step = || Axis::whole("inner step, j");
    let empty = [
        Panel::new(step(), Axis::logarithmic("‖Δⱼ‖² / 𝕍²")),
        Panel::new(step(), Axis::linear("inner rate × curvature, aⱼ")),
    ];
    let panels = records.iter().fold(empty, |[increments, curvatures], record| {
        let unit = record.diagnosis.exact.value;
        let steps = || record.diagnosis.steps.iter();
        let increment = |step: &Step| step.increment.over(unit);
        [
            increments.with(curve(record, 1, steps().map(increment))),
            curvatures.with(curve(record, 1, steps().map(|step| step.curvature))),
        ]
    });
    Illustration {
        name: "steps",
        caption:
            "Contributions to the error: squared norm of the term that each inner step's product adds in the \
                  backward pass, and a lower bound of the curvature there. Means over tasks, 95 %."
                .into(),
        figure: Figure { panels: panels.into() },
    }
}

fn best_settings(records: &[Record]) -> Illustration {
    let along = |value: &dyn Fn(&Record) -> f64| {
        records.iter().map(|record| [record.step as f64, value(record)]).collect::<Vec<_>>()
    };
    let steps = || Axis::whole("outer steps");
    let band = records.iter().map(|record| measured(record.error()).ends()).collect();
    let errors = Series::line("", along(&|record| record.error().value)).band(band).plain();
    let best = Series::line("", along(&Record::best_q)).plain();
    let coins = Panel::new(Axis::whole("inner step, j"), Axis::linear("best pⱼ").range(0.0, 1.04));
    let coins = records.iter().enumerate().fold(coins, |panel, (look, record)| {
        let points = (1..).zip(record.coins()).map(|(step, p)| [f64::from(step), p]).collect();
        panel.with(Series::line(name(record), points).look(look))
    });
    Illustration {
        name: "laws",
        caption: "First-order's error relative to the exact gradient's second moment, UFOM's best q, and the best p_j \
                  of step coins, for costs in gradient evaluations."
            .into(),
        figure: Figure {
            panels: vec![
                Panel::new(steps(), Axis::linear("𝔻² / 𝕍²")).with(errors),
                Panel::new(steps(), Axis::linear("q*").range(0.0, 1.04)).with(best),
                coins,
            ],
        },
    }
}
