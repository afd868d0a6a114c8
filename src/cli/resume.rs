//! `metaburn resume`: continues an interrupted run from its latest checkpoint.

use super::Outcome;
use super::eval;
use super::exit;
use super::progress::{ProgressOption, Terminal};
use super::regression;
use super::setup::Resources;
use bilevel::estimator::EstimatorSettings;
use clap::Args;
use metaburn::config::Config;
use metaburn::data::Part;
use metaburn::report::tensorboard::EventWatcher;
use metaburn::run::{self, CheckpointSelector, EvaluationResult, RegressionResult, RunDir, Session, quoted};
use metaburn::train::{self, Ended, Evaluation, Measured, Trainer, Watcher};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Continue an interrupted run
///
/// Training continues from the latest checkpoint as if it had not been interrupted, and the learner is then tested.
///
/// Example: metaburn resume checkpoints/glyphs-5way-1shot-exact-001
#[derive(Args)]
pub struct Resume {
    /// Run directory
    run_dir: PathBuf,
    #[command(flatten)]
    resources: Resources,
    #[command(flatten)]
    progress: ProgressOption,
    /// Print the test result as a JSON object
    #[arg(long)]
    json: bool,
}

impl Resume {
    /// Runs the command.
    pub fn run(self) -> Outcome {
        let mut terminal = self.progress.terminal()?;
        let (run, config) = RunDir::open(&self.run_dir)?;
        let config = self.resources.over(&config)?;
        let trainer = Trainer::resume(run, config, &mut terminal)?;
        let step = trainer.training_state().step;
        terminal.note(&format!("resuming {} after outer step {step}", self.run_dir.display()));
        train_and_test(trainer, terminal, &self.resources.flags(), self.json)
    }
}

/// Trains until the budget is used up, tests, and prints the result. `flags` must be given again to resume the run.
pub fn train_and_test(mut trainer: Trainer, mut terminal: Terminal, flags: &str, json: bool) -> Outcome {
    let json_flag = if json { " --json" } else { "" };
    let command = format!("{} resume {}{flags}{json_flag}", program(), quoted(trainer.run_dir().path()));
    let Some(result) = finish(&mut trainer, &mut terminal, &command)? else {
        return Ok(ExitCode::from(exit::INTERRUPTED));
    };
    result.print(json)?;
    trainer.check_saved()?;
    result.write(&trainer)?;
    Ok(ExitCode::SUCCESS)
}

/// Trains until the budget is used up, and tests. If the user stops the run, saves it, prints the `command` that
/// continues it, and returns `None`.
///
/// # Errors
/// Returns an error if training fails or the stopped run cannot be saved.
pub fn finish(
    trainer: &mut Trainer,
    terminal: &mut Terminal,
    command: &str,
) -> Result<Option<TestResult>, train::Error> {
    let config = trainer.config().clone();
    let opened = &trainer.learner().opened;
    terminal.note(&format!(
        "{}, estimator {}, on {} ({}); run directory {}",
        episodes(&config),
        estimator_names(&config),
        opened.backend,
        opened.description,
        trainer.run_dir().path().display(),
    ));
    terminal.note(&trainer.plan().to_string());
    let session =
        Session::beginning(trainer.training_state().step, format!("metaburn {}", arguments()), opened);
    if let Err(error) = trainer.run_dir().note_session(&session) {
        terminal.warning(&format!("{error}; training continues, but this session is not recorded"));
    }
    terminal.begin(&config, trainer.progress(), command);
    let ended = if config.records.tensorboard {
        let mut events = EventWatcher::new(trainer.run_dir(), terminal);
        let ended = trainer.run(&mut events);
        events.finish();
        ended
    } else {
        trainer.run(terminal)
    };
    terminal.end();
    if ended? == Ended::Stopped {
        trainer.check_saved()?;
        let step = trainer.training_state().step;
        terminal.warning(&format!("stopped and saved after outer step {step}; to continue:\n  {command}"));
        return Ok(None);
    }
    let episodes = config.eval.test_episodes;
    terminal.note(&format!("testing on {episodes} episodes"));
    let mut counter = terminal.counter(episodes, "test episodes");
    let measured = trainer.evaluate(Part::Test, episodes, |done| counter.set(done));
    counter.finish();
    let evaluation = Evaluation::new(&config, Part::Test, episodes);
    let states = [trainer.training_state()];
    Ok(Some(match measured {
        Measured::Accuracy(accuracy) => {
            let measured = (config.model.batch_norm, accuracy);
            TestResult::Accuracy(eval::result(&config, &evaluation, measured, &states))
        }
        Measured::Errors(errors) => {
            TestResult::Error(regression::result(&config, &evaluation, errors, &states))
        }
    }))
}

/// The result of the test after training.
pub enum TestResult {
    Accuracy(EvaluationResult),
    Error(RegressionResult),
}

impl TestResult {
    /// Prints it as text or as a JSON object.
    ///
    /// # Errors
    /// Returns an error if standard output cannot be written.
    fn print(&self, json: bool) -> std::io::Result<()> {
        match self {
            Self::Accuracy(result) => eval::print(result, json),
            Self::Error(result) => regression::print(result, json),
        }
    }

    /// Writes it into the run directory of `trainer`.
    ///
    /// # Errors
    /// Returns an error if the file cannot be written.
    pub fn write(&self, trainer: &Trainer) -> Result<(), run::Error> {
        let (run, config, latest) = (trainer.run_dir(), trainer.config(), CheckpointSelector::Latest);
        match self {
            Self::Accuracy(result) => run.write_result(config, latest, result),
            Self::Error(result) => run.write_regression(config, latest, result),
        }
    }
}

/// The episodes of `config` in a few words, as in `5-way 1-shot glyphs`.
fn episodes(config: &Config) -> String {
    let ways = config.data.as_ref().map(|_| format!("{}-way ", config.task.ways));
    format!("{}{}-shot {}", ways.unwrap_or_default(), config.task.shots, config.source())
}

/// The name or path with which this program was called, for commands that are printed.
pub fn program() -> String {
    let called = std::env::args_os().next().map(PathBuf::from);
    called
        .filter(|path| path.components().count() > 1)
        .map_or_else(|| "metaburn".into(), |path| quoted(&path))
}

/// The arguments of this program, quoted for a shell.
pub fn arguments() -> String {
    let words: Vec<String> = std::env::args_os().skip(1).map(|word| quoted(Path::new(&word))).collect();
    words.join(" ")
}

/// The estimators in turn, each with its name and settings, and whether it is biased.
fn estimator_names(config: &Config) -> String {
    let named = |estimator| estimator_name(estimator, config.inner.steps);
    let earlier = config.estimator.earlier().iter();
    let earlier =
        earlier.map(|phase| format!("{}, until step {}, then ", named(&phase.estimator), phase.until));
    earlier.collect::<String>() + &named(config.estimator.last())
}

/// The estimator's name and settings, and whether it is biased for `steps` inner steps.
fn estimator_name(estimator: &EstimatorSettings, steps: usize) -> String {
    let mut keys = toml::Table::try_from(estimator).unwrap_or_default();
    keys.remove("name");
    let keys: Vec<String> = keys.iter().map(|(key, value)| format!("{key} = {value}")).collect();
    let detail = if keys.is_empty() { String::new() } else { format!(" ({})", keys.join(", ")) };
    let unbiased = estimator.build().is_unbiased(steps);
    let bias = if unbiased { "" } else { ", biased" };
    format!("{}{detail}{bias}", estimator.name())
}
