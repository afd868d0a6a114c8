//! `metaburn resume`: continues an interrupted run from its latest checkpoint.

use super::eval::{self, known, print};
use super::exit;
use super::progress::{ProgressOption, Terminal};
use super::regression;
use super::setup::{Resources, changed};
use super::{CommandError, Outcome, launch};
use bilevel::Budget;
use bilevel::estimator::EstimatorSettings;
use bilevel::ranks::Ranks;
use clap::Args;
use metaburn::config::{Config, Purpose, RawConfig};
use metaburn::data::Part;
use metaburn::report::tensorboard::EventWatcher;
use metaburn::run::{RunDir, RunResult, Session, TrainingState, quoted};
use metaburn::support::settings::Difference;
use metaburn::train::{self, Ended, Evaluation, Measured, Trainer, Watcher};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

/// Continue an interrupted run, or train a finished one longer
///
/// Training continues from the latest checkpoint as if it had not been interrupted, and the learner is then tested. With
/// --steps or --set, settings that may change after training has begun are changed in the run's config.toml; a change to
/// any other setting is refused, with its name. The previous test result is kept beside the new one in results/.
///
/// Example: metaburn resume checkpoints/glyphs-5way-1shot-exact-001
///
/// Example: metaburn resume checkpoints/glyphs-5way-1shot-exact-001 --steps 4000
#[derive(Args)]
pub struct Resume {
    /// Run directory
    run_dir: PathBuf,
    /// Total number of outer steps, including those already taken (same as `--set outer.steps=N`)
    #[arg(long, value_name = "N")]
    steps: Option<u64>,
    /// Change a configuration key for the rest of the training, for example `--set outer.rate=0.0001`; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
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
        launch::together(|ranks| self.run_on(ranks))
    }

    fn run_on(self, ranks: Arc<dyn Ranks>) -> Outcome {
        let mut terminal = self.progress.terminal_of(&*ranks)?;
        let (run, before) = self.open(&*ranks)?;
        let steps = self.steps.map(|steps| format!("outer.steps={steps}"));
        let assignments: Vec<String> = self.set.iter().cloned().chain(steps).collect();
        let mut config = changed(&before, &assignments, Purpose::Training, "metaburn resume")?;
        let here = self.resources.over(&config)?;
        if let (Some(data), Some(here)) = (&mut config.data, &here.data)
            && data.path.is_none()
        {
            // Weights that were imported without their images: these are the run's images from now on.
            data.path.clone_from(&here.path);
        }
        let trainer = Trainer::resume_with(ranks, run, here, &mut terminal)?;
        let taken = trainer.training_state();
        self.check_budget(before.outer.budget, config.outer.budget, &taken)?;
        let step = taken.step;
        terminal.note(&format!("resuming {} after outer step {step}", self.run_dir.display()));
        let (changes, _) = config.changes(&before.described(), Purpose::Training);
        let changes: Vec<String> = changes
            .into_iter()
            .map(|Difference { key, first, second }| format!("{key}: {first} → {second}"))
            .collect();
        // What the run left to its images is decided by now.
        config = config.decided_as(trainer.config());
        if trainer.is_first() && config != before {
            trainer.run_dir().write_config(&config)?;
        }
        if !changes.is_empty() {
            let rate = trainer.rate();
            terminal
                .note(&format!("changed: {}; the next outer step has rate {rate:.3e}", changes.join(", ")));
        }
        if trainer.progress() >= 1.0 {
            terminal.note(&format!(
                "the budget is used up; to train longer: {} resume {} --steps N",
                program(),
                quoted(&self.run_dir)
            ));
        }
        train_and_test(trainer, terminal, &self.resources.flags(), changes, self.json)
    }

    /// Checks that a new budget, `wanted` after `before`, is not less than what the run has `taken`.
    ///
    /// # Errors
    /// Returns an error that says how much the run has taken.
    fn check_budget(&self, before: Budget, wanted: Budget, taken: &TrainingState) -> Result<(), String> {
        let (steps, evaluations) = (taken.step, taken.evaluations.total());
        let is_new = self.steps.is_some() || wanted != before;
        if !is_new || wanted.progress(steps, evaluations) <= 1.0 {
            return Ok(());
        }
        let (given, taken, unit) = match wanted {
            Budget::Steps(wanted) if self.steps.is_some() => {
                (format!("--steps {wanted}"), steps, "outer steps")
            }
            Budget::Steps(wanted) => (format!("--set outer.steps={wanted}"), steps, "outer steps"),
            Budget::Evaluations(wanted) => {
                (format!("--set outer.evaluations={wanted}"), evaluations, "gradient evaluations")
            }
        };
        Err(format!("{given}: the run has already taken {taken} {unit}; give a total of more than {taken}"))
    }

    /// The run and its configuration, which rank 0 reads for all.
    fn open(&self, ranks: &dyn Ranks) -> Result<(RunDir, Config), CommandError> {
        if ranks.rank() > 0 {
            let text = ranks.of_first(Vec::new());
            let raw = RawConfig::parse("the run's configuration", &String::from_utf8_lossy(&text))?;
            return Ok((RunDir::at(&self.run_dir), raw.without_data().check()?));
        }
        let (run, config) = RunDir::open(&self.run_dir)?;
        if ranks.count() > 1 {
            ranks.of_first(config.to_toml()?.into_bytes());
        }
        Ok((run, config))
    }
}

/// Trains until the budget is used up, tests, and prints the result. `flags` must be given again to resume the run; `changes`
/// are the settings that the command line changed.
pub fn train_and_test(
    mut trainer: Trainer,
    mut terminal: Terminal,
    flags: &str,
    changes: Vec<String>,
    json: bool,
) -> Outcome {
    let json_flag = if json { " --json" } else { "" };
    let command = format!("{} resume {}{flags}{json_flag}", program(), quoted(trainer.run_dir().path()));
    let Some(result) = finish(&mut trainer, &mut terminal, &command, changes)? else {
        return Ok(ExitCode::from(exit::INTERRUPTED));
    };
    if !trainer.is_first() {
        return Ok(ExitCode::SUCCESS);
    }
    // Saved first: nobody may read standard output any more.
    let saved = save(&trainer, &result);
    let known = known(&result, trainer.run_dir().path());
    let printed = if json || known.is_ok() { print(&result, json) } else { Ok(()) };
    saved?;
    known?;
    printed?;
    Ok(ExitCode::SUCCESS)
}

/// Saves the test of a run, if its last step is saved.
///
/// # Errors
/// Returns an error if either is not saved.
pub fn save(trainer: &Trainer, result: &RunResult) -> Result<(), train::Error> {
    trainer.check_saved()?;
    Ok(trainer.run_dir().write_test(result)?)
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
    changes: Vec<String>,
) -> Result<Option<RunResult>, train::Error> {
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
    let ranks = &trainer.learner().ranks;
    if ranks.count() > 1 {
        let (count, tasks, threads) = (ranks.count(), config.outer.meta_batch, opened.workers.threads);
        terminal.note(&format!(
            "{count} ranks share the {tasks} tasks of a meta-batch; threads per rank: {threads}"
        ));
        let cores = std::thread::available_parallelism().map_or(usize::MAX, usize::from);
        if opened.is_cpu() && threads > cores {
            terminal.warning(&format!(
                "a rank has {threads} threads, but the launcher allows it only {cores} of the cores: lower --threads, or allow \
                 more (mpirun --bind-to none, srun --cpus-per-task)"
            ));
        }
    }
    let step = trainer.training_state().step;
    let session =
        Session { changes, ..Session::beginning(step, format!("metaburn {}", arguments()), opened) };
    // From here on a signal lets the run save its state.
    terminal.begin(&config, trainer.progress(), command);
    if trainer.is_first()
        && let Err(error) = trainer.run_dir().note_session(&session)
    {
        terminal.warning(&format!("{error}; training continues, but this session is not recorded"));
    }
    let ended = if config.records.tensorboard && trainer.is_first() {
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
            RunResult::Accuracy(eval::result(&config, &evaluation, measured, &states))
        }
        Measured::Errors(errors) => {
            RunResult::Error(regression::result(&config, &evaluation, errors, &states))
        }
    }))
}

/// The episodes of `config` in a few words, as in `5-way 1-shot glyphs`.
fn episodes(config: &Config) -> String {
    let ways = config.data.as_ref().map_or_else(String::new, |_| format!("{}-way ", config.task.ways));
    format!("{ways}{}-shot {}", config.task.shots, config.source())
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
