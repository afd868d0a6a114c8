//! Second experiment: gradient evaluations to reach stationarity, for first-order, UFOM at its best q, and exact steps.
//!
//! With steps c/k near the minimum of M, where M's curvature is λ and 2cλ > 1, the mean square of ∇M tends to
//!
//! ```text
//! E (∇M)² ≈ λ² c² S / ((2cλ − 1) k),   S = 𝕍² + (1/q − 1)𝔻²   at the minimum
//! ```
//!
//! (Chung, *On a stochastic approximation method*, 1954), so the evaluations to a given mean square are
//! (C_det + q·C_rnd)·S times a factor that does not depend on q: exponent p = 1 in `docs/mathematics.md`, "Choosing
//! q". The reference code uses p = ½.

use super::descent::{Plan, SIZES, STEP};
use super::family::Family;
use super::trace::{Sample, Trace, find};
use super::{Estimator, INNER_STEPS, Quadratic, SEED, evaluations, sample_steps};
use crate::report::{Axis, Figure, Panel, Series, Table, significant};
use crate::study::{Claim, Conclusion, Expected, Illustration, Measured};
use bilevel::estimator::{Costs, SecondMoments, best_q};

/// The estimators compared.
pub const ESTIMATORS: [Estimator; 3] = [Estimator::FirstOrder, Estimator::Ufom, Estimator::Exact];
/// Inner rate α.
pub const RATE: f64 = 0.01;
/// θ_0 is uniform on this interval.
pub const START: [f64; 2] = [-50.0, 50.0];
/// Root mean square of ∇M to reach.
pub const TARGET: f64 = 0.1;
/// Exponent p for steps that shrink like 1/k.
pub const EXPONENT: f64 = 1.0;

/// ∇M along descents by `estimator`.
pub fn trace(study: &Quadratic, estimator: Estimator) -> Trace {
    let family = Quadratic::wide(RATE);
    let q = match estimator {
        Estimator::FirstOrder => 0.0,
        Estimator::Ufom => q_star(&family, EXPONENT),
        Estimator::Exact => 1.0,
    };
    let samples = sample_steps(study.cost_steps);
    let plan = Plan { starts: study.starts, start: START, sizes: SIZES, samples, seed: SEED + 1 };
    Trace::record(&family, q, &plan, TARGET)
}

/// q* at the minimum of M.
pub fn q_star(family: &Family, exponent: f64) -> f64 {
    let [exact, error] = family.moments(family.minimum());
    let steps = INNER_STEPS as f64;
    best_q(SecondMoments { exact, error }, Costs { fixed: steps + 1.0, random: steps }, exponent)
}

/// Gradient evaluations to [`TARGET`], by the formula above.
pub fn predicted(family: &Family, q: f64) -> f64 {
    let [exact, error] = family.moments(family.minimum());
    let (moment, curvature) = (exact + (1.0 / q - 1.0) * error, family.curvature());
    let steps = (curvature * STEP / TARGET).powi(2) * moment / (2.0 * STEP * curvature - 1.0);
    steps * evaluations(q)
}

/// Adds the claims, figure and table of `traces`.
pub fn conclude(traces: &[(Estimator, Trace)], conclusion: &mut Conclusion) {
    let [Some(first_order), Some(ufom), Some(exact)] = ESTIMATORS.map(|estimator| find(traces, estimator))
    else {
        return;
    };
    let family = Quadratic::wide(RATE);
    let bias = family.slope(family.first_order_limit()).abs();
    let ratio = ufom.reached.zip(exact.reached).map_or(Measured::exactly(f64::NAN), |(ufom_at, exact_at)| {
        let value = (ufom_at.value - exact_at.value).exp() * evaluations(ufom.q) / evaluations(1.0);
        Measured { value, ci95: value * ufom_at.ci95.hypot(exact_at.ci95) }
    });
    let share = predicted(&family, ufom.q) / predicted(&family, 1.0);
    conclusion.claims.extend([
        Claim::new(
            format!("first-order at α = {RATE}: limit of the mean of ∇M over starts is its bias, by formula"),
            Expected::near(bias, 0.05),
            Measured { value: first_order.end().mean.value.abs(), ..first_order.end().mean },
        ),
        Claim::new(
            format!(
                "UFOM(q*): gradient evaluations to |∇M| = {TARGET} (root mean square), relative to exact; by formula"
            ),
            Expected::near(share, 0.15),
            ratio,
        ),
        Claim::new("the same: UFOM(q*) is cheaper than exact", Expected::below(1.0), ratio),
    ]);
    let series = |name: String, trace: &Trace| {
        let spent = |sample: &Sample| sample.step as f64 * evaluations(trace.q);
        let point = |sample: &Sample| [spent(sample), sample.size.value];
        let band = trace.samples.iter().map(|sample| sample.quartiles).collect();
        Series::line(name, trace.samples.iter().map(point).collect()).band(band)
    };
    let panel = Panel::new(Axis::logarithmic("gradient evaluations"), Axis::logarithmic("|∇M|"))
        .with(series("first-order".into(), first_order))
        .with(series(format!("UFOM, q* = {}", significant(ufom.q, 2)), ufom))
        .with(series("exact".into(), exact))
        .level("first-order's bias, by formula", bias);
    conclusion.figures.push(Illustration {
        name: "cost",
        caption: format!(
            "Cost of stationarity: mean of |∇M| over starts, with quartiles, against gradient evaluations. α = {RATE}, \
             r = {INNER_STEPS}, b = (0, 10), A = 400. First-order is cheapest until it reaches its bias; from there \
             on UFOM is cheapest."
        ),
        figure: Figure { panels: vec![panel] },
    });
    let mut table =
        Table::new(["q", "step", "evaluations", "size", "size_ci95", "size_quartile_1", "size_quartile_3"]);
    for (_, trace) in traces {
        for Sample { step, size, quartiles: [low, high], .. } in &trace.samples {
            let numbers = [*step as f64 * evaluations(trace.q), size.value, size.ci95, *low, *high];
            let cells = numbers.map(|number| number.to_string());
            table.row([trace.q.to_string(), step.to_string()].into_iter().chain(cells));
        }
    }
    conclusion.tables.push(("cost", table));
}
