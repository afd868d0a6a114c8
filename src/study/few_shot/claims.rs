//! Expectations for the reference setting, with reasons.
//!
//! At an inner rate of 0.005 the first-order gradient omits an important part: how the initial weights must be chosen for
//! small inner steps to be effective. So unbiased gradients end with a higher accuracy, although they cost more. Step coins cost hardly more than
//! first-order and add little variance: by formula they need 0.57 of exact's evaluations to a given accuracy there, and
//! at most 0.93 at rates up to 0.1. The adaptive q is the best one by formula, so no fixed q is much better. Reptile
//! uses support images only (`docs/estimators.md`; `docs/mathematics.md`, "Choosing q").

use super::accuracy_curve::Cost;
use super::comparison::{Comparison, Entry};
use crate::study::{Claim, Expected, Measured};

/// A difference in accuracy, in points, that is considered negligible.
const MARGIN: f64 = 2.0;

/// All claims that the compared estimators allow. Runs with the same seed see the same episodes, so differences and
/// ratios are taken seed by seed.
pub fn claims(comparison: &Comparison) -> Vec<Claim> {
    let entry = |key: &str| comparison.entry(key);
    let (coins, exact, first_order) = (entry("step-coins"), entry("exact"), entry("first-order"));
    let fixed = || ["ufom-0.1", "ufom-0.2"].into_iter().filter_map(entry);
    let unbiased = || comparison.entries.iter().filter(|entry| entry.estimator.is_unbiased());
    let best = |a: &Measured, b: &Measured| a.value.total_cmp(&b.value);
    let tuned = entry("adaptive").and_then(|adaptive| {
        let leads = fixed().map(|fixed| lead(comparison, adaptive, fixed, Cost::Evaluations));
        let claim =
            "adaptive: accuracy minus that of UFOM at the better fixed q, at equal evaluations (points)";
        Some(Claim::new(claim, Expected::above(-MARGIN), leads.min_by(best)?))
    });
    let beyond = entry("reptile").and_then(|reptile| {
        let leads = unbiased().map(|entry| lead(comparison, entry, reptile, Cost::Evaluations));
        let claim = "worst unbiased estimator: accuracy minus that of Reptile, at equal evaluations (points)";
        Some(Claim::new(claim, Expected::above(0.0), leads.min_by(best)?))
    });
    let claims = [
        above(comparison, exact, first_order, Cost::Evaluations),
        above(comparison, coins, first_order, Cost::Evaluations),
        above(comparison, coins, first_order, Cost::Seconds),
        above(comparison, coins, exact, Cost::Evaluations),
        cheaper(comparison, coins, exact, Cost::Evaluations),
        cheaper(comparison, coins, exact, Cost::Seconds),
        tuned,
        beyond,
    ];
    claims.into_iter().flatten().collect()
}

/// Accuracy of `entry` minus that of `other` at equal `cost`, in points.
fn lead(comparison: &Comparison, entry: &Entry, other: &Entry, cost: Cost) -> Measured {
    let ends = |entry: &Entry| entry.accuracies(cost, comparison.spent(cost));
    let differences: Vec<f64> = ends(entry).iter().zip(ends(other)).map(|(a, b)| a - b).collect();
    Measured::mean_of_few(&differences)
}

/// Claims that `better` is more accurate than `worse` at equal `cost`.
fn above(
    comparison: &Comparison,
    better: Option<&Entry>,
    worse: Option<&Entry>,
    cost: Cost,
) -> Option<Claim> {
    let (better, worse) = (better?, worse?);
    let equal = match cost {
        Cost::Evaluations => "evaluations",
        Cost::Seconds => "seconds",
    };
    let claim = format!(
        "{}: accuracy minus that of {}, at equal {equal} (points)",
        better.estimator, worse.estimator
    );
    Some(Claim::new(claim, Expected::above(0.0), lead(comparison, better, worse, cost)))
}

/// Claims that `better` reaches the target at a lower cost than `worse`.
fn cheaper(
    comparison: &Comparison,
    better: Option<&Entry>,
    worse: Option<&Entry>,
    cost: Cost,
) -> Option<Claim> {
    let (better, worse) = (better?, worse?);
    let reached = |entry: &Entry| entry.reached(cost, comparison.target);
    let ratio = |(a, b): (Option<f64>, Option<f64>)| a.zip(b).map_or(f64::NAN, |(a, b)| a / b);
    let ratios: Vec<f64> = reached(better).into_iter().zip(reached(worse)).map(ratio).collect();
    let claim = format!(
        "{}: {} to {:.1} %, relative to {}",
        better.estimator,
        cost.label(),
        comparison.target,
        worse.estimator
    );
    Some(Claim::new(claim, Expected::below(1.0), Measured::mean_of_few(&ratios)))
}

#[cfg(test)]
mod tests {
    use super::super::comparison::tests::{results, run};
    use super::*;
    use crate::study::Verdict;

    #[test]
    fn claims_compare_runs_of_the_same_seed() {
        let records = [
            run(1.0, 30.0, 40.0),
            run(1.0, 50.0, 60.0),
            run(2.0, 40.0, 50.0),
            run(1.0, 40.0, 50.0),
            run(1.0, 60.0, 71.0),
            run(2.0, 50.0, 60.0),
        ];
        let results = results(&["first-order", "step-coins", "exact"], 0, &records);
        let claims = claims(&Comparison::new(&results, None));
        let measured: Vec<f64> = claims.iter().map(|claim| claim.measured.value).collect();
        // The target is 50 %: exact's evaluations to it are 100 and 50, step coins' 50 and 37.5.
        assert_eq!(measured, [10.0, 20.5, 20.5, 10.5, 0.625, 0.3125]);
        assert_eq!(claims[0].verdict, Verdict::Held);
        assert!((claims[3].measured.ci95 - 12.706 * 0.5).abs() < 1e-9);
        // Two seeds are few: 0.625 ± 12.706·0.125.
        assert_eq!(claims[4].verdict, Verdict::Open);
    }

    #[test]
    fn a_target_that_no_run_reaches_fails_the_claim() {
        let records = [run(1.0, 30.0, 45.0), run(1.0, 30.0, 40.0)];
        let results = results(&["step-coins", "exact"], 0, &records);
        let comparison = Comparison::new(&results, Some(99.0));
        let verdicts: Vec<Verdict> = claims(&comparison).iter().map(|claim| claim.verdict).collect();
        assert_eq!(verdicts, [Verdict::Held, Verdict::Failed, Verdict::Failed]);
    }
}
