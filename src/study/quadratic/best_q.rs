//! Third experiment: q* by theory and the best measured q, over inner rates.

use super::cost::{EXPONENT, START, TARGET, predicted, q_star};
use super::descent::{Plan, SIZES, descend, log_spaced};
use super::trace::reached;
use super::{Quadratic, SEED, evaluations};
use crate::report::{Axis, Figure, Panel, Series, Table, short};
use crate::study::{Claim, Conclusion, Expected, Illustration, Measured};
use serde::{Deserialize, Serialize};

/// Range of inner rates, evenly spaced in their logarithms.
const RATES: [f64; 2] = [0.001, 0.05];
/// Samples of ∇M, all in the last decade of steps, from which the cost is fitted.
const SAMPLES: usize = 41;
/// Exponent p of the reference code.
const REFERENCE_EXPONENT: f64 = 0.5;
/// A cost within this factor of the best counts as equally good.
const TOLERANCE: f64 = 1.02;

/// Results of every q at one inner rate.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Rate {
    /// Inner rate α.
    pub rate: f64,
    /// Results in ascending order of q.
    pub tried: Vec<Tried>,
}

/// A q and its cost.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Tried {
    /// q.
    pub q: f64,
    /// ln of the gradient evaluations to the target; `None` if the target is not reached.
    pub cost: Option<Measured>,
}

/// Measures the cost of every q at the inner rate with this `index`.
pub fn search(study: &Quadratic, index: usize) -> Rate {
    let share = index as f64 / (study.rates.max(2) - 1) as f64;
    let rate = RATES[0] * (RATES[1] / RATES[0]).powf(share);
    let family = Quadratic::wide(rate);
    let samples = log_spaced(study.search_steps / 10, study.search_steps, SAMPLES);
    let plan = Plan { starts: study.starts, start: START, sizes: SIZES, samples, seed: SEED + 2 };
    let tried = (1..=study.values).map(|number| {
        let q = number as f64 / study.values as f64;
        let steps = reached(&descend(&family, q, &plan), &plan.samples, TARGET);
        let cost = steps.map(|steps| Measured { value: steps.value + evaluations(q).ln(), ..steps });
        Tried { q, cost }
    });
    Rate { rate, tried: tried.collect() }
}

impl Rate {
    /// The q with the fewest evaluations, and ln of those; `None` if no q reached the target.
    fn best(&self) -> Option<(f64, f64)> {
        let costs = self.tried.iter().filter_map(|tried| Some((tried.q, tried.cost?.value)));
        costs.min_by(|(_, a), (_, b)| a.total_cmp(b))
    }

    /// The lowest and the highest q whose cost is within [`TOLERANCE`] of the best.
    fn near_best(&self) -> Option<[f64; 2]> {
        let (_, least) = self.best()?;
        let good = |tried: &&Tried| tried.cost.is_some_and(|cost| cost.value <= least + TOLERANCE.ln());
        let good: Vec<f64> = self.tried.iter().filter(good).map(|tried| tried.q).collect();
        Some([*good.first()?, *good.last()?])
    }

    /// Cost of the tried q nearest to q*, relative to the lowest cost measured.
    fn regret(&self) -> Option<f64> {
        let q = q_star(&Quadratic::wide(self.rate), EXPONENT);
        let near = self.tried.iter().min_by(|a, b| (a.q - q).abs().total_cmp(&(b.q - q).abs()))?;
        Some((near.cost?.value - self.best()?.1).exp())
    }

    /// Measured over predicted evaluations, for every q.
    fn measured_over_predicted(&self) -> impl Iterator<Item = f64> {
        let family = Quadratic::wide(self.rate);
        self.tried.iter().filter_map(move |tried| Some(tried.cost?.value.exp() / predicted(&family, tried.q)))
    }
}

/// Adds the claims, figure and table of `rates`.
pub fn conclude(rates: &[Rate], conclusion: &mut Conclusion) {
    // A rate at which q* misses the target has no regret, and then the mean is none either.
    let regrets: Vec<f64> = rates.iter().map(|rate| rate.regret().unwrap_or(f64::NAN)).collect();
    let ratios: Vec<f64> = rates
        .iter()
        .map(|rate| {
            let ratios: Vec<f64> = rate.measured_over_predicted().collect();
            bilevel::stats::mean(&ratios)
        })
        .collect();
    conclusion.claims.extend([
        Claim::new(
            "gradient evaluations at q*, relative to the fewest measured; mean over inner rates",
            Expected::below(1.05),
            Measured::mean_of_few(&regrets),
        ),
        Claim::new(
            "gradient evaluations, measured over predicted; mean over inner rates and q",
            Expected::near(1.0, 0.1),
            Measured::mean_of_few(&ratios),
        ),
    ]);
    conclusion.remarks.extend(missed(rates));
    conclusion.figures.push(Illustration {
        name: "best-q",
        caption: format!(
            "The best q, by theory and measured. Left: q* for exponent 1, which holds for steps c/k, and for the \
             reference code's ½; dots are the q with the fewest evaluations to |∇M| = {TARGET} (root mean \
             square), bars all q within {:.0} % of it. Right: those evaluations, predicted (lines) and measured \
             (dots, 95 %).",
            100.0 * (TOLERANCE - 1.0)
        ),
        figure: Figure { panels: vec![best_q_panel(rates), cost_panel(rates)] },
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

/// How often the target was missed, if it was.
fn missed(rates: &[Rate]) -> Vec<String> {
    let costs: Vec<_> = rates.iter().flat_map(|rate| rate.tried.iter().map(|tried| tried.cost)).collect();
    let (all, missed) = (costs.len(), costs.iter().filter(|cost| cost.is_none()).count());
    let at_q_star = rates.iter().filter(|rate| rate.regret().is_none()).count();
    let left_out = format!(
        "{missed} of {all} pairs of an inner rate and q did not reach |∇M| = {TARGET}; the ratio of measured to predicted \
         evaluations leaves them out."
    );
    let without_mean = format!(
        "At {at_q_star} of {} inner rates, the tried q nearest to q* did not reach it, so the evaluations at q* have no mean.",
        rates.len()
    );
    let remarks = [(missed, left_out), (at_q_star, without_mean)];
    remarks.into_iter().filter(|(count, _)| *count > 0).map(|(_, remark)| remark).collect()
}

/// q against inner rates.
fn best_q_panel(rates: &[Rate]) -> Panel {
    let fine: Vec<f64> =
        (0..=60).map(|at| RATES[0] * (RATES[1] / RATES[0]).powf(f64::from(at) / 60.0)).collect();
    let curve = |exponent: f64| -> Vec<[f64; 2]> {
        fine.iter().map(|rate| [*rate, q_star(&Quadratic::wide(*rate), exponent)]).collect()
    };
    let best = rates.iter().filter_map(|rate| Some(([rate.rate, rate.best()?.0], rate.near_best()?)));
    let (points, bars) = best.unzip();
    Panel::new(Axis::logarithmic("inner rate α"), Axis::linear("q").range(0.0, 1.04))
        .titled("best q")
        .with(Series::curve("q*", curve(EXPONENT)).look(0))
        .with(Series::curve("q*, exponent ½", curve(REFERENCE_EXPONENT)).look(1))
        .with(Series::marks("measured", points).band(bars).plain())
}

/// Gradient evaluations against q, at the lowest, a middle and the highest inner rate.
fn cost_panel(rates: &[Rate]) -> Panel {
    let shown = [0, rates.len() / 2, rates.len().saturating_sub(1)];
    let y = Axis::logarithmic(format!("gradient evaluations to |∇M| = {TARGET}"));
    let panel = Panel::new(Axis::linear("q").range(0.0, 1.04), y).titled("cost");
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::Verdict;

    /// At the highest rate, where q* is 1, the cost of q = ½ and that of q = 1.
    fn rate(costs: [Option<f64>; 2]) -> Rate {
        let cost = |cost: Option<f64>| cost.map(Measured::exactly);
        let [half, one] = costs.map(cost);
        Rate { rate: RATES[1], tried: vec![Tried { q: 0.5, cost: half }, Tried { q: 1.0, cost: one }] }
    }

    fn concluded(rates: &[Rate]) -> Conclusion {
        let mut conclusion = Conclusion::default();
        conclude(rates, &mut conclusion);
        conclusion
    }

    #[test]
    fn a_target_that_q_star_misses_is_not_left_out() {
        let all = concluded(&[rate([Some(9.0), Some(8.0)]), rate([Some(9.0), Some(8.0)])]);
        assert_eq!((all.claims[0].verdict, all.claims[0].measured), (Verdict::Held, Measured::exactly(1.0)));
        assert_eq!(all.remarks, Vec::<String>::new());
        let missed = concluded(&[rate([Some(9.0), Some(8.0)]), rate([Some(9.0), None])]);
        assert_eq!(missed.claims[0].verdict, Verdict::Failed);
        assert!(missed.claims[0].measured.value.is_nan());
        let [pairs, rates] = &missed.remarks[..] else { panic!("{:?}", missed.remarks) };
        assert!(pairs.contains("1 of 4 pairs") && rates.contains("At 1 of 2 inner rates"), "{pairs} {rates}");
    }
}
