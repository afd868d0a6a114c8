//! Remarks and tables of the report: winners, the estimators in one table, the load of the machine.

use super::accuracy_curve::{Cost, Validation};
use super::behaviour::average;
use super::comparison::{Comparison, Entry};
use super::figures::cost_points;
use super::{Interval, Record};
use crate::bench::DISTURBED;
use crate::report::{Table, significant};
use bilevel::stats::mean;

/// Paragraphs of the report.
pub fn remarks(comparison: &Comparison) -> Vec<String> {
    let tables = [Some(summary(comparison).markdown()), behaviour(comparison).map(|table| table.markdown())];
    let last = [resolution(comparison), load(comparison), diverged(comparison)];
    std::iter::once(Some(winners(comparison))).chain(tables).chain(last).flatten().collect()
}

/// Data files.
pub fn tables(comparison: &Comparison) -> Vec<(&'static str, Table)> {
    vec![
        ("validations", validations(comparison)),
        ("intervals", intervals(comparison)),
        ("curves", curves(comparison)),
        ("target", reached(comparison)),
    ]
}

/// The estimator that first reaches the target, counted over seeds.
fn winners(comparison: &Comparison) -> String {
    let by = |cost: Cost| {
        let mut wins: Vec<(String, usize)> = Vec::new();
        for winner in comparison.winners(cost) {
            let name = winner.map_or("none".into(), ToString::to_string);
            match wins.iter_mut().find(|(known, _)| *known == name) {
                Some((_, count)) => *count += 1,
                None => wins.push((name, 1)),
            }
        }
        wins.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let counts: Vec<String> = wins.iter().map(|(name, count)| format!("{name} ({count})")).collect();
        counts.join(", ")
    };
    format!(
        "First to reach {:.1} %, by number of the {} seeds. By gradient evaluations: {}. By seconds: {}.",
        comparison.target,
        comparison.seeds(),
        by(Cost::Evaluations),
        by(Cost::Seconds)
    )
}

/// All estimators: those whose runs all reach the target by cost, then the others by accuracy.
fn summary(comparison: &Comparison) -> Table {
    let target = format!("{:.1} %", comparison.target);
    let mut table = Table::new([
        "estimator",
        &format!("% after {} evaluations", significant(comparison.evaluations, 3)),
        &format!("% after {} s", significant(comparison.seconds, 3)),
        &format!("evaluations to {target}"),
        &format!("seconds to {target}"),
        "outer steps",
        "ms per evaluation",
    ]);
    let mut entries: Vec<&Entry> = comparison.entries.iter().collect();
    let order = |entry: &Entry| {
        let reached = entry.mean_reached(Cost::Evaluations, comparison.target);
        let accuracy = entry.accuracy(Cost::Evaluations, comparison.evaluations).value;
        (reached.map_or(f64::INFINITY, |reached| reached.value), -accuracy)
    };
    entries.sort_by(|a, b| {
        let ((a, a_last), (b, b_last)) = (order(a), order(b));
        a.total_cmp(&b).then(a_last.total_cmp(&b_last))
    });
    for entry in entries {
        let accuracy = |cost| {
            let accuracy = entry.accuracy(cost, comparison.spent(cost));
            format!("{:.1} ± {:.1}", accuracy.value, accuracy.ci95)
        };
        let to_target = |cost| match entry.mean_reached(cost, comparison.target) {
            Some(spent) => spent.to_string(),
            None => {
                let count = entry.reached(cost, comparison.target).iter().flatten().count();
                format!("reached by {count} of {} runs", entry.runs.len())
            }
        };
        let ends = || entry.runs.iter().filter_map(|run| run.validations.last());
        let over_runs = |value: &dyn Fn(&Validation) -> f64| average(ends().map(value)).unwrap_or(f64::NAN);
        table.row([
            entry.estimator.to_string(),
            accuracy(Cost::Evaluations),
            accuracy(Cost::Seconds),
            to_target(Cost::Evaluations),
            to_target(Cost::Seconds),
            significant(over_runs(&|end| end.steps as f64), 3),
            significant(over_runs(&|end| 1e3 * end.seconds / end.evaluations as f64), 3),
        ]);
    }
    table
}

/// What the estimators did in the first and in the last interval between validations; `None` if no run says.
fn behaviour(comparison: &Comparison) -> Option<Table> {
    let mut table = Table::new([
        "estimator",
        "products, % of exact's: first interval",
        "last interval",
        "probabilities, last interval",
        "bound of the variance from coins, % of the exact gradient's second moment",
    ]);
    let shown = |value: Option<f64>| value.map_or("–".into(), |value| significant(100.0 * value, 2));
    let mut any = false;
    for entry in &comparison.entries {
        let lasts = || entry.runs.iter().filter_map(|run| run.intervals.last());
        let firsts = entry.runs.iter().filter_map(|run| run.intervals.first());
        let probabilities: Vec<f64> = lasts().flat_map(|last| last.probabilities.clone()).collect();
        let [low, high] = [f64::min, f64::max].map(|end| probabilities.iter().copied().reduce(end));
        any |= lasts().next().is_some();
        table.row([
            entry.estimator.to_string(),
            shown(average(firsts.map(|interval| interval.products))),
            shown(average(lasts().map(|interval| interval.products))),
            low.zip(high).map_or("–".into(), |(low, high)| {
                format!("{} to {}", significant(low, 2), significant(high, 2))
            }),
            shown(average(lasts().filter_map(|interval| interval.variance))),
        ]);
    }
    any.then_some(table)
}

/// How precisely costs to the target are known.
fn resolution(comparison: &Comparison) -> Option<String> {
    let runs = || comparison.entries.iter().flat_map(|entry| entry.runs.iter().map(move |run| (entry, run)));
    let count = runs().next()?.1.validations.len().checked_sub(1).filter(|count| *count > 0)?;
    let is_early = |run: &Record| {
        run.validations.iter().position(|validation| validation.accuracy >= comparison.target) == Some(1)
    };
    let early = runs().filter(|(_, run)| is_early(run)).count();
    let warning = match early {
        0 => String::new(),
        _ => format!(
            " {early} of {} runs reached it before the first validation on the way, so their costs are hardly measured: give \
             more --validations.",
            runs().count()
        ),
    };
    Some(format!(
        "Each run is validated {count} times on the way. The cost to {:.1} % is interpolated between two validations.{warning}",
        comparison.target
    ))
}

/// The load of the machine during the runs.
fn load(comparison: &Comparison) -> Option<String> {
    let runs = comparison.entries.iter().flat_map(|entry| &entry.runs);
    // Mean of each run over its intervals between validations, which are about equally long.
    let means = |index: usize| {
        let cores = runs.clone().map(move |run| {
            run.validations.iter().filter_map(|validation| Some(validation.cores?[index])).collect()
        });
        cores.filter(|cores: &Vec<f64>| !cores.is_empty()).map(|cores| mean(&cores)).collect::<Vec<f64>>()
    };
    let (own, others) = (means(0), means(1));
    let most = others.iter().copied().reduce(f64::max)?;
    let advice = match most > DISTURBED {
        true => "That is too much for a precise comparison of seconds: measure again on an idle machine.",
        false => "That is low enough for a comparison of seconds.",
    };
    let [own_low, own_high] =
        [f64::min, f64::max].map(|end| own.iter().copied().reduce(end).unwrap_or_default());
    Some(format!(
        "Seconds are those of training only. Unless runs were chosen with --only, they were done one after the other, all \
         estimators with one seed before the next seed. A run kept {} to {} cores busy; other programs kept {} busy on average, and {} during the run that \
         they disturbed most. {advice}",
        significant(own_low, 2),
        significant(own_high, 2),
        significant(mean(&others), 2),
        significant(most, 2),
    ))
}

/// Which runs diverged, if any.
fn diverged(comparison: &Comparison) -> Option<String> {
    let runs: Vec<String> = comparison
        .diverged
        .iter()
        .map(|(estimator, seed, step)| format!("{estimator} with seed {seed} at outer step {step}"))
        .collect();
    (!runs.is_empty()).then(|| {
        format!("Estimators with diverged runs are left out of the comparison: {}.", runs.join("; "))
    })
}

/// Every validation of every run.
fn validations(comparison: &Comparison) -> Table {
    let mut table = Table::new([
        "estimator",
        "run",
        "outer_steps",
        "evaluations",
        "seconds",
        "accuracy",
        "ci95",
        "own_cores",
        "others_cores",
    ]);
    for entry in &comparison.entries {
        for (number, run) in entry.runs.iter().enumerate() {
            for Validation { steps, evaluations, seconds, accuracy, ci95, cores } in &run.validations {
                let [own, others] =
                    cores.map(|cores| cores.map(|cores| cores.to_string())).unwrap_or_default();
                let numbers = [seconds, accuracy, ci95].map(|number| number.to_string());
                let counts = [number as u64, *steps, *evaluations].map(|count| count.to_string());
                let cells = std::iter::once(entry.estimator.key()).chain(counts).chain(numbers);
                table.row(cells.chain([own, others]));
            }
        }
    }
    table
}

/// What every estimator did between validations.
fn intervals(comparison: &Comparison) -> Table {
    let mut table = Table::new(["estimator", "run", "evaluations", "products", "probabilities", "variance"]);
    for entry in &comparison.entries {
        for (number, run) in entry.runs.iter().enumerate() {
            for Interval { evaluations, products, probabilities, variance } in &run.intervals {
                let probabilities: Vec<String> = probabilities.iter().map(ToString::to_string).collect();
                table.row([
                    entry.estimator.key(),
                    number.to_string(),
                    evaluations.to_string(),
                    products.to_string(),
                    probabilities.join(" "),
                    variance.map_or(String::new(), |variance| variance.to_string()),
                ]);
            }
        }
    }
    table
}

/// Mean accuracy of every estimator against cost.
fn curves(comparison: &Comparison) -> Table {
    let mut table = Table::new(["estimator", "against", "spent", "accuracy", "accuracy_ci95"]);
    for entry in &comparison.entries {
        for cost in [Cost::Evaluations, Cost::Seconds] {
            for spent in cost_points(entry, cost) {
                let accuracy = entry.accuracy(cost, spent);
                let numbers = [spent, accuracy.value, accuracy.ci95].map(|number| number.to_string());
                table.row([entry.estimator.key(), cost.label().into()].into_iter().chain(numbers));
            }
        }
    }
    table
}

/// Cost of every run to the target.
fn reached(comparison: &Comparison) -> Table {
    let mut table = Table::new(["estimator", "run", "target", "evaluations", "seconds"]);
    let cell = |spent: Option<f64>| spent.map_or(String::new(), |spent| spent.to_string());
    for entry in &comparison.entries {
        let [evaluations, seconds] =
            [Cost::Evaluations, Cost::Seconds].map(|cost| entry.reached(cost, comparison.target));
        for (number, (evaluations, seconds)) in evaluations.into_iter().zip(seconds).enumerate() {
            let cells = [entry.estimator.key(), number.to_string(), comparison.target.to_string()];
            table.row(cells.into_iter().chain([cell(evaluations), cell(seconds)]));
        }
    }
    table
}
