//! First experiment: where estimators converge. With q = 0 the limit is not stationary, by the margin for which b_2 is
//! chosen; with any q > 0 it is.

use super::descent::{Plan, SIZES};
use super::family::Family;
use super::trace::{Sample, Trace, find};
use super::{CURVATURES, Estimator, INNER_STEPS, Quadratic, SEED, sample_steps};
use crate::report::{Axis, Figure, Panel, Series, Table, short};
use crate::study::{Claim, Conclusion, Expected, Illustration, Measured};

/// The estimators compared.
pub const ESTIMATORS: [Estimator; 2] = [Estimator::FirstOrder, Estimator::Ufom];
/// UFOM's q.
const Q: f64 = 0.1;
/// Inner rate α.
const RATE: f64 = 0.1;
/// Margin D: |∇M| = √(2D) where first-order steps converge.
const MARGIN: f64 = 0.06;
/// θ_0 is uniform on this interval.
const START: [f64; 2] = [-10.0, 30.0];
/// Upper bound of UFOM's final |∇M|.
const SMALL: f64 = 0.02;
/// Bound of the mean of UFOM's final ∇M.
const UNBIASED: f64 = 0.005;

/// ∇M along descents by `estimator`.
pub fn trace(study: &Quadratic, estimator: Estimator) -> Trace {
    let q = match estimator {
        Estimator::FirstOrder => 0.0,
        Estimator::Ufom => Q,
        Estimator::Exact => 1.0,
    };
    let family = Family::with_margin(CURVATURES, RATE, INNER_STEPS, MARGIN);
    let samples = sample_steps(study.convergence_steps);
    let plan = Plan { starts: study.starts, start: START, sizes: SIZES, samples, seed: SEED };
    Trace::record(&family, q, &plan, SMALL)
}

/// Adds the claims, figure and table of `traces`.
pub fn conclude(traces: &[(Estimator, Trace)], conclusion: &mut Conclusion) {
    let [Some(first_order), Some(ufom)] = ESTIMATORS.map(|estimator| find(traces, estimator)) else { return };
    let margin = (2.0 * MARGIN).sqrt();
    let steps = first_order.end().step;
    conclusion.claims.extend([
        Claim::new(
            format!("first-order: limit of |∇M| is √(2D), D = {MARGIN}"),
            Expected::near(margin, 0.01),
            first_order.end().size,
        ),
        Claim::new(
            format!("UFOM({}): |∇M| after {} steps", ufom.q, short(steps as f64, 3)),
            Expected::below(SMALL),
            ufom.end().size,
        ),
        Claim::new(
            format!("UFOM({}): mean of ∇M over starts is 0", ufom.q),
            Expected::between(-UNBIASED, UNBIASED),
            ufom.end().mean,
        ),
        Claim::new(
            format!("UFOM({}): |∇M| falls like k^(−½) over the last decade (slope in log–log)", ufom.q),
            Expected::between(-0.6, -0.4),
            final_slope(ufom),
        ),
    ]);
    let series = |name: &str, trace: &Trace| {
        let point = |sample: &Sample| [sample.step as f64, sample.size.value];
        let band = trace.samples.iter().map(|sample| sample.quartiles).collect();
        Series::line(name, trace.samples.iter().map(point).collect()).band(band)
    };
    let panel = Panel::new(Axis::logarithmic("outer steps"), Axis::logarithmic("|∇M|"))
        .with(series("first-order", first_order))
        .with(series(&format!("UFOM, q = {}", ufom.q), ufom))
        .level("√(2D), by formula", margin);
    conclusion.figures.push(Illustration {
        name: "settling",
        caption: format!(
            "Convergence: mean of |∇M| over starts, with quartiles. α = {RATE}, r = {INNER_STEPS}, a = (0.5, \
             1.5), D = {MARGIN}. First-order steps converge to the value that the formula gives; UFOM's error is \
             only noise, and decreases with the step size."
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
    for (_, trace) in traces {
        for Sample { step, mean, size, quartiles: [low, high] } in &trace.samples {
            let numbers = [mean.value, mean.ci95, size.value, size.ci95, *low, *high];
            let cells = numbers.map(|number| number.to_string());
            table.row([trace.q.to_string(), step.to_string()].into_iter().chain(cells));
        }
    }
    conclusion.tables.push(("settling", table));
}

/// Slope of ln |∇M| against ln k over the last decade of steps.
fn final_slope(trace: &Trace) -> Measured {
    let end = trace.end();
    let tenth = trace.samples.iter().find(|sample| sample.step >= end.step / 10).unwrap_or(&end);
    let run = (end.step as f64 / tenth.step as f64).ln();
    let relative = (end.size.ci95 / end.size.value).hypot(tenth.size.ci95 / tenth.size.value);
    Measured { value: (end.size.value / tenth.size.value).ln() / run, ci95: relative / run }
}
