//! Errors of runs that learn curves, as `eval` and `train` measure and print them.

use super::output;
use super::progress::Terminal;
use super::trained::{Checkpoint, Trained};
use metaburn::config::Config;
use metaburn::data::Sinusoids;
use metaburn::report::Table;
use metaburn::run::{RegressionResult, StepError, Tested, TrainingState};
use metaburn::train::Evaluation;

/// The most rows of a printed table.
const MOST_ROWS: usize = 12;

/// The result of `trained`, whose episodes come from `sinusoids`.
pub fn measure(trained: &Trained, sinusoids: &Sinusoids, terminal: &Terminal) -> RegressionResult {
    let Trained { config, evaluation, learner, checkpoints, .. } = trained;
    let members: Vec<_> = checkpoints.iter().map(|Checkpoint { theta, .. }| theta.clone()).collect();
    let training_states: Vec<_> =
        checkpoints.iter().map(|checkpoint| checkpoint.training_state.clone()).collect();
    let mut counter = terminal.counter(evaluation.episodes, "episodes");
    let errors = learner.squared_errors(&members, sinusoids, evaluation, |done| counter.set(done));
    counter.finish();
    result(config, evaluation, errors, &training_states)
}

/// The `errors` of the checkpoints of a run of `config`, with the settings and costs they depend on.
pub fn result(
    config: &Config,
    evaluation: &Evaluation,
    errors: Vec<StepError>,
    checkpoints: &[TrainingState],
) -> RegressionResult {
    let last = errors.last();
    RegressionResult {
        part: evaluation.part,
        error: last.and_then(|last| last.error),
        ci95: last.and_then(|last| last.ci95),
        errors,
        episodes: evaluation.episodes,
        shots: evaluation.shape.shots,
        queries: evaluation.shape.queries,
        inner_steps: evaluation.steps,
        seed: config.seed,
        tested: Tested::new(checkpoints),
    }
}

/// Prints a result as a table by inner step and a line.
///
/// # Errors
/// Returns an error if standard output cannot be written.
pub fn print(result: &RegressionResult) -> std::io::Result<()> {
    let mut table = Table::new(["inner steps", "mean squared error", "± 95 %", "median"]);
    for row in rows(result.inner_steps) {
        let StepError { inner_steps, error, ci95, median, .. } = result.errors[row];
        table.row([inner_steps.to_string(), number(error), number(ci95), number(median)]);
    }
    let plural = if result.inner_steps == 1 { "" } else { "s" };
    output::print(format!(
        "{}\n{} error {} ± {} after {} inner step{plural} ({} episodes, {}-shot with {} queries), {}",
        table.markdown(),
        result.part,
        number(result.error),
        number(result.ci95),
        result.inner_steps,
        result.episodes,
        result.shots,
        result.queries,
        result.tested.describe(),
    ))
}

/// The numbers of inner steps to show: all, or some up to `steps`.
fn rows(steps: usize) -> Vec<usize> {
    if steps < MOST_ROWS {
        return (0..=steps).collect();
    }
    let decades = std::iter::successors(Some(1), |decade: &usize| decade.checked_mul(10));
    let round = decades.flat_map(|decade| [1, 2, 5].map(|digit| decade * digit));
    std::iter::once(0).chain(round.take_while(|round| *round < steps)).chain([steps]).collect()
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "not finite".into(), |value| format!("{value:.4}"))
}

#[cfg(test)]
mod tests {
    use super::rows;

    #[test]
    fn long_inner_loops_show_some_steps_and_the_last() {
        assert_eq!(rows(0), [0]);
        assert_eq!(rows(3), [0, 1, 2, 3]);
        assert_eq!(rows(60), [0, 1, 2, 5, 10, 20, 50, 60]);
        assert_eq!(rows(1_000_000).len(), 20);
    }
}
