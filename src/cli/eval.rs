//! `metaburn eval`: measures a trained run's accuracy, or error, on a split of its data.

use super::progress::Terminal;
use super::trained::{Checkpoint, Overrides, Selection, Trained};
use super::{Outcome, output, regression};
use clap::{Args, ValueEnum};
use metaburn::config::Config;
use metaburn::report::Table;
use metaburn::run::{CheckpointSelector, EvaluationResult, PartAccuracy, TrainingState};
use metaburn::task::BatchNorm;
use metaburn::train::{Accuracy, EpisodeLoader, Episodes, Evaluation};
use std::process::ExitCode;

/// Measure a run's accuracy on held-out episodes
///
/// The result is printed and saved in the run's results/ folder. For a run on sinusoids it is the mean squared error after each
/// inner step.
///
/// Example: metaburn eval checkpoints/glyphs-5way-1shot-exact-001 --split test --episodes 10000
///
/// Example: metaburn eval checkpoints/glyphs-5way-1shot-exact-001 --ensemble 5 --batch-norm both
#[derive(Args)]
pub struct Eval {
    #[command(flatten)]
    selection: Selection,
    /// Evaluate an ensemble, the mean logits of the run's K best checkpoints by validation; needs a run with
    /// checkpoint.keep_best ≥ K
    #[arg(
        long,
        value_name = "K",
        conflicts_with = "checkpoint",
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    ensemble: Option<u32>,
    /// Images over which batch norm takes its statistics [default: the run's model.batch_norm]
    #[arg(long, value_enum, value_name = "MODE")]
    batch_norm: Option<Mode>,
    #[command(flatten)]
    overrides: Overrides,
    /// Print the result as a JSON object; with `--batch-norm both`, one on each of two lines
    #[arg(long)]
    json: bool,
}

/// Modes of batch norm.
#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    /// Those of the query set, all together
    Transductive,
    /// Those of the support set
    Support,
    /// Each in turn; both share the adaptation, which takes most of the time
    Both,
}

impl Eval {
    /// Runs the command.
    pub fn run(self) -> Outcome {
        let mut terminal = Terminal::new();
        let trained = self.selection.read(self.ensemble, self.overrides, &mut terminal)?;
        let own = trained.config.model.batch_norm;
        if self.batch_norm.is_some() && own == BatchNorm::Absent {
            return Err(
                "--batch-norm: the network of this run has no batch norm; leave the option out".into()
            );
        }
        let checkpoint = self.ensemble.map_or(self.selection.checkpoint, |_| CheckpointSelector::Best);
        let loader = match &trained.episodes {
            Episodes::Images(loader) => loader,
            Episodes::Sinusoids(sinusoids) => {
                let result = regression::measure(&trained, sinusoids, &terminal);
                regression::print(&result, self.json)?;
                trained.run.write_regression(&trained.config, checkpoint, &result)?;
                return Ok(ExitCode::SUCCESS);
            }
        };
        let results = match self.batch_norm {
            None => measure(&trained, loader, [own], &terminal),
            Some(Mode::Transductive) => measure(&trained, loader, [BatchNorm::Transductive], &terminal),
            Some(Mode::Support) => measure(&trained, loader, [BatchNorm::Support], &terminal),
            Some(Mode::Both) => {
                measure(&trained, loader, [BatchNorm::Transductive, BatchNorm::Support], &terminal)
            }
        };
        print_all(&results, self.json)?;
        for result in &results {
            trained.run.write_result(&trained.config, checkpoint, result)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The results of `trained` in these modes of batch norm.
fn measure<const N: usize>(
    trained: &Trained,
    loader: &EpisodeLoader,
    modes: [BatchNorm; N],
    terminal: &Terminal,
) -> Vec<EvaluationResult> {
    let Trained { config, evaluation, learner, checkpoints, .. } = trained;
    let (members, training_states): (Vec<_>, Vec<_>) = checkpoints
        .iter()
        .map(|Checkpoint { theta, training_state }| (theta.clone(), training_state.clone()))
        .unzip();
    let mut counter = terminal.counter(evaluation.episodes, "episodes");
    let accuracies = learner.evaluate(&members, loader, evaluation, modes, |done| counter.set(done));
    counter.finish();
    let measured = modes.into_iter().zip(accuracies);
    measured.map(|measured| result(config, evaluation, measured, &training_states)).collect()
}

/// The accuracy in a mode of batch norm of the checkpoints of a run of `config`, with the settings and costs it depends on.
pub fn result(
    config: &Config,
    evaluation: &Evaluation,
    (batch_norm, accuracy): (BatchNorm, Accuracy),
    checkpoints: &[TrainingState],
) -> EvaluationResult {
    let highest = |count: fn(&TrainingState) -> u64| checkpoints.iter().map(count).max().unwrap_or_default();
    EvaluationResult {
        ci95: accuracy.ci95,
        loss: Some(accuracy.loss).filter(|loss| loss.is_finite()),
        episodes: accuracy.episodes,
        ways: evaluation.shape.ways,
        shots: evaluation.shape.shots,
        queries: Some(evaluation.shape.queries),
        inner_steps: Some(evaluation.steps),
        batch_norm,
        seed: Some(config.seed),
        ensemble: checkpoints.len(),
        checkpoints: checkpoints.iter().map(|state| state.step).collect(),
        steps: highest(|state| state.step),
        gradient_evaluations: highest(|state| state.evaluations.total()),
        seconds: checkpoints.iter().map(|state| state.seconds).fold(0.0, f64::max),
        accuracy: PartAccuracy::new(evaluation.part, accuracy.mean),
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
        "{} accuracy {:.2} % ± {:.2} ({}, batch norm {}), {}",
        result.accuracy.part().name(),
        result.accuracy.percent(),
        result.ci95,
        episodes(result),
        result.batch_norm,
        learner(result),
    ))
}

/// Prints one result as [`print`] does, and several that differ in the mode of batch norm as a table or as lines of JSON.
fn print_all(results: &[EvaluationResult], json: bool) -> std::io::Result<()> {
    let (first, others) = match results {
        [first, others @ ..] if !json => (first, others),
        all => return all.iter().try_for_each(|result| print(result, true)),
    };
    if others.is_empty() {
        return print(first, false);
    }
    let part = first.accuracy.part().name();
    let mut table = Table::new(["batch norm", &format!("{part} accuracy (%)"), "± 95 %", "loss"]);
    for result in results {
        let loss = result.loss.map_or_else(String::new, |loss| format!("{loss:.4}"));
        let (accuracy, ci95) = (format!("{:.2}", result.accuracy.percent()), format!("{:.2}", result.ci95));
        table.row([result.batch_norm.to_string(), accuracy, ci95, loss]);
    }
    output::print(format!("{}\n{}, {}", table.markdown(), episodes(first), learner(first)))
}

/// The episodes of a result: their number and shape.
fn episodes(result: &EvaluationResult) -> String {
    format!("{} episodes, {}-way {}-shot", result.episodes, result.ways, result.shots)
}

/// What was evaluated: the checkpoints, their adaptation and the cost of training.
fn learner(result: &EvaluationResult) -> String {
    let inner_steps = match result.inner_steps {
        None => String::new(),
        Some(1) => "; evaluated after 1 inner step".into(),
        Some(steps) => format!("; evaluated after {steps} inner steps"),
    };
    let ensemble = match result.ensemble {
        1 => String::new(),
        members => {
            let list: Vec<String> = result.checkpoints.iter().map(u64::to_string).collect();
            format!("ensemble of the {members} checkpoints after outer steps {}, ", list.join(", "))
        }
    };
    format!(
        "{ensemble}after {} outer steps, {} gradient evaluations, {:.0} s of training{inner_steps}",
        result.steps, result.gradient_evaluations, result.seconds
    )
}
