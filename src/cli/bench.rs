//! `metaburn bench`: an outer step's time, memory and arithmetic.
//!
//! Several rows are measured by a process each, as other frameworks' are: none finds memory that
//! another left, and each has its own peak.

use super::progress::Terminal;
use super::setup::Place;
use super::{Outcome, output};
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use metaburn::backend;
use metaburn::bench::{self, Asked, DISTURBED, ESTIMATORS, Measured, Repeats, SETTINGS, Setting};
use metaburn::config::{self, Config};
use std::process::{Command, ExitCode, Stdio};

/// An estimator's name and the configuration keys that it stands for.
type Named = (&'static str, &'static [&'static str]);

/// Time an outer step: inner loops, meta-gradient, Adam
///
/// A is 16 tasks of 5-way 1-shot with 5 queries a class and 5 inner steps; B is 4 of 20-way 1-shot with 1 query
/// and 10 steps; C is 1 task of those; L, for a GPU, is 256 of 5-way 5-shot with 5 queries and 5 steps.
/// docs/speed.md says what the numbers mean.
///
/// Example: metaburn bench --config A --estimator exact --share
#[derive(Args)]
pub struct Bench {
    /// Which sizes; several with commas between
    #[arg(long, value_delimiter = ',', ignore_case = true, value_parser = settings(), default_values = ["A", "B", "C"])]
    config: Vec<Setting>,
    /// Which estimators; several with commas between
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        value_parser = estimators(),
        default_values = ["first-order", "exact"],
    )]
    estimator: Vec<Named>,
    /// Inner steps; without it, as many as the configuration has
    #[arg(long, value_name = "R", value_parser = clap::value_parser!(u32).range(1..))]
    steps: Option<u32>,
    /// How many iterates of an inner loop are kept
    #[arg(long, value_name = "PLAN", value_parser = ["auto", "store", "snapshots", "recompute"])]
    memory: Option<String>,
    #[command(flatten)]
    place: Place,
    /// Steps to time; without it, 5 to 40 of them in about 2 seconds
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    reps: Option<u32>,
    /// Also measure how fast the machine multiplies matrices, and which share of that a step attains
    #[arg(long)]
    share: bool,
    /// Sets one more configuration key, as in `--set estimator.q=0.2`; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Print one JSON object per row on standard output
    #[arg(long)]
    json: bool,
}

/// The setting of that letter, in either case.
fn settings() -> impl TypedValueParser<Value = Setting> {
    PossibleValuesParser::new(SETTINGS.map(|setting| setting.name)).try_map(|name| {
        let mut all = SETTINGS.into_iter();
        all.find(|setting| setting.name.eq_ignore_ascii_case(&name)).ok_or("it is no configuration")
    })
}

fn estimators() -> impl TypedValueParser<Value = Named> {
    PossibleValuesParser::new(ESTIMATORS.map(|(name, _)| name))
        .try_map(|name| ESTIMATORS.into_iter().find(|(known, _)| *known == name).ok_or("it is no estimator"))
}

impl Bench {
    /// Runs the command.
    pub fn run(self) -> Outcome {
        let pairs =
            || self.config.iter().flat_map(|setting| self.estimator.iter().map(move |name| (setting, name)));
        // Whatever is impossible is said before anything is measured.
        let configs: Vec<Config> = pairs()
            .map(|(setting, estimator)| self.configure(setting, estimator))
            .collect::<Result<_, _>>()?;
        if let ([setting], [config]) = (&self.config[..], &configs[..]) {
            let measured = self.measure(setting, config.clone())?;
            self.print(&measured, true)?;
            return Ok(ExitCode::SUCCESS);
        }
        for (row, (setting, estimator)) in pairs().enumerate() {
            let ended = Command::new(std::env::current_exe()?)
                .args(self.words(setting, estimator))
                .stdin(Stdio::null())
                .stderr(Stdio::inherit())
                .output()?;
            if !ended.status.success() {
                // It has said why, and by its code whose fault it is.
                let code = ended.status.code().and_then(|code| u8::try_from(code).ok());
                return Ok(code.map_or(ExitCode::FAILURE, ExitCode::from));
            }
            self.print(&serde_json::from_slice(&ended.stdout)?, row == 0)?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// What is asked for over a setting's and an estimator's own keys.
    fn assignments(&self) -> Vec<String> {
        let memory = self.memory.iter().map(|plan| format!("memory.plan={plan}"));
        memory.chain(self.place.assignments()).chain(self.set.iter().cloned()).collect()
    }

    fn configure(&self, setting: &Setting, (_, estimator): &Named) -> Result<Config, config::Error> {
        let mut assignments = setting.assignments(self.steps.map(|steps| steps as usize));
        assignments.extend(estimator.iter().map(ToString::to_string));
        assignments.extend(self.assignments());
        Config::load(None, &assignments)
    }

    /// The words that have another process measure one row.
    fn words(&self, setting: &Setting, (estimator, _): &Named) -> Vec<String> {
        let option = |name: &str, value: Option<String>| value.map(|value| format!("--{name}={value}"));
        let mut words: Vec<String> =
            ["bench", "--json", "--config", setting.name, "--estimator", estimator].map(Into::into).into();
        words.extend(option("steps", self.steps.map(|steps| steps.to_string())));
        words.extend(option("reps", self.reps.map(|reps| reps.to_string())));
        words.extend(self.share.then(|| "--share".into()));
        words.extend(self.assignments().into_iter().map(|assignment| format!("--set={assignment}")));
        words
    }

    fn measure(&self, setting: &Setting, config: Config) -> Result<Measured, bench::Error> {
        let opened = backend::open(config.backend)?.with_threads(config.threads);
        let repeats = self.reps.map_or_else(Repeats::default, |reps| Repeats::exactly(reps as usize));
        let asked = Asked { setting: setting.name, repeats, share: self.share };
        bench::measure(config, opened, &asked, &mut Terminal::new())
    }

    /// Prints a row, after the table's head if it is the `first`.
    fn print(&self, measured: &Measured, first: bool) -> Result<(), Box<dyn std::error::Error>> {
        if self.json {
            return Ok(output::print(serde_json::to_string(measured)?)?);
        }
        if first {
            output::print(format!("{} ({})\n", measured.backend, measured.device))?;
            output::print(head(self.share))?;
        }
        output::print(row(measured))?;
        if let Some(others) = measured.others_cores.filter(|others| *others > DISTURBED) {
            eprintln!("note: other programs kept {others:.1} cores busy meanwhile");
        }
        Ok(())
    }
}

/// The head of the table.
fn head(share: bool) -> String {
    let most = format!(
        "{:<33} {:>3}  {:<11} {:<9} {:>9} {:>9} {:>10} {:>8} {:>5} {:>7} {:>7}",
        "configuration",
        "r",
        "estimator",
        "memory",
        "median ms",
        "fastest",
        "episodes/s",
        "peak MB",
        "cores",
        "GFLOP",
        "GFLOP/s",
    );
    if share { format!("{most} {:>8} {:>9}", "of 1024³", "of shapes") } else { most }
}

fn row(measured: &Measured) -> String {
    let Measured { config, tasks, ways, shots, queries, steps, estimator, memory, .. } = measured;
    let known = |value: Option<f64>, digits: usize| {
        value.map_or_else(|| "-".into(), |value| format!("{value:.digits$}"))
    };
    let percent =
        |share: Option<f64>| share.map_or_else(|| "-".into(), |share| format!("{:.0} %", 100.0 * share));
    let size = format!("{config}  {tasks} × {ways}-way {shots}-shot, {queries} queries");
    let most = format!(
        "{size:<33} {steps:>3}  {estimator:<11} {memory:<9} {:>9.1} {:>9.1} {:>10.1} {:>8} {:>5} {:>7} {:>7}",
        measured.step_ms_median,
        measured.step_ms_min,
        measured.episodes_per_s,
        known(measured.peak_rss_mb, 0),
        known(measured.cpu_per_wall, 2),
        known(measured.gflop, 1),
        known(measured.gflop_per_s, 1),
    );
    match measured.share {
        Some(share) => format!("{most} {:>8} {:>9}", percent(share.share), percent(share.share_of_shapes)),
        None => most,
    }
}
