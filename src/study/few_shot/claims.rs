//! Expectations for the reference setting, with reasons.
//!
//! At an inner rate of 0.005 the first-order gradient omits an important part: how the initial weights must be chosen for
//! small inner steps to be effective. So unbiased gradients end with a higher accuracy, although they cost more. Step coins cost hardly more than
//! first-order and add little variance: by formula they need 0.57 of exact's evaluations to a given accuracy there, and
//! at most 0.93 at rates up to 0.1. The adaptive q is the best one by formula, so no fixed q is much better. Reptile
//! uses support images only (`docs/estimators.md`; `docs/mathematics.md`, "Choosing q").

use super::accuracy_curve::Cost;
use super::comparison::{Comparison, Entry};
use crate::study::{Claim, Expected, Measured, Verdict};

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

/// Claims that `better` reaches the target at a lower cost than `worse`. Where one of the two did not reach it with a seed, that run
/// counts with all that it spent, so that the ratio is a bound, which decides only what it can. There is no claim if fewer than two
/// seeds say anything, if the bounds go both ways, or if a cost is 0.
fn cheaper(
    comparison: &Comparison,
    better: Option<&Entry>,
    worse: Option<&Entry>,
    cost: Cost,
) -> Option<Claim> {
    let (better, worse) = (better?, worse?);
    let [ours, others] = [better, worse].map(|entry| costs(entry, cost, comparison.target));
    let runs = ours.len();
    let missed = |costs: &[(f64, bool)]| costs.iter().filter(|(_, reached)| !reached).count();
    let pairs = ours.iter().zip(&others).filter(|(ours, others)| ours.1 || others.1);
    let (mut ratios, mut only_ours, mut only_others) = (Vec::new(), false, false);
    for ((ours, ours_reached), (others, others_reached)) in pairs {
        ratios.push(ours / others);
        only_ours |= !others_reached;
        only_others |= !ours_reached;
    }
    if ratios.len() < 2 || only_ours && only_others || ratios.iter().any(|ratio| ratio.is_nan()) {
        return None;
    }
    let bound = match (only_ours, only_others) {
        (true, _) => {
            format!(
                "; at most, since {} did not reach it in {} of {runs} runs",
                worse.estimator,
                missed(&others)
            )
        }
        (_, true) => format!("; at least, since it did not reach it in {} of {runs} runs", missed(&ours)),
        _ if ratios.len() < runs => format!("; where either reached it, {} of {runs} runs", ratios.len()),
        _ => String::new(),
    };
    let claim = format!(
        "{}: {} to {:.1} %, relative to {}{bound}",
        better.estimator,
        cost.label(),
        comparison.target,
        worse.estimator
    );
    let mut claim = Claim::new(claim, Expected::below(1.0), Measured::mean_of_few(&ratios));
    // The ratio is smaller than an upper bound, and larger than a lower one.
    if only_ours && claim.verdict == Verdict::Failed || only_others && claim.verdict == Verdict::Held {
        claim.verdict = Verdict::Open;
    }
    Some(claim)
}

/// What each run of `entry` had spent when it reached `target`, or in all if it did not; and whether it did.
fn costs(entry: &Entry, cost: Cost, target: f64) -> Vec<(f64, bool)> {
    let reached = entry.reached(cost, target).into_iter();
    reached
        .zip(&entry.runs)
        .map(|(reached, run)| (reached.unwrap_or(run.spent(cost)), reached.is_some()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::Record;
    use super::super::comparison::tests::{results, run};
    use super::*;

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

    /// The claims about costs to the target.
    fn costs_of(records: &[Record], target: f64) -> Vec<Claim> {
        let results = results(&["step-coins", "exact"], 0, records);
        let claims = claims(&Comparison::new(&results, Some(target)));
        claims.into_iter().filter(|claim| claim.claim.contains(" to ")).collect()
    }

    #[test]
    fn a_target_that_no_run_reaches_is_claimed_nothing_about() {
        assert_eq!(costs_of(&[run(1.0, 30.0, 45.0), run(1.0, 30.0, 40.0)], 99.0), []);
        // Nor is one that the untrained learner has.
        assert_eq!(costs_of(&[run(1.0, 30.0, 45.0), run(1.0, 30.0, 40.0)], 10.0), []);
    }

    #[test]
    fn a_run_that_misses_the_target_bounds_the_ratio() {
        let (reaches, misses) = (run(1.0, 40.0, 60.0), run(1.0, 30.0, 40.0));
        // 75 of 100 evaluations, or fewer; a second seed that does not differ.
        let claims = costs_of(&[reaches.clone(), misses.clone(), reaches.clone(), misses.clone()], 50.0);
        assert!(
            claims[0].claim.contains("at most, since exact did not reach it in 2 of 2 runs"),
            "{claims:?}"
        );
        assert_eq!((claims[0].measured.value, claims[0].verdict), (0.75, Verdict::Held));
        let claims = costs_of(&[misses.clone(), reaches.clone(), misses.clone(), reaches.clone()], 50.0);
        assert!(claims[0].claim.contains("at least"), "{claims:?}");
        assert_eq!((claims[0].measured.value, claims[0].verdict), (100.0 / 75.0, Verdict::Failed));
        // Most runs are far below, but the missing one might be far above.
        let mut records: Vec<Record> =
            (0..9).flat_map(|_| [run(1.0, 60.0, 60.0), run(1.0, 30.0, 51.0)]).collect();
        records.extend([misses.clone(), run(1.0, 30.0, 51.0)]);
        let claims = costs_of(&records, 50.0);
        assert!(claims[0].measured.ends()[1] < 1.0 && claims[0].verdict == Verdict::Open, "{claims:?}");
        // One seed says too little, and one each way says nothing.
        let one = [reaches.clone(), misses.clone(), misses.clone(), misses.clone()];
        assert_eq!(costs_of(&one, 50.0), []);
        assert_eq!(costs_of(&[misses.clone(), reaches.clone(), reaches, misses], 50.0), []);
    }
}
