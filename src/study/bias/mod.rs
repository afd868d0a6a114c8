//! Error of truncated gradients along a training run: whether a problem needs exact gradients.
//!
//! At checkpoints of a run, on new tasks of its training classes, this study measures the angle and the relative size
//! of the error of every g_K, each inner step's ‖Δ_j‖² and curvature, and what follows from them: 𝔻²/𝕍², q*, and the
//! best step coins ([`bilevel::variance`]; `docs/mathematics.md`, "Estimators" and "Choosing q").

mod checkpoints;
mod figures;

use super::registry::{default_config, parsed, whole};
use super::{
    About, Claim, Completed, Conclusion, ConfigSource, Error, Expected, Measured, OptionInfo, Scale, Study,
    StudyOption, StudyOptions, Workspace,
};
use crate::config::Config;
use crate::report::{Table, significant};
use crate::run::RunDir;
use crate::support::paths::absolute;
use bilevel::variance::{ErrorAnalysis, Mean, Price, TunedEstimator};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Exponent p of the time to a given accuracy in the second moment, for steps that do not shrink
/// (`docs/mathematics.md`, "Choosing q").
const EXPONENT: f64 = 2.0;
/// Step coins' p is at least this factor times the largest curvature measured; default of the adaptive estimator.
const CURVATURE_FLOOR: f64 = 0.75;
/// [`TunedEstimator`]s by name.
const BEST_UFOM: &str = "best UFOM";
const BEST_COINS: &str = "best step coins";
/// Default configuration of the run that is trained.
const DEFAULTS: [&str; 8] = [
    "task.ways=5",
    "task.shots=1",
    "task.queries=5",
    "inner.steps=10",
    "inner.rate=0.1",
    "outer.meta_batch=4",
    "outer.rate=0.001",
    "outer.schedule=\"constant\"",
];
/// `checkpoint.keep` of the run that is trained: no checkpoint is deleted.
const KEEP_ALL: usize = 1_000_000;

/// Where the checkpoints come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// A run trained by the study, at these numbers of outer steps, ascending.
    Trained(Vec<u64>),
    /// All checkpoints of an existing run: its directory, and their outer steps, ascending.
    Existing(PathBuf, Vec<u64>),
}

/// The study at one size.
#[derive(Clone, Debug, PartialEq)]
pub struct Bias {
    config: Config,
    source: Source,
    tasks: usize,
}

/// Options of the study.
#[derive(Default)]
pub struct Options {
    after: Vec<u64>,
    run: Option<PathBuf>,
    tasks: Option<usize>,
}

/// A piece of work: the measurement at a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Outer steps taken.
    pub step: u64,
    /// Outer steps to train from the previous checkpoint; 0 for those of an existing run.
    pub to_train: u64,
}

/// Measurement at a checkpoint.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// Outer steps taken.
    pub step: u64,
    /// Error and variance of the gradients there.
    pub diagnosis: ErrorAnalysis,
}

impl Bias {
    /// The study on the run that `config` describes, after each of `after` outer steps, over `tasks` ≥ 2 tasks.
    pub fn trained(config: Config, mut after: Vec<u64>, tasks: usize) -> Self {
        after.sort_unstable();
        after.dedup();
        Self { config, source: Source::Trained(after), tasks }
    }

    /// The study on the checkpoints of the existing `run`, whose configuration is `config`, over `tasks` ≥ 2 tasks.
    ///
    /// # Errors
    /// Returns an error if they cannot be listed, or there are none.
    pub fn existing(config: Config, run: PathBuf, tasks: usize) -> Result<Self, Error> {
        let steps = checkpoints::steps(&run)?;
        Ok(Self { config, source: Source::Existing(run, steps), tasks })
    }

    fn steps(&self) -> &[u64] {
        match &self.source {
            Source::Trained(steps) | Source::Existing(_, steps) => steps,
        }
    }
}

impl StudyOptions for Options {
    type Study = Bias;

    const TAKES_CONFIGURATION: bool = true;

    const OPTIONS: &'static [StudyOption<Self>] = &[
        StudyOption {
            info: OptionInfo {
                is_list: true,
                ..OptionInfo::new(
                    "after",
                    "STEPS",
                    "Outer steps of training after which to measure, as in 0,100,500",
                )
            },
            set: |options, steps| {
                options.after.push(parsed(steps)?);
                Ok(())
            },
        },
        StudyOption {
            info: OptionInfo {
                conflicts: &["config", "set", "after"],
                ..OptionInfo::new(
                    "run",
                    "DIR",
                    "Measure at all checkpoints of this run, instead of training one",
                )
            },
            set: |options, path| {
                options.run = Some(path.into());
                Ok(())
            },
        },
        StudyOption {
            info: OptionInfo::new("tasks", "TASKS", "Tasks to measure on [default: 64; with --quick, 16]"),
            set: |options, tasks| {
                options.tasks = Some(whole(tasks, 2, u32::MAX.into())? as usize);
                Ok(())
            },
        },
    ];

    fn build(self, scale: Scale, source: &dyn ConfigSource) -> Result<Bias, Error> {
        let (steps, tasks): (&[u64], usize) = match scale {
            Scale::Full => (&[0, 50, 150, 400], 64),
            Scale::Quick => (&[0, 20, 60], 16),
        };
        let tasks = self.tasks.unwrap_or(tasks);
        if let Some(run) = self.run {
            let (_, config) = RunDir::open(&run)?;
            return Bias::existing(source.over(&config)?, run, tasks);
        }
        let after = if self.after.is_empty() { steps.to_vec() } else { self.after };
        let steps = after.iter().copied().max().unwrap_or_default().max(1);
        let keep = format!("checkpoint.keep={KEEP_ALL}");
        let more = [format!("outer.steps={steps}"), "eval.every=0".into(), keep];
        let config = source.config(&default_config(source, &DEFAULTS), &more)?;
        Ok(Bias::trained(config, after, tasks))
    }
}

impl Study for Bias {
    type Piece = Checkpoint;
    type Record = Record;

    const ABOUT: About = About {
        name: "bias",
        title: "Error of truncated gradients along a training run",
        description: "Measures, at checkpoints of a run, how far first-order and truncated gradients are from the exact \
                      one, which inner steps contribute to that error, and what the best unbiased estimators would \
                      cost. The study shows whether a problem needs exact gradients at all.",
        usage: "Without a configuration or a run, it trains on the built-in characters (with --data, on Omniglot): \
                5-way 1-shot, 10 inner steps.",
        example: "metaburn study bias configs/omniglot-5way-1shot.toml --set inner.steps=5 --after 0,100,500",
        durations: ["2 minutes", "20 seconds"],
    };

    fn settings(&self) -> Value {
        let mut settings = json!({ "tasks": self.tasks, "after": self.steps(), "config": self.config });
        if let Source::Existing(path, _) = &self.source {
            settings["run"] = json!(absolute(path));
        }
        settings
    }

    fn pieces(&self) -> Vec<Checkpoint> {
        let mut previous = 0;
        let mut checkpoint = |step: u64| {
            let to_train = match self.source {
                Source::Trained(_) => step - std::mem::replace(&mut previous, step),
                Source::Existing(..) => 0,
            };
            Checkpoint { step, to_train }
        };
        self.steps().iter().map(|step| checkpoint(*step)).collect()
    }

    fn key(&self, checkpoint: &Checkpoint) -> String {
        format!("after-{:08}", checkpoint.step)
    }

    /// In episodes.
    fn weight(&self, checkpoint: &Checkpoint) -> f64 {
        (checkpoint.to_train as usize * self.config.outer.meta_batch + self.tasks) as f64
    }

    fn run(&self, checkpoint: &Checkpoint, workspace: &mut Workspace) -> Result<Record, Error> {
        let step = checkpoint.step;
        let diagnosis = checkpoints::measure(&self.config, &self.source, step, self.tasks, workspace)?;
        Ok(Record { step, diagnosis })
    }

    fn conclude(&self, results: Vec<Completed<Checkpoint, Record>>) -> Conclusion {
        let records: Vec<Record> = results.into_iter().map(|result| result.record).collect();
        Conclusion {
            claims: claims(&records),
            remarks: vec![overview(&records), summary(&records).markdown()],
            figures: figures::all(&records),
            tables: vec![("truncations", truncations(&records)), ("steps", steps(&records))],
        }
    }
}

impl Record {
    /// 𝔻²/𝕍².
    fn error(&self) -> Mean {
        self.diagnosis.truncations[0].error.over(self.diagnosis.exact.value)
    }

    /// The estimator called `name` at its best setting, for costs in gradient evaluations.
    fn contender(&self, name: &str) -> Option<TunedEstimator> {
        let price = Price::counted(self.diagnosis.inner_steps());
        let all = self.diagnosis.tuned_estimators(price, EXPONENT, CURVATURE_FLOOR);
        all.into_iter().find(|contender| contender.name == name)
    }

    /// UFOM's best q*.
    fn best_q(&self) -> f64 {
        self.contender(BEST_UFOM).and_then(|ufom| ufom.setting.first().copied()).unwrap_or(f64::NAN)
    }

    /// p_1 … p_r of the best step coins.
    fn coins(&self) -> Vec<f64> {
        self.contender(BEST_COINS).map(|coins| coins.setting).unwrap_or_default()
    }

    /// Predicted time to a given accuracy, relative to exact.
    fn time(&self, name: &str) -> f64 {
        self.contender(name).and_then(|contender| contender.time).unwrap_or(f64::NAN)
    }
}

/// `mean` with its 95 % interval.
fn measured(mean: Mean) -> Measured {
    Measured { value: mean.value, ci95: 1.96 * mean.standard_error }
}

/// The largest of `all`, by value.
fn largest(all: impl Iterator<Item = Measured>) -> Measured {
    all.max_by(|a, b| a.value.total_cmp(&b.value)).unwrap_or(Measured::exactly(f64::NAN))
}

fn claims(records: &[Record]) -> Vec<Claim> {
    let systematic = records
        .iter()
        .filter_map(|record| Some(measured(record.diagnosis.systematic?.over(record.diagnosis.error()))));
    let least_cosine = largest(records.iter().map(|record| {
        let cosine = measured(record.diagnosis.truncations[0].cosine);
        Measured { value: -cosine.value, ..cosine }
    }));
    let times = records.iter().map(|record| record.time(BEST_COINS) / record.time(BEST_UFOM));
    vec![
        Claim::new(
            "first-order's gradient is a descent direction: lowest cosine with the exact gradient",
            Expected::above(0.0),
            Measured { value: -least_cosine.value, ..least_cosine },
        ),
        Claim::new(
            "its error varies between tasks: largest share of 𝔻² that all tasks have in common",
            Expected::below(0.1),
            largest(systematic),
        ),
        Claim::new(
            "predicted time of the best step coins, relative to the best UFOM; largest ratio",
            Expected::below(1.0),
            largest(times.map(Measured::exactly)),
        ),
    ]
}

/// A paragraph on whether exact gradients are needed, according to the measurements.
fn overview(records: &[Record]) -> String {
    let range = |value: &dyn Fn(&Record) -> f64| {
        let values = || records.iter().map(value);
        let (low, high) =
            (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
        match high - low < 0.01 * high.abs() {
            true => significant(high, 2),
            false => format!("{} to {}", significant(low, 2), significant(high, 2)),
        }
    };
    format!(
        "Along this run first-order's error is {} of the norm of the exact gradient, at an angle of {}°. Without bias, \
         and with costs in gradient evaluations, step coins at their best setting are predicted to reach a given \
         accuracy in {} of the time that exact gradients take, and UFOM in {}. A first-order step costs {} of an \
         exact one.",
        range(&|record| record.diagnosis.truncations[0].relative.value),
        range(&|record| figures::degrees(record.diagnosis.truncations[0].cosine.value)),
        range(&|record| record.time(BEST_COINS)),
        range(&|record| record.time(BEST_UFOM)),
        range(&|record| {
            let steps = record.diagnosis.inner_steps();
            Price::counted(steps).of(0.0) / Price::counted(steps).of(steps as f64)
        }),
    )
}

fn summary(records: &[Record]) -> Table {
    let mut table = Table::new([
        "outer steps",
        "‖g_r − g_0‖/‖g_r‖",
        "angle of g_0",
        "𝔻²/𝕍²",
        "q*",
        "time of UFOM ÷ exact",
        "time of step coins ÷ exact",
    ]);
    for record in records {
        let first_order = record.diagnosis.truncations[0];
        table.row([
            record.step.to_string(),
            measured(first_order.relative).to_string(),
            format!("{}°", significant(figures::degrees(first_order.cosine.value), 2)),
            measured(record.error()).to_string(),
            significant(record.best_q(), 2),
            significant(record.time(BEST_UFOM), 2),
            significant(record.time(BEST_COINS), 2),
        ]);
    }
    table
}

fn truncations(records: &[Record]) -> Table {
    let mut table = Table::new([
        "outer_steps",
        "depth",
        "error",
        "error_se",
        "relative",
        "relative_se",
        "cosine",
        "cosine_se",
    ]);
    for record in records {
        for (depth, truncation) in record.diagnosis.truncations.iter().enumerate() {
            let error = truncation.error.over(record.diagnosis.exact.value);
            let means = [error, truncation.relative, truncation.cosine];
            let cells = means.iter().flat_map(|mean| [mean.value, mean.standard_error]);
            table.row(
                [record.step.to_string(), depth.to_string()]
                    .into_iter()
                    .chain(cells.map(|cell| cell.to_string())),
            );
        }
    }
    table
}

fn steps(records: &[Record]) -> Table {
    let mut table = Table::new([
        "outer_steps",
        "inner_step",
        "increment",
        "increment_se",
        "curvature",
        "curvature_se",
        "largest_curvature",
        "best_p",
    ]);
    for record in records {
        let coins = record.coins();
        for (index, step) in record.diagnosis.steps.iter().enumerate() {
            let increment = step.increment.over(record.diagnosis.exact.value);
            let cells =
                [increment, step.curvature].into_iter().flat_map(|mean| [mean.value, mean.standard_error]);
            let more = [step.largest_curvature, coins.get(index).copied().unwrap_or(f64::NAN)];
            let cells = cells.chain(more).map(|cell| cell.to_string());
            table.row([record.step.to_string(), (index + 1).to_string()].into_iter().chain(cells));
        }
    }
    table
}
