//! `metaburn resume`: an interrupted run, from its latest checkpoint to the end.

use super::Outcome;
use super::eval::Result as TestResult;
use super::progress::{INTERRUPTED_CODE, Terminal};
use super::setup::Place;
use clap::Args;
use metaburn::config::{Config, Estimator};
use metaburn::data::Part;
use metaburn::estimator;
use metaburn::trainer::{Ended, RunDir, Trainer, Watcher, quoted};
use std::path::PathBuf;
use std::process::ExitCode;

/// Continue an interrupted run
///
/// Example: metaburn resume checkpoints/glyphs-5way-1shot-exact-001
#[derive(Args)]
pub struct Resume {
    /// Directory of the run
    run_dir: PathBuf,
    #[command(flatten)]
    place: Place,
    /// Print the result as one JSON object on standard output
    #[arg(long)]
    json: bool,
}

impl Resume {
    /// Runs the command.
    pub fn run(self) -> Outcome {
        let mut terminal = Terminal::new();
        let (_, config) = RunDir::open(&self.run_dir)?;
        let config = self.place.over(&config)?;
        let trainer = Trainer::resume(&self.run_dir, config, &mut terminal)?;
        let step = trainer.standing().step;
        terminal.note(&format!("resuming {} after outer step {step}", self.run_dir.display()));
        to_the_end(trainer, terminal, self.json)
    }
}

/// Trains until the budget is used up, then tests.
pub fn to_the_end(mut trainer: Trainer, mut terminal: Terminal, json: bool) -> Outcome {
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
    terminal.begin(&config, trainer.progress());
    let ended = trainer.run(&mut terminal);
    terminal.end();
    if ended? == Ended::Stopped {
        let (step, path) = (trainer.standing().step, quoted(trainer.run_dir().path()));
        terminal.warning(&format!(
            "stopped and saved after outer step {step}; to go on:\n  metaburn resume {path}"
        ));
        return Ok(ExitCode::from(INTERRUPTED_CODE));
    }
    let episodes = config.eval.test_episodes;
    terminal.note(&format!("testing on {episodes} episodes"));
    let bar = terminal.counter(episodes, "test episodes");
    let accuracy = trainer.evaluate(Part::Test, episodes, |done| bar.set_position(done as u64));
    bar.finish_and_clear();
    let result = TestResult::new(&config, Part::Test, accuracy, trainer.standing());
    result.keep(trainer.run_dir(), Part::Test.name())?;
    result.print(json)?;
    Ok(ExitCode::SUCCESS)
}

/// The estimator as a person would write it, and whether it is biased.
fn estimator_name(config: &Config) -> String {
    let name = match &config.estimator {
        Estimator::FirstOrder => "first-order".into(),
        Estimator::Truncated { truncate } => format!("truncated to {truncate} steps"),
        Estimator::Exact => "exact".into(),
        Estimator::Ufom { q, coin, .. } => format!("UFOM (q = {q}, coin {coin})"),
        Estimator::Adaptive { coin, costs, .. } => format!("adaptive UFOM (coin {coin}, costs {costs})"),
        Estimator::StepCoins { p } => format!("step coins (p = {p})"),
    };
    let unbiased = estimator::from_config(&config.estimator).is_unbiased(config.inner.steps);
    if unbiased { name } else { format!("{name} (biased)") }
}
