//! What is expected in the reference setting, and why.
//!
//! At an inner rate of 0.005 first-order's gradient leaves out what matters: how weights must lie for small
//! steps to work. So gradients without bias end above it, though they cost more. Step coins cost hardly
//! more than first-order and add little variance: by formula they need 0.57 of exact's evaluations to an
//! accuracy there, and at most 0.93 at rates up to 0.1. The adapting q is the best one by formula, so no
//! fixed q is far better. Reptile learns from support images alone (docs/estimators.md, METHOD "Choosing
//! q").

use super::curve::Cost;
use super::race::{Entry, Race};
use crate::study::{Claim, Expected, Measured};

/// Points of accuracy that are nothing.
const MARGIN: f64 = 2.0;

/// All that can be told from the estimators at hand. Runs of one seed see the same episodes, so
/// differences and ratios are taken seed by seed.
pub fn claims(race: &Race) -> Vec<Claim> {
    let entry = |key: &str| race.entry(key);
    let (coins, exact, first_order) = (entry("step-coins"), entry("exact"), entry("first-order"));
    let fixed = || ["ufom-0.1", "ufom-0.2"].into_iter().filter_map(entry);
    let unbiased = || race.entries.iter().filter(|entry| entry.method.is_unbiased());
    let best = |a: &Measured, b: &Measured| a.value.total_cmp(&b.value);
    let tuned = entry("adaptive").and_then(|adaptive| {
        let leads = fixed().map(|fixed| lead(race, adaptive, fixed, Cost::Evaluations));
        let claim = "adaptive's accuracy less UFOM's at the better fixed q, at equal evaluations (points)";
        Some(Claim::new(claim, Expected::above(-MARGIN), leads.min_by(best)?))
    });
    let beyond = entry("reptile").and_then(|reptile| {
        let leads = unbiased().map(|entry| lead(race, entry, reptile, Cost::Evaluations));
        let claim = "the worst unbiased estimator's accuracy less Reptile's, at equal evaluations (points)";
        Some(Claim::new(claim, Expected::above(0.0), leads.min_by(best)?))
    });
    let claims = [
        above(race, exact, first_order, Cost::Evaluations),
        above(race, coins, first_order, Cost::Evaluations),
        above(race, coins, first_order, Cost::Seconds),
        above(race, coins, exact, Cost::Evaluations),
        cheaper(race, coins, exact, Cost::Evaluations),
        cheaper(race, coins, exact, Cost::Seconds),
        tuned,
        beyond,
    ];
    claims.into_iter().flatten().collect()
}

/// An estimator's name, as an owner's.
fn whose(entry: &Entry) -> String {
    let name = entry.method.to_string();
    if name.ends_with('s') { name + "'" } else { name + "'s" }
}

/// By how many points `entry` is above `other` once all have spent the same.
fn lead(race: &Race, entry: &Entry, other: &Entry, cost: Cost) -> Measured {
    let ends = |entry: &Entry| entry.accuracies(cost, race.spent(cost));
    let differences: Vec<f64> = ends(entry).iter().zip(ends(other)).map(|(a, b)| a - b).collect();
    Measured::mean_of_few(&differences)
}

/// That `better` is above `worse`.
fn above(race: &Race, better: Option<&Entry>, worse: Option<&Entry>, cost: Cost) -> Option<Claim> {
    let (better, worse) = (better?, worse?);
    let equal = match cost {
        Cost::Evaluations => "evaluations",
        Cost::Seconds => "seconds",
    };
    let claim = format!("{} accuracy less {}, at equal {equal} (points)", whose(better), whose(worse));
    Some(Claim::new(claim, Expected::above(0.0), lead(race, better, worse, cost)))
}

/// That `better` spends less than `worse` on the way to the target.
fn cheaper(race: &Race, better: Option<&Entry>, worse: Option<&Entry>, cost: Cost) -> Option<Claim> {
    let (better, worse) = (better?, worse?);
    let reached = |entry: &Entry| entry.reached(cost, race.target);
    let ratio = |(a, b): (Option<f64>, Option<f64>)| a.zip(b).map_or(f64::NAN, |(a, b)| a / b);
    let ratios: Vec<f64> = reached(better).into_iter().zip(reached(worse)).map(ratio).collect();
    let claim = format!("{} {} to {:.1} % over {}", whose(better), cost.label(), race.target, whose(worse));
    Some(Claim::new(claim, Expected::below(1.0), Measured::mean_of_few(&ratios)))
}

#[cfg(test)]
mod tests {
    use super::super::race::tests::{methods, run};
    use super::*;
    use crate::study::Verdict;

    #[test]
    fn claims_are_held_seed_by_seed() {
        let methods = methods(&["first-order", "step-coins", "exact"]);
        let records = [
            run(1.0, 30.0, 40.0),
            run(1.0, 50.0, 60.0),
            run(2.0, 40.0, 50.0),
            run(1.0, 40.0, 50.0),
            run(1.0, 60.0, 71.0),
            run(2.0, 50.0, 60.0),
        ];
        let race = Race::new(&methods, &records, 0, None);
        let claims = claims(&race);
        let measured: Vec<f64> = claims.iter().map(|claim| claim.measured.value).collect();
        // The target is 50 %: exact's evaluations to it are 100 and 50, step coins' 50 and 37.5.
        assert_eq!(measured, [10.0, 20.5, 20.5, 10.5, 0.625, 0.3125]);
        assert_eq!(claims[0].verdict, Verdict::Held);
        assert!((claims[3].measured.ci95 - 12.706 * 0.5).abs() < 1e-9);
        // Two seeds are few: 0.625 ± 12.706·0.125.
        assert_eq!(claims[4].verdict, Verdict::Open);
    }

    #[test]
    fn what_nobody_reaches_does_not_hold() {
        let methods = methods(&["step-coins", "exact"]);
        let records = [run(1.0, 30.0, 45.0), run(1.0, 30.0, 40.0)];
        let race = Race::new(&methods, &records, 0, Some(99.0));
        let verdicts: Vec<Verdict> = claims(&race).iter().map(|claim| claim.verdict).collect();
        assert_eq!(verdicts, [Verdict::Held, Verdict::Failed, Verdict::Failed]);
    }
}
