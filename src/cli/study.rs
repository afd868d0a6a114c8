//! `metaburn study`: experiments that say what they expect, measure it, and show it.

use super::exit;
use super::progress::{BETWEEN_LINES, PARTS, share_bar};
use super::resume::{program, words};
use super::setup::Setup;
use super::{Outcome, output};
use clap::{Args, Subcommand};
use indicatif::ProgressBar;
use metaburn::config::{Backend, Config};
use metaburn::study::few_shot::{self, Method};
use metaburn::study::hypercleaning::{self, Hypercleaning};
use metaburn::study::hyperparameters::{self, Hyperparameters};
use metaburn::study::quadratic::Quadratic;
use metaburn::study::{self, ALL, Digits, Finished, Observer, bias};
use metaburn::trainer::RunDir;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

/// What the study of bias learns where nothing else is said.
const USUAL: [&str; 8] = [
    "task.ways=5",
    "task.shots=1",
    "task.queries=5",
    "inner.steps=10",
    "inner.rate=0.1",
    "outer.meta_batch=4",
    "outer.rate=0.001",
    "outer.schedule=\"constant\"",
];
/// What the few-shot study learns where nothing else is said: the reference setting of the unbiased
/// first-order method, with Adam outside in place of SGD.
const REFERENCE: [&str; 7] = [
    "task.shots=1",
    "inner.steps=10",
    "inner.rate=0.005",
    "outer.optimizer=\"adam\"",
    "outer.schedule=\"linear\"",
    "outer.meta_batch=4",
    "eval.queries=5",
];
/// Its two sizes.
const FULL: [&str; 5] =
    ["task.ways=20", "task.queries=1", "outer.rate=0.001", "outer.evaluations=40000", "eval.episodes=40"];
const QUICK: [&str; 6] = [
    "task.ways=5",
    "task.queries=3",
    "model.filters=32",
    "outer.rate=0.01",
    "outer.evaluations=24000",
    "eval.episodes=60",
];
/// More checkpoints than anybody looks at.
const KEPT: usize = 1_000_000;

/// Reproduce a study: data, figures and a one-page report
///
/// The exit code is 0 when the study ran, whether or not what it claims held: the report says that. A study
/// that was interrupted goes on where it stopped when the same command is given again.
///
/// Example: metaburn study quadratic --quick
#[derive(Subcommand)]
pub enum Study {
    /// What studies there are, what they show and how long they take
    ///
    /// Example: metaburn study list
    List,
    /// Where first-order steps settle, what stationarity costs, and the best q, on one-dimensional problems
    ///
    /// Example: metaburn study quadratic --quick
    Quadratic(Common),
    Bias(Bias),
    FewShot(FewShot),
    /// Which of MNIST's labels are wrong, by every estimator at equal cost, against training on everything
    ///
    /// Example: metaburn study hypercleaning --quick
    Hypercleaning(OnDigits),
    /// Rates and penalties of a perceptron's layers on MNIST, by hypergradients and by random search
    ///
    /// Example: metaburn study hyperparameters --quick
    Hyperparameters(OnDigits),
}

/// What a study on MNIST takes.
#[derive(Args)]
pub struct OnDigits {
    /// Folder of MNIST's four files, where `metaburn data fetch mnist` puts them
    #[arg(long, value_name = "PATH", default_value = "datasets/mnist")]
    data: PathBuf,
    /// Where to compute: auto, flex, ndarray, wgpu, vulkan or cuda
    #[arg(long, default_value = "auto")]
    backend: Backend,
    #[command(flatten)]
    common: Common,
}

/// What truncation errs by along a run: whether a problem needs exact gradients at all
///
/// Without a configuration or a run, the built-in characters (with --data, Omniglot's) are learned, 5-way
/// 1-shot, in 10 inner steps.
///
/// Example: metaburn study bias configs/omniglot-5way-1shot.toml --set inner.steps=5 --after 0,100,500
#[derive(Args)]
pub struct Bias {
    #[command(flatten)]
    setup: Setup,
    /// Outer steps of training after which to look, as in 0,100,500
    #[arg(long, value_delimiter = ',', value_name = "STEPS")]
    after: Vec<u64>,
    /// Look at the checkpoints that this run has kept, instead of training one
    #[arg(long, value_name = "DIR", conflicts_with_all = ["config", "set", "after"])]
    run: Option<PathBuf>,
    /// Tasks to measure on; without it 64, or 16 with --quick
    #[arg(long, value_parser = clap::value_parser!(u32).range(2..))]
    tasks: Option<u32>,
    #[command(flatten)]
    common: Common,
}

/// Every estimator at equal cost: accuracy over gradient evaluations and over seconds, and who is first
///
/// Without a configuration the built-in characters (with --data, Omniglot's) are learned in 10 inner steps at
/// rate 0.005: 20-way 1-shot, with --quick 5-way. Every run has the configuration's budget of gradient
/// evaluations. Estimators are named as in estimator.name, some with a number: ufom-0.2 has q = 0.2,
/// step-coins-0.5 p = 0.5, telescoping-0.5 that survival, truncated-3 that depth.
///
/// Example: metaburn study few-shot configs/omniglot-5way-1shot.toml --estimators first-order,exact --seeds 5
#[derive(Args)]
pub struct FewShot {
    #[command(flatten)]
    setup: Setup,
    /// Estimators to compare, as in first-order,ufom-0.2,exact; without it, eight of them
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    estimators: Vec<Method>,
    /// Seeds for each estimator; more can be added later
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(2..))]
    seeds: u16,
    /// Gradient evaluations of each run, over the configuration's budget
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    evaluations: Option<u64>,
    /// The accuracy, percent, whose price is told; without it, the best that all unbiased runs reach
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    target: Option<f64>,
    #[command(flatten)]
    common: Common,
}

/// What every study takes.
#[derive(Args)]
pub struct Common {
    /// Folder for records, data, figures and report; without it, studies/NAME
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// A smaller study: fewer repetitions, wider intervals
    #[arg(long)]
    quick: bool,
    /// Print the claims as one JSON object on standard output
    #[arg(long)]
    json: bool,
}

impl Study {
    /// Runs the command.
    pub fn run(self) -> Outcome {
        match self {
            Self::List => list(),
            Self::Quadratic(common) => {
                let study = if common.quick { Quadratic::quick() } else { Quadratic::full() };
                common.carry_out(&study)
            }
            Self::Bias(command) => command.run(),
            Self::FewShot(command) => command.run(),
            Self::Hypercleaning(OnDigits { data, backend, common }) => {
                let size = if common.quick { hypercleaning::quick() } else { hypercleaning::full() };
                common.carry_out(&Hypercleaning { digits: Digits::read(&data, backend)?, size })
            }
            Self::Hyperparameters(OnDigits { data, backend, common }) => {
                let size = if common.quick { hyperparameters::quick() } else { hyperparameters::full() };
                common.carry_out(&Hyperparameters { digits: Digits::read(&data, backend)?, size })
            }
        }
    }
}

impl Bias {
    fn run(self) -> Outcome {
        let tasks = self.tasks.map_or(if self.common.quick { 16 } else { 64 }, |tasks| tasks as usize);
        if let Some(run) = &self.run {
            let (_, config) = RunDir::open(run)?;
            let config = self.setup.place().over(&config)?;
            return self.common.carry_out(&bias::Bias::kept(config, run.clone(), tasks)?);
        }
        let usual: &[u64] = if self.common.quick { &[0, 20, 60] } else { &[0, 50, 150, 400] };
        let after = if self.after.is_empty() { usual.to_vec() } else { self.after.clone() };
        let steps = after.iter().copied().max().unwrap_or_default().max(1);
        // Every checkpoint looked at is to stay, and nothing but training is wanted.
        let more = [format!("outer.steps={steps}"), "eval.every=0".into(), format!("checkpoint.keep={KEPT}")];
        let config = self.setup.config_from(&usual_on(&self.setup, &USUAL), &more)?;
        self.common.carry_out(&bias::Bias::trained(config, after, tasks))
    }
}

impl FewShot {
    fn run(self) -> Outcome {
        let size = if self.common.quick { &QUICK[..] } else { &FULL[..] };
        let usual = usual_on(&self.setup, &[&REFERENCE[..], size].concat());
        let budget = self.evaluations.map(|all| format!("outer.evaluations={all}"));
        let mut methods = self.estimators.clone();
        if methods.is_empty() {
            methods = few_shot::USUAL.into_iter().map(str::parse).collect::<Result<_, _>>()?;
        }
        let mut contestants: Vec<(Method, Config)> = Vec::new();
        for method in methods {
            let more: Vec<String> = method.assignments().into_iter().chain(budget.clone()).collect();
            // Checked as if the run itself validated: the study does.
            let config = self.setup.config_from(&usual, &[more, vec!["eval.every=1".into()]].concat())?;
            if contestants.iter().all(|(known, _)| *known != method) {
                contestants.push((method, config));
            }
        }
        let study = few_shot::FewShot::new(contestants, self.seeds.into(), self.target);
        self.common.carry_out(&study)
    }
}

/// `usual` assignments, on Omniglot if the user says where data lies, and else on the built-in characters.
fn usual_on(setup: &Setup, usual: &[&str]) -> Vec<String> {
    let source = if setup.place().names_data() { "omniglot" } else { "glyphs" };
    let source = format!("data.source=\"{source}\"");
    usual.iter().copied().map(String::from).chain([source]).collect()
}

/// A number of percent.
fn percent(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|percent| (0.0..=100.0).contains(percent));
    number.ok_or_else(|| "it must be a number from 0 to 100".into())
}

impl Common {
    fn carry_out(&self, study: &impl study::Study) -> Outcome {
        let size = if self.quick { "-quick" } else { "" };
        let usual = || Path::new("studies").join(format!("{}{size}", study.about().name));
        let out = self.out.clone().unwrap_or_else(usual);
        let mut terminal = Terminal::new(format!("{} {}", program(), words()));
        let command = format!("metaburn {}", words());
        let finished = study::carry_out(study, &out, &command, &mut terminal);
        terminal.bar.finish_and_clear();
        self.print(&finished?)?;
        Ok(ExitCode::SUCCESS)
    }

    fn print(&self, finished: &Finished) -> Result<(), Box<dyn std::error::Error>> {
        if self.json {
            return Ok(output::print(serde_json::to_string(finished)?)?);
        }
        for claim in &finished.claims {
            let (claim, expected, measured, verdict) =
                (&claim.claim, claim.expected_text(), claim.measured, claim.verdict);
            output::print(format!("{verdict}: {claim}\n    expected {expected}, measured {measured}"))?;
        }
        Ok(output::print(format!("{}; see {}", finished.summary(), finished.report.display()))?)
    }
}

fn list() -> Outcome {
    for about in ALL {
        let [full, quick] = about.takes;
        output::print(format!("{}: {}\n    {full}; {quick} with --quick\n", about.name, about.shows))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Standard error, as an observer of studies.
struct Terminal {
    bar: ProgressBar,
    /// When the first work of this session began, and how much was done by then.
    began: Option<(Instant, f64)>,
    last_line: Instant,
}

impl Terminal {
    /// Ctrl-C ends the program and says that `command` goes on.
    fn new(command: String) -> Self {
        // Fails only where a handler is set already, which is then this one.
        let _ = ctrlc::set_handler(move || {
            eprintln!("\nwhat is finished is kept; to go on:\n  {command}");
            std::process::exit(i32::from(exit::INTERRUPTED));
        });
        let bar = if std::io::stderr().is_terminal() { share_bar() } else { ProgressBar::hidden() };
        Self { bar, began: None, last_line: Instant::now() }
    }
}

impl Observer for Terminal {
    fn progress(&mut self, key: &str, done: f64) {
        let (began, from) = *self.began.get_or_insert_with(|| (Instant::now(), done));
        let pace = (done - from) / began.elapsed().as_secs_f64();
        let left = match pace > 0.0 {
            true => super::progress::duration((1.0 - done).max(0.0) / pace),
            false => "?".into(),
        };
        let text = format!("{key}, {left} left");
        self.bar.set_position((done * PARTS as f64) as u64);
        self.bar.set_message(text.clone());
        if self.bar.is_hidden() && self.last_line.elapsed() >= BETWEEN_LINES {
            self.last_line = Instant::now();
            eprintln!("{:.0} % done: {text}", 100.0 * done);
        }
    }

    fn note(&mut self, text: &str) {
        self.bar.suspend(|| eprintln!("{text}"));
    }
}
