//! Second: what reaching stationarity costs, for first-order, UFOM at its best q, and exact steps.
//!
//! With steps c/k near the minimum of M, where M's curvature is λ and 2cλ > 1, the square of ∇M tends to
//!
//! ```text
//! E (∇M)² ≈ λ² c² S / ((2cλ − 1) k),   S = 𝕍² + (1/q − 1)𝔻²   at the minimum
//! ```
//!
//! (Chung, *On a stochastic approximation method*, 1954), so the evaluations to a given square are (C_det +
//! q·C_rnd)·S times what does not depend on q: p = 1 in METHOD, "Choosing q". The reference code has p = ½
//! there.

use super::descent::{Plan, STEP};
use super::family::Family;
use super::trace::{Look, Trace};
use super::{INNER_STEPS, Quadratic, SEED, evaluations, looks};
use crate::estimator::{Costs, SecondMoments, best_q};
use crate::report::{Axis, Figure, Panel, Series, Table, significant};
use crate::study::{Claim, Conclusion, Expected, Illustration, Measured};

/// Pieces.
pub const METHODS: [&str; 3] = ["first-order", "ufom", "exact"];
/// α.
pub const RATE: f64 = 0.01;
/// Where starts are.
pub const FROM: [f64; 2] = [-50.0, 50.0];
/// The root mean square of ∇M that is to be reached.
pub const TARGET: f64 = 0.1;
/// p, for steps that shrink like 1/k.
pub const EXPONENT: f64 = 1.0;

/// Follows `method`; `None` if there is no such.
pub fn follow(study: &Quadratic, method: &str) -> Option<Trace> {
    let family = Quadratic::wide(RATE);
    let q = match method {
        "first-order" => 0.0,
        "ufom" => q_star(&family, EXPONENT),
        "exact" => 1.0,
        _ => return None,
    };
    let plan = Plan { starts: study.starts, from: FROM, looks: looks(study.cost_steps), seed: SEED + 1 };
    Some(Trace::follow(&family, q, &plan, TARGET))
}

/// q* at the minimum of M.
pub fn q_star(family: &Family, exponent: f64) -> f64 {
    let [exact, error] = family.moments(family.minimum());
    let steps = INNER_STEPS as f64;
    best_q(SecondMoments { exact, error }, Costs { fixed: steps + 1.0, random: steps }, exponent)
}

/// Gradient evaluations to [`TARGET`], by the law above.
pub fn predicted(family: &Family, q: f64) -> f64 {
    let [exact, error] = family.moments(family.minimum());
    let (moment, curvature) = (exact + (1.0 / q - 1.0) * error, family.curvature());
    let steps = (curvature * STEP / TARGET).powi(2) * moment / (2.0 * STEP * curvature - 1.0);
    steps * evaluations(q)
}

/// Adds what `traces`, in the order of [`METHODS`], come to.
pub fn conclude(traces: &[&Trace], conclusion: &mut Conclusion) {
    let [first_order, ufom, exact] = traces else { return };
    let family = Quadratic::wide(RATE);
    let bias = family.slope(family.first_order_limit()).abs();
    let ratio = ufom.reached.zip(exact.reached).map_or(Measured::exactly(f64::NAN), |(ufom_at, exact_at)| {
        let value = (ufom_at.value - exact_at.value).exp() * evaluations(ufom.q) / evaluations(1.0);
        Measured { value, ci95: value * ufom_at.ci95.hypot(exact_at.ci95) }
    });
    let share = predicted(&family, ufom.q) / predicted(&family, 1.0);
    conclusion.claims.extend([
        Claim::new(
            format!("at α = {RATE}, first-order's ∇M averaged over starts settles at its bias, by formula"),
            Expected::near(bias, 0.05),
            Measured { value: first_order.end().mean.value.abs(), ..first_order.end().mean },
        ),
        Claim::new(
            format!("UFOM(q*)'s evaluations to |∇M| = {TARGET} (root mean square) over exact's, by formula"),
            Expected::near(share, 0.15),
            ratio,
        ),
        Claim::new("the same: UFOM(q*) is cheaper than exact steps", Expected::below(1.0), ratio),
    ]);
    let series = |name: String, trace: &Trace| {
        let spent = |look: &Look| look.step as f64 * evaluations(trace.q);
        let point = |look: &Look| [spent(look), look.size.value];
        let band = trace.looks.iter().map(|look| look.quartiles).collect();
        Series::line(name, trace.looks.iter().map(point).collect()).band(band)
    };
    let panel = Panel::new(Axis::logarithmic("gradient evaluations"), Axis::logarithmic("|∇M|"))
        .with(series("first-order".into(), first_order))
        .with(series(format!("UFOM, q* = {}", significant(ufom.q, 2)), ufom))
        .with(series("exact".into(), exact))
        .level("first-order's bias, by formula", bias);
    conclusion.figures.push(Illustration {
        name: "cost",
        caption: format!(
            "What stationarity costs: the mean of |∇M| over starts, and the middle half of the starts, \
             against gradient evaluations. α = {RATE}, r = {INNER_STEPS}, b = (0, 10), A = 400. First-order \
             is cheapest until its bias stops it; then UFOM is."
        ),
        figure: Figure { panels: vec![panel] },
    });
    let mut table =
        Table::new(["q", "step", "evaluations", "size", "size_ci95", "size_quartile_1", "size_quartile_3"]);
    for trace in traces {
        for Look { step, size, quartiles: [low, high], .. } in &trace.looks {
            let numbers = [*step as f64 * evaluations(trace.q), size.value, size.ci95, *low, *high];
            let cells = numbers.map(|number| number.to_string());
            table.row([trace.q.to_string(), step.to_string()].into_iter().chain(cells));
        }
    }
    conclusion.tables.push(("cost", table));
}
