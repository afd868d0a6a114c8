//! Fourth experiment: iterates stored and inner steps recomputed by each memory plan, as the engine counts them, against
//! the number of inner steps. `cargo bench --bench memory` measures the resident memory of networks.

use super::problem::{Known, Waves};
use super::{SEED, Theory};
use crate::report::{Axis, Figure, Panel, Series, Table};
use crate::study::{Claim, Conclusion, Expected, Illustration, Measured};
use bilevel::Bilevel;
use bilevel::estimator::{Coin, Estimator, Ufom};
use bilevel::hypergradient::{Draw, Estimate, Memory, estimate};
use bilevel::readback::read;
use bilevel::rng::generator;
use serde::{Deserialize, Serialize};

/// Numbers of inner steps r.
const STEPS: [usize; 7] = [10, 20, 50, 100, 200, 500, 1000];
/// Inner rate.
const RATE: f64 = 0.01;
/// UFOM's q.
const Q: f64 = 0.5;
/// UFOM's draws at each r; the most iterates stored by any of them count.
const DRAWS: u64 = 4;

/// A memory plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// All iterates.
    Store,
    /// ⌈√r⌉ of them.
    Snapshots,
    /// One.
    Recompute,
}

impl Plan {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Store, Self::Snapshots, Self::Recompute];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Snapshots => "snapshots",
            Self::Recompute => "recompute",
        }
    }

    fn memory(self, steps: usize) -> Memory {
        match self {
            Self::Store => Memory::Store,
            Self::Snapshots => Memory::square_root(steps),
            Self::Recompute => Memory::Recompute,
        }
    }
}

/// What one gradient through r inner steps stored and recomputed.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Point {
    /// r.
    pub steps: usize,
    /// Iterates that the exact gradient stored at once.
    pub exact: f64,
    /// The most iterates that a draw of UFOM stored at once; `None` for an r at which recomputing takes too long.
    pub ufom: Option<f64>,
    /// Inner steps that the exact gradient recomputed.
    pub recomputed: u64,
    /// ‖g_r‖² of the exact gradient, to compare plans by.
    pub gradient: f64,
}

/// Measures `plan` at every r.
pub fn measure(study: &Theory, plan: Plan) -> Vec<Point> {
    let waves = Waves::new();
    let problem = waves.random_tasks(RATE).select(&[0]);
    let theta = waves.theta();
    let bytes = theta.bytes() as f64;
    let point = |steps: usize| {
        let one = |draw: &Draw| estimate(&problem, &theta, draw, plan.memory(steps));
        let stored = |estimate: &Estimate| estimate.iterate_bytes as f64 / bytes;
        let exact = one(&Draw::truncated(1, steps, steps));
        let ufom = (exact.evaluations.recomputed < 10_000).then(|| {
            let ufom = Ufom::new(Q, 0, Coin::Task);
            let draws = (0..DRAWS).map(|index| ufom.draw(&mut generator(SEED, "coin", index), 1, steps));
            draws.map(|draw| stored(&one(&draw))).fold(0.0, f64::max)
        });
        let gradient = read(exact.gradient.clone().squared_norm())[0];
        Point { steps, exact: stored(&exact), ufom, recomputed: exact.evaluations.recomputed, gradient }
    };
    STEPS.into_iter().filter(|steps| *steps <= study.longest).map(point).collect()
}

/// Adds the claims, figure and table of `measured`.
pub fn conclude(measured: &[(Plan, Vec<Point>)], conclusion: &mut Conclusion) {
    let most = |values: &mut dyn Iterator<Item = f64>| Measured::exactly(values.fold(0.0, f64::max));
    let find = |plan: Plan| measured.iter().find(|(of, _)| *of == plan).map(|(_, points)| points);
    let [Some(stored), Some(snapshots), Some(recomputed)] = Plan::ALL.map(find) else { return };
    let longest = recomputed.iter().map(|point| point.steps).max().unwrap_or(0);
    let formula = |plan: Plan, point: &Point| plan.memory(point.steps).kept(point.steps) as f64;
    let work = |plan: Plan, point: &Point| plan.memory(point.steps).recomputed(point.steps);
    let off = measured.iter().flat_map(|(plan, points)| {
        points.iter().map(move |point| {
            let ufom = point.ufom.unwrap_or(point.exact);
            let wanted = formula(*plan, point);
            (point.exact - wanted).abs().max((ufom - wanted).abs())
        })
    });
    let off = off.fold(0.0, f64::max);
    let spent = measured.iter().flat_map(|(plan, points)| {
        points.iter().map(move |point| point.recomputed.abs_diff(work(*plan, point)) as f64)
    });
    let spent = spent.fold(0.0, f64::max);
    let pairs = stored.iter().zip(snapshots.iter().zip(recomputed));
    let apart = pairs.map(|(all, (some, one))| {
        (all.gradient - some.gradient).abs().max((all.gradient - one.gradient).abs())
    });
    conclusion.claims.extend([
        Claim::new(
            format!("recompute: most iterates stored by an exact gradient or UFOM, r from 10 to {longest}"),
            Expected::exactly(1.0),
            most(&mut recomputed.iter().flat_map(|point| [point.exact, point.ufom.unwrap_or(0.0)])),
        ),
        Claim::new(
            "store, snapshots, recompute: iterates stored beyond r, ⌈√r⌉, 1",
            Expected::exactly(0.0),
            Measured::exactly(off),
        ),
        Claim::new(
            "the same: inner steps recomputed beyond 0, the proven minimum, r(r − 1)/2",
            Expected::exactly(0.0),
            Measured::exactly(spent),
        ),
        Claim::new(
            "the same: difference between their gradients' ‖g_r‖²",
            Expected::exactly(0.0),
            most(&mut apart.into_iter()),
        ),
    ]);
    conclusion.figures.push(figure(measured));
    let mut table =
        Table::new(["plan", "r", "iterates_exact", "iterates_ufom", "recomputed", "recomputed_by_formula"]);
    for (plan, points) in measured {
        for point in points {
            let ufom = point.ufom.map_or_else(String::new, |ufom| ufom.to_string());
            let numbers = [point.recomputed, work(*plan, point)].map(|number| number.to_string());
            let begin = [plan.name().to_string(), point.steps.to_string(), point.exact.to_string(), ufom];
            table.row(begin.into_iter().chain(numbers));
        }
    }
    conclusion.tables.push(("memory", table));
}

fn figure(measured: &[(Plan, Vec<Point>)]) -> Illustration {
    let steps = || Axis::logarithmic("inner steps, r");
    let empty = [
        Panel::new(steps(), Axis::logarithmic("iterates stored")),
        Panel::new(steps(), Axis::logarithmic("inner steps recomputed")),
    ];
    let panels = measured.iter().fold(empty, |[stored, work], (plan, points)| {
        let series = |value: fn(&Point) -> f64| {
            Series::line(plan.name(), points.iter().map(|point| [point.steps as f64, value(point)]).collect())
        };
        [stored.with(series(|point| point.exact)), work.with(series(|point| point.recomputed as f64))]
    });
    Illustration {
        name: "memory",
        caption: "Iterates that one exact gradient stores at once and inner steps that it recomputes, by memory plan, as \
                  the engine counts them. UFOM's exact draws store and recompute the same, and its other draws nothing."
            .into(),
        figure: Figure { panels: panels.into() },
    }
}
