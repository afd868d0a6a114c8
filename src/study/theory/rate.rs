//! Second experiment: how fast E(∇M)² falls along descents with step sizes η_k = c/√k and c/k, on a quadratic family.
//!
//! With steps that small near the minimum of M, where M's curvature is λ and S = E G² (derivations in
//! docs/mathematics.md, "Rates of descent"):
//!
//! ```text
//! η_k = c/√k:   E(∇M)² ≈ λ c S / (2√k)
//! η_k = c/k:    E(∇M)² ≈ λ² c² S / ((2cλ − 1) k),   2cλ > 1
//! ```
//!
//! and from the first step on, where M has curvature at most λ and E G² ≤ S̄,
//!
//! ```text
//! min_{k ≤ T} E(∇M)² ≤ [M(θ_0) − min M + ½ λ S̄ Σ η_k²] / Σ η_k
//! ```

use super::{SEED, Theory};
use crate::report::{Axis, Figure, Panel, Series, Table};
use crate::study::quadratic::descent::{Line, Plan, StepSizes, descend, log_spaced};
use crate::study::quadratic::family::{Family, Task};
use crate::study::{Claim, Conclusion, Expected, Illustration, Measured};
use bilevel::stats::mean;
use serde::{Deserialize, Serialize};

/// Curvatures a.
const CURVATURES: [f64; 2] = [0.5, 1.5];
/// Inner rate α.
const RATE: f64 = 0.03;
/// Inner steps r.
const INNER_STEPS: usize = 10;
/// D: first-order steps converge to |∇M| = √(2D).
const MARGIN: f64 = 0.06;
/// Radius A, so large that no descent leaves the quadratic region.
const RADIUS: f64 = 400.0;
/// UFOM's q. Each of its gradients is between 0 and once the distance to the task's minimum, so that descents with c ≤ 1
/// stay between the minima.
const Q: f64 = 0.5;
/// c for c/√k.
const ROOT_CONSTANT: f64 = 1.0;
/// Outer steps at which (∇M)² is evaluated.
const SAMPLES: usize = 61;
/// Groups of starts for the jackknife.
const GROUPS: usize = 20;

/// How step sizes fall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Law {
    /// c/√k.
    Root,
    /// c/k, with the best constant c = 1/λ.
    Harmonic,
}

/// The estimator of a descent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Estimator {
    /// Biased.
    FirstOrder,
    /// Unbiased.
    Ufom,
}

/// A law and an estimator.
pub type Descent = (Law, Estimator);

/// All descents.
pub const DESCENTS: [Descent; 4] = [
    (Law::Root, Estimator::FirstOrder),
    (Law::Root, Estimator::Ufom),
    (Law::Harmonic, Estimator::FirstOrder),
    (Law::Harmonic, Estimator::Ufom),
];

/// (∇M)² along descents.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Trace {
    /// Numbers of outer steps, ascending.
    pub steps: Vec<u64>,
    /// Means of (∇M)² over each group of starts, `[groups][steps]`.
    pub groups: Vec<Vec<f64>>,
}

/// The name of a descent in keys of records.
pub fn key((law, estimator): Descent) -> &'static str {
    match (law, estimator) {
        (Law::Root, Estimator::FirstOrder) => "root-first-order",
        (Law::Root, Estimator::Ufom) => "root-ufom",
        (Law::Harmonic, Estimator::FirstOrder) => "harmonic-first-order",
        (Law::Harmonic, Estimator::Ufom) => "harmonic-ufom",
    }
}

/// The family, quadratic wherever descents go.
pub fn family() -> Family {
    let family = Family::with_margin(CURVATURES, RATE, INNER_STEPS, MARGIN);
    Family { tasks: family.tasks.map(|task| Task { radius: RADIUS, ..task }), ..family }
}

/// Descends as `descent` says from random starts.
pub fn trace(study: &Theory, (law, estimator): Descent) -> Trace {
    let family = family();
    let q = if estimator == Estimator::Ufom { Q } else { 0.0 };
    let steps = log_spaced(1, study.steps, SAMPLES);
    let (start, sizes) = (minima(&family), law.sizes(&family));
    let plan = Plan { starts: study.starts, start, sizes, samples: steps.clone(), seed: SEED };
    let slopes = descend(&family, q, &plan);
    let square = |group: &[Vec<f64>], at: usize| {
        mean(&group.iter().map(|descent| descent[at] * descent[at]).collect::<Vec<_>>())
    };
    let groups = slopes
        .chunks(slopes.len().div_ceil(GROUPS))
        .map(|group| (0..steps.len()).map(|at| square(group, at)).collect())
        .collect();
    Trace { steps, groups }
}

/// The minima of the two tasks' losses, in ascending order. θ_0 is uniform between them.
fn minima(family: &Family) -> [f64; 2] {
    family.tasks.map(|task| task.offset / task.curvature)
}

/// E G² at θ.
fn second_moment(family: &Family, theta: f64) -> f64 {
    let [exact, error] = family.moments(theta);
    exact + (1.0 / Q - 1.0) * error
}

impl Law {
    fn sizes(self, family: &Family) -> StepSizes {
        match self {
            Self::Root => StepSizes::Root(ROOT_CONSTANT),
            Self::Harmonic => StepSizes::Harmonic(1.0 / family.curvature()),
        }
    }

    fn symbols(self) -> &'static str {
        match self {
            Self::Root => "c/√k",
            Self::Harmonic => "c/k",
        }
    }

    /// The slope of ln E(∇M)² against ln k.
    fn exponent(self) -> f64 {
        match self {
            Self::Root => -0.5,
            Self::Harmonic => -1.0,
        }
    }

    /// E(∇M)² after `step` steps, by the formulas above.
    fn predicted(self, family: &Family, step: u64) -> f64 {
        let (curvature, moment) = (family.curvature(), second_moment(family, family.minimum()));
        let size = self.sizes(family).at(step);
        match self {
            Self::Root => 0.5 * curvature * size * moment,
            Self::Harmonic => {
                // c = 1/λ, so that 2cλ − 1 = 1.
                curvature * curvature * size * size * moment * step as f64
            }
        }
    }
}

/// The bound above on min_{k ≤ T} E(∇M)² for c/√k, T = `steps`, with Σ η_k² ≤ c²(1 + ln T) and Σ η_k ≥ 2c(√(T + 1) − 1).
fn bound(family: &Family, steps: u64) -> f64 {
    let [low, high] = minima(family);
    let (curvature, minimum, steps) = (family.curvature(), family.minimum(), steps as f64);
    // E(θ_0 − θ*)² for a uniform θ_0: the squared distance of its mean, and its variance.
    let spread = (0.5 * (low + high) - minimum).powi(2) + (high - low).powi(2) / 12.0;
    // E G² is convex in θ: largest at an end.
    let moment = second_moment(family, low).max(second_moment(family, high));
    let c = ROOT_CONSTANT;
    let noise = 0.5 * curvature * moment * c * c * (1.0 + steps.ln());
    (0.5 * curvature * spread + noise) / (2.0 * c * ((steps + 1.0).sqrt() - 1.0))
}

impl Trace {
    /// The mean of (∇M)² over the groups with these indices after the number of steps at `at`.
    fn square(&self, groups: &[usize], at: usize) -> f64 {
        mean(&groups.iter().map(|group| self.groups[*group][at]).collect::<Vec<_>>())
    }

    /// A statistic of (step, E(∇M)²) over the last two decades of steps.
    fn tail(&self, statistic: impl Fn(&[(u64, f64)]) -> f64) -> Measured {
        let last = self.steps.last().copied().unwrap_or(1);
        Measured::jackknife(self.groups.len(), |groups| {
            let tail = self.steps.iter().enumerate().filter(|(_, step)| **step >= last / 100);
            let points: Vec<(u64, f64)> = tail.map(|(at, step)| (*step, self.square(groups, at))).collect();
            statistic(&points)
        })
    }

    /// The mean over the groups after every number of steps, with its interval.
    fn means(&self) -> impl Iterator<Item = (u64, Measured)> {
        let mean = |at: usize| Measured::mean(&self.groups.iter().map(|group| group[at]).collect::<Vec<_>>());
        self.steps.iter().enumerate().map(move |(at, step)| (*step, mean(at)))
    }
}

/// Adds the claims, figure and table of `traces`.
pub fn conclude(traces: &[(Descent, Trace)], conclusion: &mut Conclusion) {
    let family = family();
    for ((law, estimator), trace) in traces {
        let symbols = law.symbols();
        if *estimator == Estimator::FirstOrder {
            conclusion.claims.push(Claim::new(
                format!("first-order, steps {symbols}: E(∇M)² does not fall below 2D = {}", 2.0 * MARGIN),
                // Its noise comes on top.
                Expected::above(0.95 * 2.0 * MARGIN),
                trace.means().last().map_or(Measured::exactly(f64::NAN), |(_, measured)| measured),
            ));
            continue;
        }
        let slope = trace.tail(|points| {
            let points: Vec<[f64; 2]> =
                points.iter().map(|(step, square)| [(*step as f64).ln(), square.ln()]).collect();
            Line::through(&points).slope
        });
        let constant = trace.tail(|points| {
            let ratio = |(step, square): &(u64, f64)| square / law.predicted(&family, *step);
            mean(&points.iter().map(ratio).collect::<Vec<_>>())
        });
        let exponent = law.exponent();
        conclusion.claims.extend([
            Claim::new(
                format!("UFOM({Q}), steps {symbols}: slope of E(∇M)² against k (log–log, last two decades)"),
                Expected::near(exponent, 0.1),
                slope,
            ),
            Claim::new("the same: E(∇M)² over the formula's", Expected::near(1.0, 0.1), constant),
        ]);
        if *law == Law::Root {
            let mut least = f64::INFINITY;
            let ratios = trace.means().map(|(step, square)| {
                least = least.min(square.value);
                // After `step` steps: the gradient before step number step + 1.
                least / bound(&family, step + 1)
            });
            conclusion.claims.push(Claim::new(
                "the same: lowest E(∇M)² so far over the bound of order ln T/√T; largest over T",
                Expected::below(1.0),
                Measured::exactly(ratios.fold(0.0, f64::max)),
            ));
        }
    }
    conclusion.figures.push(figure(&family, traces));
    let mut table = Table::new(["steps", "estimator", "k", "square", "square_ci95", "predicted"]);
    for ((law, estimator), trace) in traces {
        for (step, square) in trace.means() {
            let predicted = match estimator {
                Estimator::FirstOrder => 2.0 * MARGIN,
                Estimator::Ufom => law.predicted(&family, step),
            };
            let name = if *estimator == Estimator::Ufom { "ufom" } else { "first-order" };
            let numbers = [square.value, square.ci95, predicted].map(|number| number.to_string());
            let begin = [law.symbols().to_string(), name.into(), step.to_string()];
            table.row(begin.into_iter().chain(numbers));
        }
    }
    conclusion.tables.push(("rates", table));
}

fn figure(family: &Family, traces: &[(Descent, Trace)]) -> Illustration {
    let panel = |law: Law| {
        let axes = [Axis::logarithmic("outer steps, k"), Axis::logarithmic("E(∇M)²")];
        let [x, y] = axes;
        let mut panel = Panel::new(x, y).titled(format!("steps {}", law.symbols()));
        for ((of, estimator), trace) in traces {
            if *of == law {
                let (points, band) =
                    trace.means().map(|(step, square)| ([step as f64, square.value], square.ends())).unzip();
                let (name, look) = match estimator {
                    Estimator::FirstOrder => ("first-order", 0),
                    Estimator::Ufom => ("UFOM", 1),
                };
                panel = panel.with(Series::line(name, points).band(band).look(look));
            }
        }
        let steps = || traces.first().into_iter().flat_map(|(_, trace)| &trace.steps);
        let curve = |value: &dyn Fn(u64) -> f64| steps().map(|step| [*step as f64, value(*step)]).collect();
        panel = panel
            .with(Series::curve("UFOM, formula", curve(&|step| law.predicted(family, step))).plain())
            .level("2D", 2.0 * MARGIN);
        if law == Law::Root {
            panel = panel.with(Series::curve("UFOM, bound", curve(&|step| bound(family, step))).look(3));
        }
        panel
    };
    Illustration {
        name: "rates",
        caption: format!(
            "Mean of (∇M)² over starts, 95 %. Quadratic family, α = {RATE}, r = {INNER_STEPS}, D = {MARGIN}; UFOM with q \
             = {Q}. c = {ROOT_CONSTANT} for c/√k, and c = 1/λ for c/k. First-order steps stop at 2D with either; UFOM's \
             follow the formulas, which have no fitted constant."
        ),
        figure: Figure { panels: [Law::Root, Law::Harmonic].map(panel).into() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descents_with_root_steps_stay_between_the_minima() {
        // There M is quadratic and E G² is bounded, as the bound assumes.
        let family = family();
        let [low, high] = minima(&family);
        for (task, minimum) in [low, high].into_iter().enumerate() {
            for theta in [low, 0.3 * low + 0.7 * high, high] {
                let [first_order, exact] = family.gradients(task, theta);
                for gradient in [first_order, first_order + (exact - first_order) / Q] {
                    let next = theta - ROOT_CONSTANT * gradient;
                    assert!((next - theta) * (minimum - theta) >= 0.0, "task {task} at {theta}");
                    assert!(
                        (next - theta).abs() <= (minimum - theta).abs() + 1e-12,
                        "task {task} at {theta}"
                    );
                }
            }
        }
    }

    #[test]
    fn constants_are_those_of_the_family() {
        let family = family();
        let (minimum, step) = (family.minimum(), 1e-3);
        let curvature = (family.slope(minimum + step) - family.slope(minimum - step)) / (2.0 * step);
        assert!((curvature - family.curvature()).abs() < 1e-9);
        // E G² by its definition, the mean over tasks and coins.
        let moment = [0, 1].map(|task| {
            let [first_order, exact] = family.gradients(task, minimum);
            let heads = first_order + (exact - first_order) / Q;
            Q * heads * heads + (1.0 - Q) * first_order * first_order
        });
        assert!((0.5 * (moment[0] + moment[1]) - second_moment(&family, minimum)).abs() < 1e-9);
    }
}
