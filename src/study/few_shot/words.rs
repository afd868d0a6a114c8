//! What the study says beside its claims: who was first, the estimators in one table, the machine's load.

use super::curve::Cost;
use super::pictures::places;
use super::race::{Entry, Race};
use crate::bench::DISTURBED;
use crate::interval::mean;
use crate::report::{Table, significant};

/// Paragraphs of the report.
pub fn remarks(race: &Race) -> Vec<String> {
    [Some(first(race)), Some(standings(race).markdown()), load(race), diverged(race)]
        .into_iter()
        .flatten()
        .collect()
}

/// Data files.
pub fn tables(race: &Race) -> Vec<(&'static str, Table)> {
    vec![("looks", looks(race)), ("curves", curves(race)), ("target", reached(race))]
}

/// Who was first to the target, seed by seed.
fn first(race: &Race) -> String {
    let by = |cost: Cost| {
        let mut wins: Vec<(String, usize)> = Vec::new();
        for winner in race.winners(cost) {
            let name = winner.map_or("nobody".into(), ToString::to_string);
            match wins.iter_mut().find(|(known, _)| *known == name) {
                Some((_, count)) => *count += 1,
                None => wins.push((name, 1)),
            }
        }
        wins.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let said: Vec<String> = wins.iter().map(|(name, count)| format!("{name} for {count}")).collect();
        said.join(", ")
    };
    format!(
        "First to {:.1} %, by gradient evaluations: {}; by seconds: {} (of {} seeds).",
        race.target,
        by(Cost::Evaluations),
        by(Cost::Seconds),
        race.seeds()
    )
}

/// The estimators, the first to the target first; then those that did not all get there, the best first.
fn standings(race: &Race) -> Table {
    let target = format!("{:.1} %", race.target);
    let mut table = Table::new([
        "estimator",
        &format!("% after {} evaluations", significant(race.evaluations, 3)),
        &format!("% after {} s", significant(race.seconds, 3)),
        &format!("evaluations to {target}"),
        &format!("seconds to {target}"),
        "outer steps",
        "ms an evaluation",
    ]);
    let mut entries: Vec<&Entry> = race.entries.iter().collect();
    let order = |entry: &Entry| {
        let reached = entry.mean_reached(Cost::Evaluations, race.target);
        let accuracy = entry.accuracy(Cost::Evaluations, race.evaluations).value;
        (reached.map_or(f64::INFINITY, |reached| reached.value), -accuracy)
    };
    entries.sort_by(|a, b| {
        let ((a, a_last), (b, b_last)) = (order(a), order(b));
        a.total_cmp(&b).then(a_last.total_cmp(&b_last))
    });
    for entry in entries {
        let accuracy = |cost| {
            let accuracy = entry.accuracy(cost, race.spent(cost));
            format!("{:.1} ± {:.1}", accuracy.value, accuracy.ci95)
        };
        let to_target = |cost| match entry.mean_reached(cost, race.target) {
            Some(spent) => spent.to_string(),
            None => {
                let there = entry.reached(cost, race.target).iter().flatten().count();
                format!("{there} of {} runs got there", entry.runs.len())
            }
        };
        let ends = || entry.runs.iter().filter_map(|run| run.looks.last());
        let over_runs = |value: Vec<f64>| if value.is_empty() { f64::NAN } else { mean(&value) };
        table.row([
            entry.method.to_string(),
            accuracy(Cost::Evaluations),
            accuracy(Cost::Seconds),
            to_target(Cost::Evaluations),
            to_target(Cost::Seconds),
            significant(over_runs(ends().map(|look| look.steps as f64).collect()), 3),
            significant(
                over_runs(ends().map(|look| 1e3 * look.seconds / look.evaluations as f64).collect()),
                3,
            ),
        ]);
    }
    table
}

/// What the machine did meanwhile.
fn load(race: &Race) -> Option<String> {
    let runs = race.entries.iter().flat_map(|entry| &entry.runs);
    // Each run's mean over its stretches, which are about alike.
    let of_run = |at: usize| {
        let run =
            runs.clone().map(move |run| run.looks.iter().filter_map(|look| Some(look.cores?[at])).collect());
        run.filter(|cores: &Vec<f64>| !cores.is_empty()).map(|cores| mean(&cores)).collect::<Vec<f64>>()
    };
    let (own, others) = (of_run(0), of_run(1));
    let most = others.iter().copied().reduce(f64::max)?;
    let judged = match most > DISTURBED {
        true => "That is too much for seconds to be compared closely: measure again on a quiet machine.",
        false => "That is little enough for seconds to be compared.",
    };
    let [own_low, own_high] =
        [f64::min, f64::max].map(|end| own.iter().copied().reduce(end).unwrap_or_default());
    Some(format!(
        "Seconds are of training alone; runs were made one after the other, all estimators with one seed before \
         the next seed. Meanwhile a run kept {} to {} cores busy, and others kept {} on average and {} during \
         the run that they disturbed most. {judged}",
        significant(own_low, 2),
        significant(own_high, 2),
        significant(mean(&others), 2),
        significant(most, 2),
    ))
}

fn diverged(race: &Race) -> Option<String> {
    let said: Vec<String> = race
        .diverged
        .iter()
        .map(|(method, seed, step)| format!("{method} with seed {seed} at outer step {step}"))
        .collect();
    (!said.is_empty()).then(|| format!("Diverged, and so their estimators left out: {}.", said.join("; ")))
}

fn looks(race: &Race) -> Table {
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
    for entry in &race.entries {
        for (number, run) in entry.runs.iter().enumerate() {
            for look in &run.looks {
                let [own, others] =
                    look.cores.map(|cores| cores.map(|cores| cores.to_string())).unwrap_or_default();
                let numbers = [look.seconds, look.accuracy, look.ci95].map(|number| number.to_string());
                let counts = [number as u64, look.steps, look.evaluations].map(|count| count.to_string());
                let cells = std::iter::once(entry.method.key()).chain(counts).chain(numbers);
                table.row(cells.chain([own, others]));
            }
        }
    }
    table
}

fn curves(race: &Race) -> Table {
    let mut table = Table::new(["estimator", "against", "spent", "accuracy", "accuracy_ci95"]);
    for entry in &race.entries {
        for cost in [Cost::Evaluations, Cost::Seconds] {
            for spent in places(entry, cost) {
                let accuracy = entry.accuracy(cost, spent);
                let numbers = [spent, accuracy.value, accuracy.ci95].map(|number| number.to_string());
                table.row([entry.method.key(), cost.label().into()].into_iter().chain(numbers));
            }
        }
    }
    table
}

fn reached(race: &Race) -> Table {
    let mut table = Table::new(["estimator", "run", "target", "evaluations", "seconds"]);
    let cell = |spent: Option<f64>| spent.map_or(String::new(), |spent| spent.to_string());
    for entry in &race.entries {
        let [evaluations, seconds] =
            [Cost::Evaluations, Cost::Seconds].map(|cost| entry.reached(cost, race.target));
        for (number, (evaluations, seconds)) in evaluations.into_iter().zip(seconds).enumerate() {
            let cells = [entry.method.key(), number.to_string(), race.target.to_string()];
            table.row(cells.into_iter().chain([cell(evaluations), cell(seconds)]));
        }
    }
    table
}
