//! `metaburn sweep`: every combination of settings and seeds, one table, one figure.

use super::progress::{Shown, duration};
use super::resume::{finish, program, words};
use super::setup::Place;
use super::{Outcome, exit, output};
use clap::Args;
use metaburn::config;
use metaburn::data::Part;
use metaburn::study::sweep::{self, Run, Stands, Swept};
use metaburn::study::take_up;
use metaburn::trainer::{Error, Watcher};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// Train over settings and seeds, for one table and one figure
///
/// The file names a base configuration, seeds, keys for every run ([set]), values to combine ([grid]) and
/// settings with a name ([[run]]). All of it is checked before the first run starts. Each run is a run
/// directory below the sweep's folder, for resume, eval and compare; table.md, table.csv, figure.svg and
/// figure.png lie beside them. Given again, the command goes on where it stopped; seeds and values can be
/// added.
///
/// Example: metaburn sweep configs/sweep-estimators.toml
///
/// Example: metaburn sweep configs/sweep-estimators.toml --set outer.steps=20 --out checkpoints/short --list
#[derive(Args)]
pub struct Sweep {
    /// Sweep file (TOML)
    file: PathBuf,
    /// Sets one key of every run, as in `--set outer.steps=50`; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    place: Place,
    /// Folder for runs, table and figure; without it, checkpoints/sweep-NAME, after the file
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    shown: Shown,
    /// Only list the runs and what has become of them
    #[arg(long)]
    list: bool,
    /// Print the table as one JSON object on standard output
    #[arg(long, conflicts_with = "list")]
    json: bool,
}

impl Sweep {
    /// Runs the command.
    pub fn run(self) -> Outcome {
        let assignments: Vec<String> = self.set.iter().cloned().chain(self.place.assignments()).collect();
        let plan = config::Sweep::read(&self.file, &assignments)?;
        let folder = self.folder();
        let runs = sweep::runs(&plan, &folder);
        sweep::check(&runs)?;
        if self.list {
            return list(&runs);
        }
        if !carry_out(&runs, &self.shown)? {
            return Ok(ExitCode::from(exit::INTERRUPTED));
        }
        self.print(&sweep::write(&plan, &runs, &folder)?)
    }

    fn folder(&self) -> PathBuf {
        let name = self.file.file_stem().unwrap_or_default().to_string_lossy();
        let name = name.strip_prefix("sweep-").unwrap_or(&name);
        self.out.clone().unwrap_or_else(|| PathBuf::from("checkpoints").join(format!("sweep-{name}")))
    }

    fn print(&self, swept: &Swept) -> Outcome {
        if self.json {
            output::print(serde_json::to_string(swept)?)?;
        } else {
            output::print(swept.markdown.trim_end())?;
            let figure = swept.figure.iter().map(|figure| format!(" and {}", figure.display()));
            output::print(format!("see {}{}", swept.table.display(), figure.collect::<String>()))?;
        }
        if swept.figure.is_none() {
            eprintln!("every run diverged; lower outer.rate or inner.rate, or set outer.clip");
            return Ok(ExitCode::from(exit::FAILED));
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Does what is left of `runs`; whether nothing is left then, or the user stopped it.
fn carry_out(runs: &[Run], shown: &Shown) -> Result<bool, Box<dyn std::error::Error>> {
    let command = format!("{} {}", program(), words());
    let mut left = Vec::new();
    for run in runs {
        if run.stands()? == Stands::Open {
            left.push(run);
        }
    }
    let began = Instant::now();
    for (done, run) in left.iter().enumerate() {
        let mut terminal = shown.terminal()?;
        let pace = began.elapsed().as_secs_f64() / done.max(1) as f64;
        let time = match done {
            0 => String::new(),
            _ => format!(", about {} left in all", duration(pace * (left.len() - done) as f64)),
        };
        let number = runs.len() - left.len() + done + 1;
        terminal.note(&format!("run {number} of {}: {}{time}", runs.len(), run.name()));
        let mut trainer = take_up(&run.path, &run.config, &mut terminal)?;
        match finish(&mut trainer, &mut terminal, &command) {
            Ok(None) => return Ok(false),
            Ok(Some(result)) => {
                trainer.kept()?;
                result.keep(trainer.run_dir(), Part::Test.name())?;
            }
            Err(Error::Diverged { step, .. }) => {
                terminal.warning(&format!("{} diverged at outer step {step}; the others go on", run.name()));
                run.diverged(step)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(true)
}

fn list(runs: &[Run]) -> Outcome {
    for run in runs {
        let stands = match run.stands()? {
            Stands::Open => "to do".into(),
            Stands::Finished(score) => format!("test accuracy {:.2} %", score.test_accuracy),
            Stands::Diverged(step) => format!("diverged at outer step {step}"),
        };
        output::print(format!("{}: {stands}", run.path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}
