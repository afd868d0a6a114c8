//! `metaburn resume`: an interrupted run, from its latest checkpoint to the end.

use super::Outcome;
use super::eval::Result as TestResult;
use super::exit;
use super::progress::{Shown, Terminal};
use super::setup::Place;
use clap::Args;
use metaburn::config::Config;
use metaburn::data::Part;
use metaburn::estimator;
use metaburn::tensorboard::Followed;
use metaburn::trainer::{self, Ended, RunDir, Session, Trainer, Watcher, quoted};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Continue an interrupted run
///
/// It goes on in its directory from the latest checkpoint, as if it had not been interrupted, and is then
/// tested.
///
/// Example: metaburn resume checkpoints/glyphs-5way-1shot-exact-001
#[derive(Args)]
pub struct Resume {
    /// Directory of the run
    run_dir: PathBuf,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    shown: Shown,
    /// Print the result as one JSON object on standard output
    #[arg(long)]
    json: bool,
}

impl Resume {
    /// Runs the command.
    pub fn run(self) -> Outcome {
        let mut terminal = self.shown.terminal()?;
        let (_, config) = RunDir::open(&self.run_dir)?;
        let config = self.place.over(&config)?;
        let trainer = Trainer::resume(&self.run_dir, config, &mut terminal)?;
        let step = trainer.standing().step;
        terminal.note(&format!("resuming {} after outer step {step}", self.run_dir.display()));
        to_the_end(trainer, terminal, &self.place.flags(), self.json)
    }
}

/// Trains until the budget is used up, tests, and prints; `flags` are those that a resumption needs again.
pub fn to_the_end(mut trainer: Trainer, mut terminal: Terminal, flags: &str, json: bool) -> Outcome {
    let json_flag = if json { " --json" } else { "" };
    let command = format!("{} resume {}{flags}{json_flag}", program(), quoted(trainer.run_dir().path()));
    let Some(result) = finish(&mut trainer, &mut terminal, &command)? else {
        return Ok(ExitCode::from(exit::INTERRUPTED));
    };
    result.print(json)?;
    trainer.kept()?;
    result.keep(trainer.run_dir(), Part::Test.name())?;
    Ok(ExitCode::SUCCESS)
}

/// Trains until the budget is used up, and tests. `None` where the user stopped it: it is saved then, and told that
/// `command` goes on.
///
/// # Errors
/// If training fails, or what was stopped could not be saved.
pub fn finish(
    trainer: &mut Trainer,
    terminal: &mut Terminal,
    command: &str,
) -> Result<Option<TestResult>, trainer::Error> {
    let config = trainer.config().clone();
    let opened = &trainer.learner().opened;
    terminal.note(&format!(
        "{}-way {}-shot {}, estimator {}, on {} ({}); run directory {}",
        config.task.ways,
        config.task.shots,
        config.data.source,
        estimator_name(&config),
        opened.backend,
        opened.description,
        trainer.run_dir().path().display(),
    ));
    terminal.note(&trainer.plan().to_string());
    let session = Session::beginning(trainer.standing().step, format!("metaburn {}", words()), opened);
    if let Err(error) = trainer.run_dir().note_session(&session) {
        terminal.warning(&format!("{error}; training goes on without a record of this session"));
    }
    terminal.begin(&config, trainer.progress(), command);
    let ended = if config.records.tensorboard {
        let mut followed = Followed::new(trainer.run_dir().path(), terminal);
        let ended = trainer.run(&mut followed);
        followed.end();
        ended
    } else {
        trainer.run(terminal)
    };
    terminal.end();
    if ended? == Ended::Stopped {
        trainer.kept()?;
        let step = trainer.standing().step;
        terminal.warning(&format!("stopped and saved after outer step {step}; to go on:\n  {command}"));
        return Ok(None);
    }
    let episodes = config.eval.test_episodes;
    terminal.note(&format!("testing on {episodes} episodes"));
    let bar = terminal.counter(episodes, "test episodes");
    let accuracy = trainer.evaluate(Part::Test, episodes, |done| bar.set_position(done as u64));
    bar.finish_and_clear();
    Ok(Some(TestResult::new(&config, Part::Test, accuracy, trainer.standing())))
}

/// How this program was called, so that a command that is printed can be typed.
pub fn program() -> String {
    let called = std::env::args_os().next().map(PathBuf::from);
    called
        .filter(|path| path.components().count() > 1)
        .map_or_else(|| "metaburn".into(), |path| quoted(&path))
}

/// The words after the program's name, as a shell takes them.
pub fn words() -> String {
    let words: Vec<String> = std::env::args_os().skip(1).map(|word| quoted(Path::new(&word))).collect();
    words.join(" ")
}

/// The estimator as its configuration has it, and whether it is biased.
fn estimator_name(config: &Config) -> String {
    let mut keys = toml::Table::try_from(&config.estimator).unwrap_or_default();
    keys.remove("name");
    let keys: Vec<String> = keys.iter().map(|(key, value)| format!("{key} = {value}")).collect();
    let detail = if keys.is_empty() { String::new() } else { format!(" ({})", keys.join(", ")) };
    let unbiased = estimator::from_config(&config.estimator).is_unbiased(config.inner.steps);
    let bias = if unbiased { "" } else { ", biased" };
    format!("{}{detail}{bias}", config.estimator.name())
}
