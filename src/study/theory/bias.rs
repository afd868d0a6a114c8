//! First experiment: the error of truncated gradients, first-order's first of all, against its bounds ([`super::problem`]).
//!
//! One exact walk of the engine reports every g_K, K = 0 is first-order.

use super::problem::{Class, Known, Quadratic, Turning, Waves};
use crate::report::{Axis, Figure, Panel, Series, Table, short};
use crate::study::mean_curve::min_max;
use crate::study::{Claim, Conclusion, Expected, Illustration, Measured};
use bilevel::hypergradient::{Draw, Memory, estimate};
use bilevel::readback::read;
use bilevel::stats::{largest, median};
use serde::{Deserialize, Serialize};

/// Inner rates, as αL with the largest L of the problem.
const SHARPNESSES: [f64; 5] = [0.01, 0.03, 0.1, 0.3, 1.0];
/// Numbers of inner steps r.
const STEPS: [usize; 7] = [1, 2, 5, 10, 20, 50, 100];
/// αL in the figure.
const SHOWN_SHARPNESS: f64 = 0.1;
/// r in the figure's panel over K.
const SHOWN_STEPS: usize = 20;
/// A bound may be exceeded by this much, which is rounding.
const ROUNDING: f64 = 1e-9;

/// A problem with known constants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// [`Quadratic`].
    Quadratic,
    /// [`Turning`].
    Turning,
    /// [`Waves`].
    Waves,
}

use Problem::{Quadratic as OnQuadratic, Turning as OnTurning, Waves as OnWaves};

impl Problem {
    /// All of them.
    pub const ALL: [Self; 3] = [OnQuadratic, OnTurning, OnWaves];

    /// Its name in keys of records and in tables.
    pub fn key(self) -> &'static str {
        match self {
            OnQuadratic => "quadratic",
            OnTurning => "turning",
            OnWaves => "waves",
        }
    }

    fn name(self) -> &'static str {
        match self {
            OnQuadratic => "quadratic family",
            OnTurning => "turning valleys",
            OnWaves => "waves",
        }
    }

    fn class(self) -> Class {
        match self {
            OnQuadratic => Quadratic::CLASS,
            OnTurning => Turning::CLASS,
            OnWaves => Waves::CLASS,
        }
    }
}

/// Errors at one inner rate, number of inner steps and depth of truncation.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Point {
    /// αL, with the largest L of the tasks.
    pub sharpness: f64,
    /// r.
    pub steps: usize,
    /// K < r.
    pub depth: usize,
    /// The largest ‖g_r − g_K‖/B over tasks.
    pub error: f64,
    /// The largest ‖g_r − g_K‖ ÷ bound over tasks, each with its own constants.
    pub ratio: f64,
    /// The median of these over tasks.
    pub typical: f64,
}

/// Measures every point of the grid on `problem`, with r up to `longest`.
pub fn measure(problem: Problem, longest: usize) -> Vec<Point> {
    match problem {
        OnQuadratic => on(&Quadratic::new(), longest),
        OnTurning => on(&Turning, longest),
        OnWaves => on(&Waves::new(), longest),
    }
}

fn on<K: Known>(known: &K, longest: usize) -> Vec<Point> {
    let grid = SHARPNESSES.into_iter().flat_map(|sharpness| STEPS.map(|steps| (sharpness, steps)));
    grid.filter(|(_, steps)| *steps <= longest)
        .flat_map(|(sharpness, steps)| at(known, sharpness, steps))
        .collect()
}

/// The points of every depth.
fn at<K: Known>(known: &K, sharpness: f64, steps: usize) -> Vec<Point> {
    let rate = sharpness / known.curvature();
    let (problem, constants) = known.problem(rate, steps);
    let draw = Draw::every_depth(constants.len(), steps);
    let estimate = estimate(&problem, &known.theta(), &draw, Memory::Store);
    let point = |depth: usize| {
        let (_, error) = estimate.between(depth, steps)?;
        let errors = read(error.squared_norm().sqrt());
        let pairs = || errors.iter().zip(&constants);
        let ratios: Vec<f64> = pairs()
            .map(|(error, task)| error / (task.slope * K::CLASS.bound(rate * task.curvature, steps, depth)))
            .collect();
        Some(Point {
            sharpness,
            steps,
            depth,
            error: largest(pairs().map(|(error, task)| error / task.slope)),
            ratio: largest(ratios.iter().copied()),
            typical: median(&ratios),
        })
    };
    (0..steps).filter_map(point).collect()
}

/// Adds the claims, figure and table of `measured`.
pub fn conclude(measured: &[(Problem, Vec<Point>)], conclusion: &mut Conclusion) {
    let most = |points: &mut dyn Iterator<Item = f64>| Measured::exactly(points.fold(0.0, f64::max));
    for (problem, points) in measured {
        let first_order = || points.iter().filter(|point| point.depth == 0);
        conclusion.claims.push(Claim::new(
            format!(
                "{}: first-order's bias ÷ {}; largest of {} points",
                problem.name(),
                problem.class().formula(),
                first_order().count()
            ),
            Expected::between(0.9, 1.0 + ROUNDING),
            most(&mut first_order().map(|point| point.ratio)),
        ));
        if *problem == OnTurning {
            let one = |point: &Point| point.error / Class::ConvexOfOne.bound(point.sharpness, point.steps, 0);
            conclusion.claims.push(Claim::new(
                format!("the same ÷ {}, which holds for one parameter only", Class::ConvexOfOne.formula()),
                Expected::above(1.5),
                most(&mut first_order().map(one)),
            ));
        }
    }
    let truncated = || measured.iter().flat_map(|(_, points)| points).filter(|point| point.depth > 0);
    conclusion.claims.push(Claim::new(
        format!("truncated gradients, K ≥ 1: error ÷ its bound; largest of {} points", truncated().count()),
        Expected::between(0.9, 1.0 + ROUNDING),
        most(&mut truncated().map(|point| point.ratio)),
    ));
    if let Some((_, waves)) = measured.iter().find(|(problem, _)| *problem == OnWaves) {
        let mild = |point: &&Point| point.depth == 0 && point.sharpness * point.steps as f64 <= 1.0;
        let typical: Vec<f64> = waves.iter().filter(mild).map(|point| point.typical).collect();
        let [least, most] = min_max(&typical);
        conclusion.remarks.push(format!(
            "The bounds are for the worst case. On waves with random phases and rαL ≤ 1, first-order's bias is {} to {} \
             of its bound (medians over tasks, by inner rate and number of inner steps).",
            short(least, 2),
            short(most, 2)
        ));
    }
    conclusion.figures.push(figure(measured));
    let mut table = Table::new([
        "problem",
        "alpha_L",
        "r",
        "K",
        "error_over_B",
        "bound_over_B",
        "largest_ratio",
        "median_ratio",
    ]);
    for (problem, points) in measured {
        for Point { sharpness, steps, depth, error, ratio, typical } in points {
            let bound = problem.class().bound(*sharpness, *steps, *depth);
            let whole = [*steps, *depth].map(|number| number.to_string());
            let numbers = [*error, bound, *ratio, *typical].map(|number| number.to_string());
            let begin = [problem.key().to_string(), sharpness.to_string()];
            table.row(begin.into_iter().chain(whole).chain(numbers));
        }
    }
    conclusion.tables.push(("bias", table));
}

fn figure(measured: &[(Problem, Vec<Point>)]) -> Illustration {
    let longest = measured.iter().flat_map(|(_, points)| points).map(|point| point.steps).max().unwrap_or(1);
    let shown_steps = SHOWN_STEPS.min(longest);
    let error = || Axis::logarithmic("error of g_K ÷ B");
    let empty = [
        Panel::new(Axis::logarithmic("inner steps, r"), error()).titled("first-order, K = 0"),
        Panel::new(Axis::whole("inner steps differentiated, K"), error())
            .titled(format!("r = {shown_steps}")),
    ];
    let panels = measured.iter().enumerate().fold(empty, |[lengths, depths], (look, (problem, points))| {
        let bound = |steps, depth| problem.class().bound(SHOWN_SHARPNESS, steps, depth);
        let shown = |is_shown: &dyn Fn(&Point) -> bool, x: fn(&Point) -> usize| {
            let here = points.iter().filter(|point| point.sharpness == SHOWN_SHARPNESS && is_shown(point));
            Series::marks(problem.name(), here.map(|point| [x(point) as f64, point.error]).collect())
                .look(look)
        };
        let by_length = (1..=longest).map(|steps| [steps as f64, bound(steps, 0)]).collect();
        let by_depth = (0..shown_steps).map(|depth| [depth as f64, bound(shown_steps, depth)]).collect();
        let curve = |points| Series::curve(problem.name(), points).look(look);
        [
            lengths.with(curve(by_length)).with(shown(&|point| point.depth == 0, |point| point.steps)),
            depths
                .with(curve(by_depth))
                .with(shown(&|point| point.steps == shown_steps, |point| point.depth)),
        ]
    });
    Illustration {
        name: "bias",
        caption: format!(
            "Error of truncated gradients at αL = {SHOWN_SHARPNESS}: the largest over tasks (markers), and the bound for \
             each class of problems (curves; on the quadratic family the bound for convex losses of one parameter, on \
             turning valleys that for convex losses, on waves that for any)."
        ),
        figure: Figure { panels: panels.into() },
    }
}
