//! `metaburn bench`: measures the time, memory and arithmetic of an outer step.
//!
//! Each row of a table is measured in its own process, as for the other frameworks, so that no row reuses
//! memory allocated by another and each has its own peak.

use super::progress::Terminal;
use super::setup::Resources;
use super::{Outcome, output};
use bilevel::device;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use metaburn::bench::{
    self, DISTURBED, DeviceMemory, ESTIMATORS, KernelCount, LaunchCounts, Measured, Measures, Options,
    Repeats, SETTINGS, Setting,
};
use metaburn::config::{self, Config};
use std::process::{Command, ExitCode, Stdio};

/// An estimator's name and its configuration keys.
type NamedEstimator = (&'static str, &'static [&'static str]);

/// Measure the time and memory of an outer step or an evaluation
///
/// An outer step consists of the inner loops, the meta-gradient and the Adam update. Configuration A has 16 tasks of
/// 5-way 1-shot with 5 queries per class and 5 inner steps; B has 4 tasks of 20-way 1-shot with 1 query per class and 10
/// steps; C is B with 1 task; L, for a GPU, has 256 tasks of 5-way 5-shot with 5 queries per class and 5 steps; M is
/// MAML++'s network with 8 tasks of 20-way 1-shot. E evaluates a learner on 600 episodes like those of A, and P on one;
/// neither uses an estimator. docs/speed.md explains the columns.
///
/// Example: metaburn bench --config A --estimator exact --share
#[derive(Args)]
pub struct Bench {
    /// Configurations to measure, separated by commas
    #[arg(long, value_delimiter = ',', ignore_case = true, value_parser = settings(), default_values = ["A", "B", "C"])]
    config: Vec<Setting>,
    /// Estimators to measure, separated by commas
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        value_parser = estimators(),
        default_values = ["first-order", "exact"],
    )]
    estimator: Vec<NamedEstimator>,
    /// Number of inner steps [default: the configuration's]
    #[arg(long, value_name = "R", value_parser = clap::value_parser!(u32).range(1..))]
    steps: Option<u32>,
    /// Memory plan: which inner iterates are stored
    #[arg(long, value_name = "PLAN", value_parser = ["auto", "store", "snapshots", "recompute"])]
    memory: Option<String>,
    #[command(flatten)]
    resources: Resources,
    /// Number of timed steps [default: 5 to 40, as many as take about 2 seconds]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    reps: Option<u32>,
    /// Also measure the machine's matrix-multiplication rate, and the share of it that a step achieves
    #[arg(long)]
    share: bool,
    /// Also count the kernels that a step launches on a GPU backend, and the host's time for launching them
    #[arg(long)]
    launches: bool,
    /// Set a configuration key, for example `--set estimator.q=0.2`; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Print each row as a JSON object
    #[arg(long)]
    json: bool,
}

/// Parses the letter of a configuration, ignoring case.
fn settings() -> impl TypedValueParser<Value = Setting> {
    PossibleValuesParser::new(SETTINGS.map(|setting| setting.name)).try_map(|name| {
        let mut all = SETTINGS.into_iter();
        all.find(|setting| setting.name.eq_ignore_ascii_case(&name)).ok_or("no such configuration")
    })
}

/// Parses the name of an estimator.
fn estimators() -> impl TypedValueParser<Value = NamedEstimator> {
    PossibleValuesParser::new(ESTIMATORS.map(|(name, _)| name))
        .try_map(|name| ESTIMATORS.into_iter().find(|(known, _)| *known == name).ok_or("no such estimator"))
}

impl Bench {
    /// Runs the command.
    pub fn run(self) -> Outcome {
        let pairs = || {
            self.config.iter().flat_map(|setting| {
                // An evaluation is the same for every estimator.
                let rows = if setting.measures == Measures::OuterStep { self.estimator.len() } else { 1 };
                self.estimator.iter().take(rows).map(move |name| (setting, name))
            })
        };
        // Check every configuration before anything is measured.
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
                .args(self.arguments(setting, estimator))
                .stdin(Stdio::null())
                .stderr(Stdio::inherit())
                .output()?;
            if !ended.status.success() {
                // The process has printed its error; pass its exit code on.
                let code = ended.status.code().and_then(|code| u8::try_from(code).ok());
                return Ok(code.map_or(ExitCode::FAILURE, ExitCode::from));
            }
            self.print(&serde_json::from_slice(&ended.stdout)?, row == 0)?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The assignments of the command line, applied after those of the configuration and the estimator.
    fn assignments(&self) -> Vec<String> {
        let memory = self.memory.iter().map(|plan| format!("memory.plan={plan}"));
        memory.chain(self.resources.assignments()).chain(self.set.iter().cloned()).collect()
    }

    fn configure(&self, setting: &Setting, (_, estimator): &NamedEstimator) -> Result<Config, config::Error> {
        let mut assignments = setting.assignments(self.steps.map(|steps| steps as usize));
        assignments.extend(estimator.iter().map(ToString::to_string));
        assignments.extend(self.assignments());
        Config::load(None, &assignments)
    }

    /// The arguments of the process that measures one row.
    fn arguments(&self, setting: &Setting, (estimator, _): &NamedEstimator) -> Vec<String> {
        let option = |name: &str, value: Option<String>| value.map(|value| format!("--{name}={value}"));
        let mut arguments: Vec<String> =
            ["bench", "--json", "--config", setting.name, "--estimator", estimator].map(Into::into).into();
        arguments.extend(option("steps", self.steps.map(|steps| steps.to_string())));
        arguments.extend(option("reps", self.reps.map(|reps| reps.to_string())));
        arguments.extend(self.share.then(|| "--share".into()));
        arguments.extend(self.launches.then(|| "--launches".into()));
        arguments.extend(self.assignments().into_iter().map(|assignment| format!("--set={assignment}")));
        arguments
    }

    fn measure(&self, setting: &Setting, config: Config) -> Result<Measured, bench::Error> {
        let opened = device::open(config.backend)?.with_threads(config.threads);
        let repeats = self.reps.map_or_else(Repeats::default, |reps| Repeats::exactly(reps as usize));
        let options = Options { setting, repeats, share: self.share, launches: self.launches };
        bench::measure(config, opened, &options, &mut Terminal::new())
    }

    /// Prints a row, preceded by the table's header if it is the `first`.
    fn print(&self, measured: &Measured, first: bool) -> Result<(), super::CommandError> {
        if self.json {
            return Ok(output::print(serde_json::to_string(measured)?)?);
        }
        if first {
            let set = measured.instruction_set.map(|set| format!(", {set}")).unwrap_or_default();
            output::print(format!("{} ({}{set})\n", measured.backend, measured.device))?;
            output::print(header(self.share))?;
        }
        output::print(row(measured))?;
        match &measured.launches {
            Some(counts) => output::print(launches(counts))?,
            None if self.launches => {
                output::say("note: launches are counted only for outer steps on a GPU backend");
            }
            None => {}
        }
        if let Some(others) = measured.others_cores.filter(|others| *others > DISTURBED) {
            output::say(format_args!("note: other programs used {others:.1} cores during this measurement"));
        }
        Ok(())
    }
}

/// The launches of a step, by phase and kernel.
fn launches(counts: &LaunchCounts) -> String {
    let megabytes = |bytes: f64| format!("{:.1} MB", bytes / 1e6);
    let memory = |memory: Option<DeviceMemory>| {
        let shown = |memory: DeviceMemory| {
            format!(", {:.1} MB allocated of {:.0} MB in all", memory.allocated_mb, memory.reserved_mb)
        };
        memory.map(shown).unwrap_or_default()
    };
    let mut lines = vec![format!(
        "  {} launches per step, queued in {:.1} ms of the host's time; {} read and written by metaburn's kernels, {} read-backs{}",
        counts.total,
        counts.host_ms,
        megabytes(counts.bytes),
        counts.read_backs,
        memory(counts.memory),
    )];
    if let Some(with) = counts.with_graphs {
        let queued = with.host_ms.map(|host_ms| format!(", queued in {host_ms:.1} ms")).unwrap_or_default();
        let (total, graphs, memory) = (with.total, with.graphs, memory(with.memory));
        lines.push(format!("  {total} with graphs (graph replays: {graphs}){queued}{memory}"));
    }
    for phase in &counts.phases {
        lines.push(format!("  {:>7} {:>10}  {}", phase.total, megabytes(phase.bytes), phase.phase));
        let kernel = |kernel: &KernelCount| {
            let bytes = kernel.bytes.map_or_else(|| "-".into(), megabytes);
            format!("      {:>7} {bytes:>10}  {}", kernel.total, kernel.kernel)
        };
        lines.extend(phase.kernels.iter().map(kernel));
    }
    lines.join("\n")
}

/// The header of the table.
fn header(share: bool) -> String {
    let common = format!(
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
    if share { format!("{common} {:>8} {:>9}", "of 1024³", "of shapes") } else { common }
}

/// A row of the table.
fn row(measured: &Measured) -> String {
    let Measured { config, tasks, ways, shots, queries, steps, estimator, memory, .. } = measured;
    let known = |value: Option<f64>, digits: usize| {
        value.map_or_else(|| "-".into(), |value| format!("{value:.digits$}"))
    };
    let percent =
        |share: Option<f64>| share.map_or_else(|| "-".into(), |share| format!("{:.0} %", 100.0 * share));
    let size = format!("{config}  {tasks} × {ways}-way {shots}-shot, {queries} queries");
    let common = format!(
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
        Some(share) => format!("{common} {:>8} {:>9}", percent(share.share), percent(share.share_of_shapes)),
        None => common,
    }
}
