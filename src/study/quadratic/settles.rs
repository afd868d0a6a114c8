//! First: where methods settle. At q = 0 the limit is not stationary, by the margin that b_2 was chosen for;
//! at any q > 0 it is.

use super::descent::Plan;
use super::family::Family;
use super::trace::{Look, Trace};
use super::{CURVATURES, INNER_STEPS, Quadratic, SEED, looks};
use crate::report::{Axis, Figure, Panel, Series, Table, short};
use crate::study::{Claim, Conclusion, Expected, Illustration, Measured};

/// Piece and q.
pub const METHODS: [(&str, f64); 2] = [("first-order", 0.0), ("ufom", 0.1)];
/// α.
const RATE: f64 = 0.1;
/// D: |∇M| = √(2D) where first-order settles.
const MARGIN: f64 = 0.06;
const FROM: [f64; 2] = [-10.0, 30.0];
/// What UFOM is below in the end, and its mean is 0 within.
const SMALL: f64 = 0.02;
const UNBIASED: f64 = 0.005;

/// Follows `method`; `None` if there is no such.
pub fn follow(study: &Quadratic, method: &str) -> Option<Trace> {
    let (_, q) = METHODS.into_iter().find(|(key, _)| *key == method)?;
    let family = Family::with_margin(CURVATURES, RATE, INNER_STEPS, MARGIN);
    let plan = Plan { starts: study.starts, from: FROM, looks: looks(study.settling_steps), seed: SEED };
    Some(Trace::follow(&family, q, &plan, SMALL))
}

/// Adds what `traces`, in the order of [`METHODS`], come to.
pub fn conclude(traces: &[&Trace], conclusion: &mut Conclusion) {
    let [first_order, ufom] = traces else { return };
    let margin = (2.0 * MARGIN).sqrt();
    let steps = first_order.end().step;
    conclusion.claims.extend([
        Claim::new(
            format!("first-order's |∇M| settles at √(2D), D = {MARGIN}"),
            Expected::near(margin, 0.01),
            first_order.end().size,
        ),
        Claim::new(
            format!("UFOM({})'s |∇M| after {} steps", ufom.q, short(steps as f64, 3)),
            Expected::below(SMALL),
            ufom.end().size,
        ),
        Claim::new(
            format!("UFOM({})'s ∇M, averaged over starts, is 0", ufom.q),
            Expected::between(-UNBIASED, UNBIASED),
            ufom.end().mean,
        ),
        Claim::new(
            format!("UFOM({})'s |∇M| falls like k^(−½) over the last decade", ufom.q),
            Expected::between(-0.6, -0.4),
            fall(ufom),
        ),
    ]);
    let series = |name: &str, trace: &Trace| {
        let point = |look: &Look| [look.step as f64, look.size.value];
        let band = trace.looks.iter().map(|look| look.quartiles).collect();
        Series::line(name, trace.looks.iter().map(point).collect()).band(band)
    };
    let panel = Panel::new(Axis::logarithmic("outer steps"), Axis::logarithmic("|∇M|"))
        .with(series("first-order", first_order))
        .with(series(&format!("UFOM, q = {}", ufom.q), ufom))
        .level("√(2D), by formula", margin);
    conclusion.figures.push(Illustration {
        name: "settling",
        caption: format!(
            "Where methods settle: the mean of |∇M| over starts, and the middle half of the starts. α = \
             {RATE}, r = {INNER_STEPS}, a = (0.5, 1.5), D = {MARGIN}. First-order steps stop where the \
             formula says; UFOM's error is noise alone, and falls as the steps shrink."
        ),
        figure: Figure { panels: vec![panel] },
    });
    let mut table = Table::new([
        "q",
        "step",
        "mean",
        "mean_ci95",
        "size",
        "size_ci95",
        "size_quartile_1",
        "size_quartile_3",
    ]);
    for trace in traces {
        for Look { step, mean, size, quartiles: [low, high] } in &trace.looks {
            let numbers = [mean.value, mean.ci95, size.value, size.ci95, *low, *high];
            let cells = numbers.map(|number| number.to_string());
            table.row([trace.q.to_string(), step.to_string()].into_iter().chain(cells));
        }
    }
    conclusion.tables.push(("settling", table));
}

/// The slope of ln |∇M| in ln k between a tenth of the way and the end.
fn fall(trace: &Trace) -> Measured {
    let end = trace.end();
    let tenth = trace.looks.iter().find(|look| look.step >= end.step / 10).unwrap_or(&end);
    let run = (end.step as f64 / tenth.step as f64).ln();
    let relative = (end.size.ci95 / end.size.value).hypot(tenth.size.ci95 / tenth.size.value);
    Measured { value: (end.size.value / tenth.size.value).ln() / run, ci95: relative / run }
}
