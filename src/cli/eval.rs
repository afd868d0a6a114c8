//! `metaburn eval`: measures a trained run's accuracy, or error, on a split of its data.

use super::progress::Terminal;
use super::trained::{Checkpoint, Selection, Trained};
use super::{Outcome, output, regression};
use clap::{Args, ValueEnum};
use metaburn::config::Config;
use metaburn::report::Table;
use metaburn::run::{self, EvaluationResult, PartAccuracy, RunResult, Tested, TrainingState};
use metaburn::task::BatchNorm;
use metaburn::train::{self, Accuracy, EpisodeLoader, Episodes, Evaluation};
use std::path::Path;
use std::process::ExitCode;

/// Measure a run's accuracy on held-out episodes
///
/// The result is printed and saved in the run's results/ folder, in a separate file named after what was measured; the test
/// result of `train` is never changed. Episodes are as in the run's configuration unless options change them. With
/// --data, the run is measured on images other than those it was trained on. For a run on sinusoids, the result is the
/// mean squared error after each inner step.
///
/// Example: metaburn eval checkpoints/glyphs-5way-1shot-exact-001 --split test --episodes 10000
///
/// Example: metaburn eval checkpoints/glyphs-5way-1shot-exact-001 --ensemble 5 --batch-norm both
///
/// Example: metaburn eval checkpoints/glyphs-5way-1shot-exact-001 --data my-images --shots 3 --queries 2
#[derive(Args)]
pub struct Eval {
    #[command(flatten)]
    selection: Selection,
    /// Evaluate an ensemble: the mean of the logits of the run's K best checkpoints in validation; requires a run with
    /// checkpoint.keep_best ≥ K
    #[arg(
        long,
        value_name = "K",
        conflicts_with = "checkpoint",
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    ensemble: Option<u32>,
    /// Images from which batch norm computes its statistics [default: the run's model.batch_norm]
    #[arg(long, value_enum, value_name = "MODE")]
    batch_norm: Option<Mode>,
    /// Print the result as a JSON object; with `--batch-norm both`, print two objects, one per line
    #[arg(long)]
    json: bool,
}

/// Modes of batch norm.
#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    /// The query images, all together
    Transductive,
    /// The support images
    Support,
    /// Both in turn; they share the adaptation, which takes most of the time
    Both,
}

impl Eval {
    /// Runs the command.
    pub fn run(self) -> Outcome {
        let mut terminal = Terminal::new();
        let trained = self.selection.read(self.ensemble, &mut terminal)?;
        let own = trained.config.model.batch_norm;
        if self.batch_norm.is_some() && own == BatchNorm::Absent {
            let refused = "--batch-norm: the network of this run has no batch norm; leave the option out";
            return Err(refused.to_string().into());
        }
        let results: Vec<RunResult> = match &trained.episodes {
            Episodes::Sinusoids(source) => {
                vec![RunResult::Error(regression::measure(&trained, source, &terminal))]
            }
            Episodes::Images(loader) => {
                let results = match self.batch_norm {
                    None => measure(&trained, loader, [own], &terminal),
                    Some(Mode::Transductive) => {
                        measure(&trained, loader, [BatchNorm::Transductive], &terminal)
                    }
                    Some(Mode::Support) => measure(&trained, loader, [BatchNorm::Support], &terminal),
                    Some(Mode::Both) => {
                        measure(&trained, loader, [BatchNorm::Transductive, BatchNorm::Support], &terminal)
                    }
                };
                results.into_iter().map(RunResult::Accuracy).collect()
            }
        };
        // Saved first: nobody may read standard output any more. What cannot be saved is printed all the same.
        let saved: Vec<_> = results.iter().map(|result| save(&trained, result, &mut terminal)).collect();
        let known: Vec<_> = results.iter().map(|result| known(result, trained.run.path())).collect();
        let shown = self.json || known.iter().any(Result::is_ok);
        let printed = if shown { print_all(&results, self.json) } else { Ok(()) };
        saved.into_iter().collect::<Result<(), _>>()?;
        known.into_iter().collect::<Result<(), _>>()?;
        printed?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Saves a result of `trained`, and says where.
///
/// # Errors
/// Returns an error if it cannot be written.
fn save(trained: &Trained, result: &RunResult, terminal: &mut Terminal) -> Result<(), run::Error> {
    let file = trained.run.write_evaluation(result)?;
    terminal.note(&format!("result in {}", file.display()));
    Ok(())
}

/// Checks that there is an accuracy or an error, of the run in `path`.
///
/// # Errors
/// Returns an error if all episodes diverged, or any episode of a regression.
pub fn known(result: &RunResult, path: &Path) -> Result<(), train::Error> {
    match result {
        RunResult::Accuracy(result) if result.accuracy.percent().is_none() => Err(train::Error::NoAccuracy {
            episodes: result.episodes,
            steps: result.inner_steps.unwrap_or_default(),
            path: path.into(),
        }),
        RunResult::Error(result) if result.error.is_none() => Err(train::Error::NoError {
            diverged: result.diverged_episodes(),
            episodes: result.episodes,
            steps: result.inner_steps,
            path: path.into(),
        }),
        _ => Ok(()),
    }
}

/// The results of `trained` in these modes of batch norm.
fn measure<const N: usize>(
    trained: &Trained,
    loader: &EpisodeLoader,
    modes: [BatchNorm; N],
    terminal: &Terminal,
) -> Vec<EvaluationResult> {
    let Trained { config, evaluation, data, learner, checkpoints, .. } = trained;
    let (members, training_states): (Vec<_>, Vec<_>) = checkpoints
        .iter()
        .map(|Checkpoint { theta, training_state }| (theta.clone(), training_state.clone()))
        .unzip();
    let mut counter = terminal.counter(evaluation.episodes, "episodes");
    let accuracies = learner.evaluate(&members, loader, evaluation, modes, |done| counter.set(done));
    counter.finish();
    let measured = modes.into_iter().zip(accuracies);
    let result = |measured| EvaluationResult {
        data: data.clone(),
        ..result(config, evaluation, measured, &training_states)
    };
    measured.map(result).collect()
}

/// The accuracy in a mode of batch norm of the checkpoints of a run of `config`, with the settings and costs it depends on.
pub fn result(
    config: &Config,
    evaluation: &Evaluation,
    (batch_norm, accuracy): (BatchNorm, Accuracy),
    checkpoints: &[TrainingState],
) -> EvaluationResult {
    EvaluationResult {
        ci95: accuracy.ci95,
        loss: Some(accuracy.loss).filter(|loss| loss.is_finite()),
        episodes: accuracy.episodes,
        diverged_episodes: accuracy.diverged,
        ways: evaluation.shape.ways,
        shots: evaluation.shape.shots,
        queries: Some(evaluation.shape.queries),
        inner_steps: Some(evaluation.steps),
        batch_norm,
        seed: Some(config.seed),
        tested: Tested::new(checkpoints),
        data: None,
        accuracy: PartAccuracy::new(evaluation.part, accuracy.mean),
    }
}

/// Prints a result as text or as a JSON object.
///
/// # Errors
/// Returns an error if standard output cannot be written.
pub fn print(result: &RunResult, json: bool) -> std::io::Result<()> {
    match result {
        _ if json => output::print(serde_json::to_string(result)?),
        RunResult::Accuracy(result) => print_accuracy(result),
        RunResult::Error(result) => regression::print(result),
    }
}

fn print_accuracy(result: &EvaluationResult) -> std::io::Result<()> {
    let [accuracy, ci95] = numbers(result);
    output::print(format!(
        "{} accuracy {accuracy} % ± {ci95} ({}, batch norm {}), {}",
        result.accuracy.part().name(),
        episodes(result),
        result.batch_norm,
        learner(result),
    ))
}

/// The accuracy and its interval, percent; a dash each if there is no accuracy.
fn numbers(result: &EvaluationResult) -> [String; 2] {
    let number = |value: f64| if value.is_finite() { format!("{value:.2}") } else { "–".into() };
    [result.accuracy.percent().unwrap_or(f64::NAN), result.ci95].map(number)
}

/// Prints one result as [`print`] does, and several that differ in the mode of batch norm as a table or as lines of JSON.
fn print_all(results: &[RunResult], json: bool) -> std::io::Result<()> {
    let accuracies: Vec<_> = results
        .iter()
        .filter_map(|result| match result {
            RunResult::Accuracy(result) => Some(result),
            RunResult::Error(_) => None,
        })
        .collect();
    match accuracies[..] {
        [first, _, ..] if !json => print_table(first, &accuracies),
        _ => results.iter().try_for_each(|result| print(result, json)),
    }
}

/// Prints results that differ from the `first` in the mode of batch norm alone.
fn print_table(first: &EvaluationResult, results: &[&EvaluationResult]) -> std::io::Result<()> {
    let part = first.accuracy.part().name();
    let mut table = Table::new(["batch norm", &format!("{part} accuracy (%)"), "± 95 %", "loss"]);
    for result in results {
        let loss = result.loss.map_or_else(String::new, |loss| format!("{loss:.4}"));
        let [accuracy, ci95] = numbers(result);
        table.row([result.batch_norm.to_string(), accuracy, ci95, loss]);
    }
    output::print(format!("{}\n{}, {}", table.markdown(), episodes(first), learner(first)))
}

/// The episodes of a result: their number, shape and data.
fn episodes(result: &EvaluationResult) -> String {
    let queries = result.queries.map_or_else(String::new, |queries| {
        format!(" with {queries} quer{} a class", if queries == 1 { "y" } else { "ies" })
    });
    let diverged = match result.diverged_episodes {
        0 => String::new(),
        some => format!(", of which {some} diverged and count as wrong"),
    };
    let data = result.data.as_ref().map_or_else(String::new, |data| {
        let which = if data.all_classes { "all " } else { "" };
        format!(", drawn from {which}{} classes of {}", data.classes, data.title())
    });
    format!(
        "{} episodes{diverged}, {}-way {}-shot{queries}{data}",
        result.episodes, result.ways, result.shots
    )
}

/// What was evaluated: the checkpoints, their adaptation and the cost of training.
fn learner(result: &EvaluationResult) -> String {
    let inner_steps = match result.inner_steps {
        None => String::new(),
        Some(1) => "; evaluated after 1 inner step".into(),
        Some(steps) => format!("; evaluated after {steps} inner steps"),
    };
    result.tested.describe() + &inner_steps
}
