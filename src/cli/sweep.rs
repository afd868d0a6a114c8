//! `metaburn sweep`: trains every combination of settings and seeds, for one table and one figure.

use super::eval::known;
use super::progress::{ProgressOption, duration};
use super::resume::{arguments, finish, program, save};
use super::setup::Resources;
use super::{Outcome, exit, launch, output};
use clap::Args;
use metaburn::config;
use metaburn::study::Error;
use metaburn::study::sweep::{self, Run, RunState, SweepResult};
use metaburn::study::{Listed, RunImages, index, start_or_resume};
use metaburn::train::{Error as TrainError, Watcher};
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// Train with several settings and seeds, and summarise the runs in a table and a figure
///
/// The file gives a base configuration, seeds, keys for every run ([set]), values to combine ([grid]) and named settings
/// ([[run]]). Everything is checked before the first run starts. Each run has its own run directory in the sweep's
/// folder, which resume, eval and compare accept; table.md, table.csv and figures (SVG and PNG) are written beside them.
/// To continue an interrupted sweep, run the same command again; seeds and values can be added.
///
/// A scheduler can train each run as a separate job, on any machine that can access the folder: --list --json lists the
/// runs, --only trains one of them, and the command without --only then writes the table and the figure.
///
/// Example: metaburn sweep configs/sweep-estimators.toml
///
/// Example: metaburn sweep configs/sweep-estimators.toml --set outer.steps=20 --out checkpoints/short --list
#[derive(Args)]
pub struct Sweep {
    /// Sweep file (TOML)
    file: PathBuf,
    /// Set a configuration key of every run, for example `--set outer.steps=50`; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    resources: Resources,
    /// Folder for runs, table and figure [default: checkpoints/sweep-NAME, with the file's name]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    progress: ProgressOption,
    /// List the runs and their states without training
    #[arg(long)]
    list: bool,
    /// Train only the run with this name or number (from 0), and write no table; may be repeated
    #[arg(long, value_name = "NAME|INDEX", conflicts_with_all = ["list", "json"])]
    only: Vec<String>,
    /// Print the table as a JSON object; with --list, the runs
    #[arg(long)]
    json: bool,
}

impl Sweep {
    /// Runs the command.
    pub fn run(self) -> Outcome {
        if self.list || !self.only.is_empty() {
            return self.run_alone();
        }
        launch::alone("give each process its own run with --only", || self.run_alone())
    }

    fn run_alone(&self) -> Outcome {
        let assignments: Vec<String> = self.set.iter().cloned().chain(self.resources.assignments()).collect();
        let plan = config::Sweep::read(&self.file, &assignments)?;
        let folder = self.folder();
        let mut runs = sweep::runs(&plan, &folder);
        if !self.only.is_empty() {
            runs = chosen(&self.only, &runs)?;
        }
        let images = sweep::check(&runs)?;
        if self.list {
            return list(&runs, self.json);
        }
        if !train_all(&runs, images, &self.progress)? {
            return Ok(ExitCode::from(exit::INTERRUPTED));
        }
        if !self.only.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        self.print(&sweep::write(&plan, &runs, &folder)?)
    }

    fn folder(&self) -> PathBuf {
        let name = self.file.file_stem().unwrap_or_default().to_string_lossy();
        let name = name.strip_prefix("sweep-").unwrap_or(&name);
        self.out.clone().unwrap_or_else(|| PathBuf::from("checkpoints").join(format!("sweep-{name}")))
    }

    fn print(&self, swept: &SweepResult) -> Outcome {
        if self.json {
            output::print(serde_json::to_string(swept)?)?;
        } else {
            output::print(swept.markdown.trim_end())?;
            let figures = swept.figure.iter().chain(&swept.by_key);
            let figures = figures.map(|figure| format!(", {}", figure.display())).collect::<String>();
            output::print(format!("see {}{figures}", swept.table.display()))?;
        }
        if let Some(apart) = &swept.apart {
            let which = swept.measure.plural();
            output::say(format_args!("warning: not all these {which} can be compared: {apart}"));
        }
        if swept.figure.is_none() {
            output::say(format_args!(
                "no run has an {}: each diverged, in training or in its test; lower outer.rate or inner.rate, or set outer.clip",
                swept.measure.name()
            ));
            return Ok(ExitCode::from(exit::FAILED));
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Trains the unfinished ones of `runs`, all on the same `images`. Returns false if the user stopped.
fn train_all(
    runs: &[Run],
    mut images: RunImages,
    progress: &ProgressOption,
) -> Result<bool, super::CommandError> {
    let command = format!("{} {}", program(), arguments());
    let mut left = Vec::new();
    for run in runs {
        if run.state()? == RunState::Open {
            left.push(run);
        }
    }
    let began = Instant::now();
    for (done, run) in left.iter().enumerate() {
        let mut terminal = progress.terminal()?;
        let pace = began.elapsed().as_secs_f64() / done.max(1) as f64;
        let time = match done {
            0 => String::new(),
            _ => format!(", about {} left in total", duration(pace * (left.len() - done) as f64)),
        };
        let number = runs.len() - left.len() + done + 1;
        terminal.note(&format!("run {number} of {}: {}{time}", runs.len(), run.name()));
        let mut trainer = start_or_resume(&run.path, &run.config, &mut terminal)?;
        images.add(&run.name(), &run.config, &trainer.training_state().data)?;
        match finish(&mut trainer, &mut terminal, &command, Vec::new()) {
            Ok(None) => return Ok(false),
            Ok(Some(result)) => {
                save(&trainer, &result)?;
                if let Err(error) = known(&result, trainer.run_dir().path()) {
                    terminal.warning(&format!("{}: {error}; continuing with the other runs", run.name()));
                }
            }
            Err(TrainError::Diverged { step, .. }) => {
                terminal.warning(&format!(
                    "{} diverged at outer step {step}; continuing with the other runs",
                    run.name()
                ));
                run.mark_diverged(step)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(true)
}

/// Those of `runs` that `only` names.
fn chosen(only: &[String], runs: &[Run]) -> Result<Vec<Run>, Error> {
    let names: Vec<String> = runs.iter().map(Run::name).collect();
    only.iter().map(|chosen| Ok(runs[index(chosen, &names)?].clone())).collect()
}

fn list(runs: &[Run], json: bool) -> Outcome {
    let listed = |(index, run): (usize, &Run)| Ok(Listed { index, name: run.name(), state: run.state()? });
    let listed: Vec<Listed<RunState>> =
        runs.iter().enumerate().map(listed).collect::<Result<_, metaburn::study::Error>>()?;
    if json {
        let measure = runs.first().map(|run| run.measure().name());
        output::print(serde_json::to_string(&json!({ "measure": measure, "runs": listed }))?)?;
        return Ok(ExitCode::SUCCESS);
    }
    for (Listed { index, state, .. }, run) in listed.into_iter().zip(runs) {
        let state = match state {
            RunState::Open => "to do".into(),
            RunState::Finished(score) => {
                let measure = run.measure();
                match score.value {
                    Some(value) => format!(
                        "test {} {} ({} episodes)",
                        measure.name(),
                        measure.shown(value),
                        score.episodes
                    ),
                    None if score.diverged_episodes == score.episodes => {
                        format!("no {}: all {} test episodes diverged", measure.name(), score.episodes)
                    }
                    None => format!(
                        "no {}: {} of {} test episodes diverged",
                        measure.name(),
                        score.diverged_episodes,
                        score.episodes
                    ),
                }
            }
            RunState::Diverged { step } => format!("diverged at outer step {step}"),
        };
        output::print(format!("{index} {}: {state}", run.path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}
