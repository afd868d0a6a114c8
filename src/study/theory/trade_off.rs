//! Third experiment: cost × second moment of estimators against their probability, measured by draws of the engine's
//! estimators and by formula.
//!
//! ```text
//! UFOM:         (C_det + q C_rnd) (𝕍² + (1/q − 1)𝔻²),   least at q*
//! step coins:   (C_det + p C_rnd) E v_r² (1 − 2αa + α²a²/p)^r   on a quadratic loss of one parameter and curvature a
//! ```
//!
//! with C_det = r + 1 and C_rnd = r gradient evaluations. The first holds for any problem; in the second, each inner step
//! multiplies the second moment by one factor (`docs/mathematics.md`, "Step coins").

use super::problem::{Known, Waves};
use super::{SEED, Theory, rate};
use crate::report::{Axis, Figure, Panel, Series, Table, short, significant};
use crate::study::quadratic::family::Family;
use crate::study::quadratic::problem::QuadraticProblem;
use crate::study::{Claim, Conclusion, Expected, Illustration, Measured};
use bilevel::estimator::{Coin, Costs, Estimator, SecondMoments, StepCoins, Ufom, best_q};
use bilevel::hypergradient::{Memory, Workers, estimate};
use bilevel::readback::read;
use bilevel::rng::generator;
use bilevel::stats::{largest, mean};
use bilevel::variance::ErrorAnalysis;
use bilevel::{Bilevel, Params};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Inner steps r.
const INNER_STEPS: usize = 10;
/// Inner rate on waves.
const WAVES_RATE: f64 = 0.03;
/// Tasks of a meta-batch on the quadratic family, half of each kind.
const QUADRATIC_TASKS: usize = 256;
/// Probabilities tried: this many from the first to the last, evenly spaced in their logarithms.
const PROBABILITIES: usize = 13;
const RANGE: [f64; 2] = [0.05, 1.0];
/// Groups of draws for the jackknife.
const GROUPS: usize = 20;
/// The time to an accuracy is cost × second moment to this power.
const EXPONENT: f64 = 1.0;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Curve {
    /// UFOM at the minimum of the quadratic family.
    UfomOnQuadratic,
    /// UFOM on waves with random phases.
    UfomOnWaves,
    /// Step coins at the minimum of the quadratic family.
    CoinsOnQuadratic,
}

impl Curve {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::UfomOnQuadratic, Self::UfomOnWaves, Self::CoinsOnQuadratic];

    /// Its name in keys of records and in tables.
    pub fn key(self) -> &'static str {
        match self {
            Self::UfomOnQuadratic => "ufom-quadratic",
            Self::UfomOnWaves => "ufom-waves",
            Self::CoinsOnQuadratic => "coins-quadratic",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::UfomOnQuadratic => "UFOM, quadratic family",
            Self::UfomOnWaves => "UFOM, waves",
            Self::CoinsOnQuadratic => "step coins, quadratic family",
        }
    }

    /// The symbol of its probability.
    fn symbol(self) -> &'static str {
        if self == Self::CoinsOnQuadratic { "p" } else { "q" }
    }

    fn estimator(self, probability: f64) -> Box<dyn Estimator> {
        match self {
            Self::UfomOnQuadratic | Self::UfomOnWaves => Box::new(Ufom::new(probability, 0, Coin::Task)),
            Self::CoinsOnQuadratic => Box::new(StepCoins::new(probability)),
        }
    }
}

/// The measurements of a [`Curve`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measurements {
    /// 𝕍², by exact walks of the engine.
    pub exact: f64,
    /// 𝔻² of the first-order gradient.
    pub error: f64,
    /// At each probability, in ascending order.
    pub tried: Vec<Tried>,
}

/// The measurements at one probability.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tried {
    /// q or p.
    pub probability: f64,
    /// Mean gradient evaluations of a task, over each group of draws.
    pub costs: Vec<f64>,
    /// Mean ‖G‖², over each group of draws.
    pub moments: Vec<f64>,
}

/// Measures `curve`.
pub fn measure(study: &Theory, curve: Curve) -> Measurements {
    match curve {
        Curve::UfomOnWaves => {
            let waves = Waves::new();
            on(study, curve, &waves.random_tasks(WAVES_RATE), &waves.theta())
        }
        Curve::UfomOnQuadratic | Curve::CoinsOnQuadratic => {
            let family = rate::family();
            let tasks: Vec<usize> = (0..QUADRATIC_TASKS).map(|task| task % 2).collect();
            let problem = QuadraticProblem::of(&family).select(&tasks);
            on(study, curve, &problem, &QuadraticProblem::theta(family.minimum()))
        }
    }
}

fn on<P: Bilevel>(study: &Theory, curve: Curve, problem: &P, theta: &Params) -> Measurements {
    let analysis = ErrorAnalysis::of(problem, theta, INNER_STEPS, Workers::TOGETHER, Memory::Store);
    let ratio = RANGE[1] / RANGE[0];
    let probability = |at: usize| RANGE[0] * ratio.powf(at as f64 / (PROBABILITIES - 1) as f64);
    let tried = (0..PROBABILITIES).map(|at| {
        let probability = probability(at);
        let one = |index: u64| draw(&*curve.estimator(probability), problem, theta, index);
        let draws: Vec<[f64; 2]> = (0..study.draws).into_par_iter().map(one).collect();
        let groups = || draws.chunks(draws.len().div_ceil(GROUPS));
        let means = |of: usize| {
            groups().map(|group| mean(&group.iter().map(|draw| draw[of]).collect::<Vec<_>>())).collect()
        };
        Tried { probability, costs: means(0), moments: means(1) }
    });
    Measurements { exact: analysis.exact.value, error: analysis.error(), tried: tried.collect() }
}

/// Gradient evaluations and ‖G‖² of one draw, means over tasks. The coins of a draw are the same for every probability, so
/// that comparisons between them have less variance.
fn draw<P: Bilevel>(estimator: &dyn Estimator, problem: &P, theta: &Params, index: u64) -> [f64; 2] {
    let tasks = problem.tasks();
    let draw = estimator.draw(&mut generator(SEED, "coin", index), tasks, INNER_STEPS);
    let estimate = estimate(problem, theta, &draw, Memory::Store);
    let cost = estimate.evaluations.total() as f64 / tasks as f64;
    [cost, mean(&read(estimate.gradient.squared_norm()))]
}

/// C_det and C_rnd.
fn costs() -> Costs {
    let steps = INNER_STEPS as f64;
    Costs { fixed: steps + 1.0, random: steps }
}

impl Measurements {
    /// Cost × second moment by formula.
    fn formula(&self, curve: Curve, probability: f64) -> f64 {
        let moment = match curve {
            Curve::UfomOnQuadratic | Curve::UfomOnWaves => {
                self.exact + (1.0 / probability - 1.0) * self.error
            }
            Curve::CoinsOnQuadratic => coins_moment(&rate::family(), probability),
        };
        (costs().fixed + probability * costs().random) * moment
    }

    /// The probability at which the formula is least.
    fn best(&self, curve: Curve) -> f64 {
        match curve {
            Curve::UfomOnQuadratic | Curve::UfomOnWaves => {
                best_q(SecondMoments { exact: self.exact, error: self.error }, costs(), EXPONENT)
            }
            Curve::CoinsOnQuadratic => {
                let all = (1..=1000).map(|mille| f64::from(mille) / 1000.0);
                let value = |p: &f64| self.formula(curve, *p);
                all.min_by(|a, b| value(a).total_cmp(&value(b))).unwrap_or(1.0)
            }
        }
    }

    /// A statistic of the measured cost × second moment at every probability, from the groups with these indices.
    fn statistic(&self, statistic: impl Fn(&[f64]) -> f64) -> Measured {
        Measured::jackknife(self.tried.first().map_or(0, |tried| tried.costs.len()), |groups| {
            let over = |values: &[f64]| mean(&groups.iter().map(|group| values[*group]).collect::<Vec<_>>());
            let products: Vec<f64> =
                self.tried.iter().map(|tried| over(&tried.costs) * over(&tried.moments)).collect();
            statistic(&products)
        })
    }

    /// The probability at which the curve A + Bq + C/q through the measurements is least, √(C/B).
    fn fitted(&self) -> Measured {
        self.statistic(|products| {
            let rows = self.tried.iter().zip(products).map(|(tried, product)| {
                // Each weighted by its size, since the interval grows with it.
                let q = tried.probability;
                ([1.0, q, 1.0 / q].map(|term| term / product), 1.0)
            });
            let [_, rising, falling] = least_squares(rows);
            (falling / rising).sqrt()
        })
    }
}

/// E G² of step coins with probability p at the minimum of `family`, where it is quadratic.
fn coins_moment(family: &Family, p: f64) -> f64 {
    let theta = family.minimum();
    let moment = |(task, of): (usize, &crate::study::quadratic::family::Task)| {
        let [last, _] = family.gradients(task, theta);
        let a = family.rate * of.curvature;
        last * last * (1.0 - 2.0 * a + a * a / p).powi(family.steps as i32)
    };
    mean(&family.tasks.iter().enumerate().map(moment).collect::<Vec<_>>())
}

/// The x that minimises Σ (row·x − value)², by the normal equations.
fn least_squares(rows: impl Iterator<Item = ([f64; 3], f64)>) -> [f64; 3] {
    let mut system = [[0.0; 4]; 3];
    for (row, value) in rows {
        for (equation, factor) in system.iter_mut().zip(row) {
            let terms = row.into_iter().chain([value]);
            equation.iter_mut().zip(terms).for_each(|(sum, term)| *sum += factor * term);
        }
    }
    // Gauss–Jordan elimination; the matrix is positive definite.
    for pivot in 0..3 {
        let scale = system[pivot][pivot];
        system[pivot].iter_mut().for_each(|entry| *entry /= scale);
        let row = system[pivot];
        for (_, other) in system.iter_mut().enumerate().filter(|(at, _)| *at != pivot) {
            let factor = other[pivot];
            other.iter_mut().zip(row).for_each(|(entry, term)| *entry -= factor * term);
        }
    }
    system.map(|equation| equation[3])
}

/// Adds the claims, figure and table of `measured`.
pub fn conclude(measured: &[(Curve, Measurements)], conclusion: &mut Conclusion) {
    for (curve, found) in measured {
        let (name, symbol, best) = (curve.name(), curve.symbol(), found.best(*curve));
        let formulas: Vec<f64> =
            found.tried.iter().map(|tried| found.formula(*curve, tried.probability)).collect();
        let deviation = found.statistic(|products| {
            let pairs = products.iter().zip(&formulas);
            largest(pairs.map(|(product, formula)| (product / formula - 1.0).abs()))
        });
        let count = formulas.len();
        conclusion.claims.push(Claim::new(
            format!("{name}: cost × second moment, largest deviation from the formula over {count} values of {symbol}"),
            Expected::below(0.05),
            deviation,
        ));
        let near = (0..count).min_by(|a, b| {
            let distance = |at: usize| (found.tried[at].probability / best).ln().abs();
            distance(*a).total_cmp(&distance(*b))
        });
        if let Some(near) = near {
            let regret = found.statistic(|products| {
                products[near] / products.iter().copied().fold(f64::INFINITY, f64::min)
            });
            conclusion.claims.push(Claim::new(
                format!("the same at {symbol}* = {}, relative to the least measured", short(best, 2)),
                Expected::below(1.02),
                regret,
            ));
        }
        if *curve != Curve::CoinsOnQuadratic {
            conclusion.claims.push(Claim::new(
                "the same: q at which the measured curve is least, relative to q*".to_string(),
                Expected::near(1.0, 0.1),
                {
                    let Measured { value, ci95 } = found.fitted();
                    Measured { value: value / best, ci95: ci95 / best }
                },
            ));
        }
    }
    conclusion.figures.push(figure(measured));
    let mut table =
        Table::new(["curve", "probability", "cost", "second_moment", "product", "product_ci95", "formula"]);
    for (curve, found) in measured {
        for (at, tried) in found.tried.iter().enumerate() {
            let product = found.statistic(|products| products[at]);
            let numbers = [
                tried.probability,
                mean(&tried.costs),
                mean(&tried.moments),
                product.value,
                product.ci95,
                found.formula(*curve, tried.probability),
            ];
            let cells = numbers.map(|number| number.to_string());
            table.row([curve.key().to_string()].into_iter().chain(cells));
        }
    }
    conclusion.tables.push(("trade-off", table));
}

fn figure(measured: &[(Curve, Measurements)]) -> Illustration {
    let axes = || {
        let y = Axis::logarithmic("cost × E‖G‖² ÷ exact's");
        Panel::new(Axis::logarithmic("probability, q or p"), y)
    };
    let panel = measured.iter().enumerate().fold(axes(), |panel, (look, (curve, found))| {
        let unit = found.formula(*curve, 1.0);
        let fine = (0..=60).map(|at| RANGE[0] * (RANGE[1] / RANGE[0]).powf(f64::from(at) / 60.0));
        let line = fine.map(|q| [q, found.formula(*curve, q) / unit]).collect();
        let marks = found.tried.iter().enumerate().map(|(at, tried)| {
            let product = found.statistic(|products| products[at] / unit);
            ([tried.probability, product.value], product.ends())
        });
        let (points, bars) = marks.unzip();
        let best = found.best(*curve);
        panel
            .with(Series::curve(curve.name(), line).look(look))
            .with(Series::marks(curve.name(), points).band(bars).look(look))
            .with(
                Series::marks("least, by formula", vec![[best, found.formula(*curve, best) / unit]]).plain(),
            )
    });
    let bests: Vec<String> = measured
        .iter()
        .map(|(curve, found)| {
            format!("{}* = {} ({})", curve.symbol(), significant(found.best(*curve), 2), curve.name())
        })
        .collect();
    Illustration {
        name: "trade-off",
        caption: format!(
            "Gradient evaluations × second moment relative to the exact gradient's, by formula (curves) and measured by \
             draws of the estimators (markers, 95 %). {}.",
            bests.join(", ")
        ),
        figure: Figure { panels: vec![panel] },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn least_squares_recovers_the_coefficients() {
        let rows = [0.1, 0.3, 0.5, 0.9].map(|q: f64| ([1.0, q, 1.0 / q], 2.0 + 3.0 * q + 0.5 / q));
        for (found, wanted) in least_squares(rows.into_iter()).into_iter().zip([2.0, 3.0, 0.5]) {
            assert!((found - wanted).abs() < 1e-9, "{found} is not {wanted}");
        }
    }

    #[test]
    fn step_coins_that_always_come_up_are_exact() {
        let family = rate::family();
        let [exact, _] = family.moments(family.minimum());
        assert!((coins_moment(&family, 1.0) - exact).abs() < 1e-9);
    }
}
