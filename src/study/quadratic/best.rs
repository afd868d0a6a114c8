//! Third: q* in theory and the best q in practice, over inner rates.

use super::cost::{EXPONENT, FROM, TARGET, predicted, q_star};
use super::descent::{Plan, descend, logarithmic};
use super::trace::reached;
use super::{Quadratic, SEED, evaluations};
use crate::report::{Axis, Figure, Panel, Series, Table, short};
use crate::study::{Claim, Conclusion, Expected, Illustration, Measured};
use serde::{Deserialize, Serialize};

/// Inner rates, evenly spaced by their logarithms.
const RATES: [f64; 2] = [0.001, 0.05];
/// Looks, all in the last decade, which the cost is read from.
const LOOKS: usize = 41;
/// The reference code's p.
const REFERENCE: f64 = 0.5;
/// What costs this much more than the best is as good.
const AS_GOOD: f64 = 1.02;

/// Every q at one inner rate.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Rate {
    /// α.
    pub rate: f64,
    /// By q, ascending.
    pub tried: Vec<Tried>,
}

/// One q.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Tried {
    /// q.
    pub q: f64,
    /// ln of the gradient evaluations to the target; `None` if it is not reached.
    pub cost: Option<Measured>,
}

/// Tries every q at the inner rate numbered `at`.
pub fn search(study: &Quadratic, at: usize) -> Rate {
    let share = at as f64 / (study.rates.max(2) - 1) as f64;
    let rate = RATES[0] * (RATES[1] / RATES[0]).powf(share);
    let family = Quadratic::wide(rate);
    let looks = logarithmic(study.search_steps / 10, study.search_steps, LOOKS);
    let plan = Plan { starts: study.starts, from: FROM, looks, seed: SEED + 2 };
    let tried = (1..=study.values).map(|number| {
        let q = number as f64 / study.values as f64;
        let steps = reached(&descend(&family, q, &plan), &plan.looks, TARGET);
        let cost = steps.map(|steps| Measured { value: steps.value + evaluations(q).ln(), ..steps });
        Tried { q, cost }
    });
    Rate { rate, tried: tried.collect() }
}

impl Rate {
    /// The q with the fewest evaluations, and those; `None` if no q reached the target.
    fn best(&self) -> Option<(f64, f64)> {
        let costs = self.tried.iter().filter_map(|tried| Some((tried.q, tried.cost?.value)));
        costs.min_by(|(_, a), (_, b)| a.total_cmp(b))
    }

    /// The lowest and the highest q that are as good as the best.
    fn as_good(&self) -> Option<[f64; 2]> {
        let (_, least) = self.best()?;
        let good = |tried: &&Tried| tried.cost.is_some_and(|cost| cost.value <= least + AS_GOOD.ln());
        let good: Vec<f64> = self.tried.iter().filter(good).map(|tried| tried.q).collect();
        Some([*good.first()?, *good.last()?])
    }

    /// What the q tried that is nearest to q* costs, over the least measured.
    fn regret(&self) -> Option<f64> {
        let q = q_star(&Quadratic::wide(self.rate), EXPONENT);
        let near = self.tried.iter().min_by(|a, b| (a.q - q).abs().total_cmp(&(b.q - q).abs()))?;
        Some((near.cost?.value - self.best()?.1).exp())
    }

    /// Measured evaluations over predicted ones, of every q.
    fn over_predicted(&self) -> impl Iterator<Item = f64> {
        let family = Quadratic::wide(self.rate);
        self.tried.iter().filter_map(move |tried| Some(tried.cost?.value.exp() / predicted(&family, tried.q)))
    }
}

/// Adds what `rates` come to.
pub fn conclude(rates: &[&Rate], conclusion: &mut Conclusion) {
    let regrets: Vec<f64> = rates.iter().filter_map(|rate| rate.regret()).collect();
    let ratios: Vec<f64> = rates
        .iter()
        .map(|rate| {
            let ratios: Vec<f64> = rate.over_predicted().collect();
            crate::interval::mean(&ratios)
        })
        .collect();
    conclusion.claims.extend([
        Claim::new(
            "evaluations at q* over the fewest measured, mean over inner rates",
            Expected::below(1.05),
            Measured::mean(&regrets),
        ),
        Claim::new(
            "evaluations measured over predicted, mean over inner rates and q",
            Expected::near(1.0, 0.1),
            Measured::mean(&ratios),
        ),
    ]);
    conclusion.figures.push(Illustration {
        name: "best-q",
        caption: format!(
            "The best q, in theory and in practice. Left: q* for exponent 1, which steps c/k want, and for \
             the reference code's ½; dots are the q with the fewest evaluations to |∇M| = {TARGET} (root \
             mean square), bars every q within {:.0} % of it. Right: those evaluations, predicted (lines) \
             and measured (dots, 95 %).",
            100.0 * (AS_GOOD - 1.0)
        ),
        figure: Figure { panels: vec![theory(rates), costs(rates)] },
    });
    let mut table = Table::new([
        "rate",
        "q",
        "evaluations",
        "evaluations_low",
        "evaluations_high",
        "predicted",
        "q_star",
    ]);
    for rate in rates {
        let family = Quadratic::wide(rate.rate);
        for Tried { q, cost } in &rate.tried {
            let [low, high] = cost.map_or([f64::NAN; 2], Measured::ends);
            let value = cost.map_or(f64::NAN, |cost| cost.value);
            let numbers =
                [value.exp(), low.exp(), high.exp(), predicted(&family, *q), q_star(&family, EXPONENT)];
            table.row([rate.rate, *q].into_iter().chain(numbers).map(|number| number.to_string()));
        }
    }
    conclusion.tables.push(("best-q", table));
}

/// q over inner rates.
fn theory(rates: &[&Rate]) -> Panel {
    let fine: Vec<f64> =
        (0..=60).map(|at| RATES[0] * (RATES[1] / RATES[0]).powf(f64::from(at) / 60.0)).collect();
    let curve = |exponent: f64| -> Vec<[f64; 2]> {
        fine.iter().map(|rate| [*rate, q_star(&Quadratic::wide(*rate), exponent)]).collect()
    };
    let best = rates.iter().filter_map(|rate| Some(([rate.rate, rate.best()?.0], rate.as_good()?)));
    let (points, bars) = best.unzip();
    Panel::new(Axis::logarithmic("inner rate α"), Axis::linear("q").range(0.0, 1.04))
        .titled("best q")
        .with(Series::curve("q*", curve(EXPONENT)).look(0))
        .with(Series::curve("q*, exponent ½", curve(REFERENCE)).look(1))
        .with(Series::marks("measured", points).band(bars).plain())
}

/// Evaluations over q, at the lowest, a middle and the highest inner rate.
fn costs(rates: &[&Rate]) -> Panel {
    let shown = [0, rates.len() / 2, rates.len().saturating_sub(1)];
    let y = Axis::logarithmic(format!("evaluations to |∇M| = {TARGET}"));
    let panel = Panel::new(Axis::linear("q").range(0.0, 1.04), y).titled("what it costs");
    shown.into_iter().filter_map(|at| rates.get(at)).zip(2..).fold(panel, |panel, (rate, look)| {
        let family = Quadratic::wide(rate.rate);
        let curve = (3..=100).map(|percent| {
            let q = f64::from(percent) / 100.0;
            [q, predicted(&family, q)]
        });
        let measured = rate.tried.iter().filter_map(|tried| Some((tried.q, tried.cost?)));
        let (points, bars) =
            measured.map(|(q, cost)| ([q, cost.value.exp()], cost.ends().map(f64::exp))).unzip();
        let name = format!("α = {}", short(rate.rate, 2));
        panel
            .with(Series::curve(name.clone(), curve.collect()).look(look))
            .with(Series::marks(name, points).band(bars))
    })
}
