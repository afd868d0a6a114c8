//! `metaburn eval`: measures a trained run's accuracy on a split of its data.

use super::progress::Terminal;
use super::trained::{Selection, Trained};
use super::{Outcome, output};
use clap::Args;
use metaburn::config::Config;
use metaburn::data::Part;
use metaburn::run::{EvaluationResult, PartAccuracy, TrainingState};
use metaburn::train::Accuracy;
use std::process::ExitCode;

/// Measure a run's accuracy on held-out episodes
///
/// The result is printed and saved in the run's results/ folder.
///
/// Example: metaburn eval checkpoints/glyphs-5way-1shot-exact-001 --split test --episodes 2000
#[derive(Args)]
pub struct Eval {
    #[command(flatten)]
    selection: Selection,
    /// Print the result as a JSON object
    #[arg(long)]
    json: bool,
}

impl Eval {
    /// Runs the command.
    pub fn run(self) -> Outcome {
        let mut terminal = Terminal::new();
        let Trained { part, episodes, run, config, training_state, shape, learner, loader, theta } =
            self.selection.read(&mut terminal)?;
        let bar = terminal.counter(episodes, "episodes");
        let steps = config.inner.eval_steps;
        let accuracy = learner
            .evaluate(&theta, &loader, part, &shape, (episodes, steps), |done| bar.set_position(done as u64));
        bar.finish_and_clear();
        let result = result(&config, part, accuracy, &training_state);
        print(&result, self.json)?;
        run.write_result(self.selection.checkpoint, &result)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The `accuracy` on `part` of a run of `config` at `training_state`, with the settings and costs it depends on.
pub fn result(
    config: &Config,
    part: Part,
    accuracy: Accuracy,
    training_state: &TrainingState,
) -> EvaluationResult {
    EvaluationResult {
        ci95: accuracy.ci95,
        loss: Some(accuracy.loss).filter(|loss| loss.is_finite()),
        episodes: accuracy.episodes,
        ways: config.task.ways,
        shots: config.task.shots,
        batch_norm: config.model.batch_norm,
        steps: training_state.step,
        gradient_evaluations: training_state.evaluations.total(),
        seconds: training_state.seconds,
        accuracy: PartAccuracy::new(part, accuracy.mean),
    }
}

/// Prints a result as text or as a JSON object.
///
/// # Errors
/// Returns an error if standard output cannot be written.
pub fn print(result: &EvaluationResult, json: bool) -> std::io::Result<()> {
    if json {
        return output::print(serde_json::to_string(result)?);
    }
    output::print(format!(
        "{} accuracy {:.2} % ± {:.2} ({} episodes, {}-way {}-shot, batch norm {}), after {} outer steps, {} gradient \
         evaluations, {:.0} s of training",
        result.accuracy.part().name(),
        result.accuracy.percent(),
        result.ci95,
        result.episodes,
        result.ways,
        result.shots,
        result.batch_norm,
        result.steps,
        result.gradient_evaluations,
        result.seconds,
    ))
}
