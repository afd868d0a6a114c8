//! What truncation errs by along a run: whether a problem needs exact gradients at all.
//!
//! At checkpoints of a run, over fresh tasks of its training classes, the angle and the relative size of the
//! error of every g_K, each inner step's ‖Δ_j‖² and curvature, and what follows from them: 𝔻²/𝕍², q*, and
//! the best step coins ([`crate::diagnosis`]; METHOD, "Estimators" and "Choosing q").

mod pictures;
mod place;

use super::{About, Claim, Conclusion, Desk, Error, Expected, Measured, Piece, Study};
use crate::config::Config;
use crate::diagnosis::{Contender, Diagnosis, Mean, Price};
use crate::report::{Table, significant};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::PathBuf;

/// What a person reads before it is run.
pub const ABOUT: About = About {
    name: "bias",
    title: "What truncation errs by along a run",
    shows: "At checkpoints of a run: how far first-order and truncated gradients are from the exact one, \
            which inner steps that comes from, and what the best unbiased estimators would cost. It tells \
            whether a problem needs exact gradients at all.",
    takes: ["2 minutes", "20 seconds"],
};

/// How the time to an accuracy grows with the second moment: for steps that do not shrink (METHOD, "Choosing
/// q").
const EXPONENT: f64 = 2.0;
/// Step coins' p is at least this times the largest curvature met; an adapting law's default.
const CURVATURE_FLOOR: f64 = 0.75;
/// [`Contender`]s by name.
const BEST_UFOM: &str = "best UFOM";
const BEST_COINS: &str = "best step coins";

/// Whose checkpoints.
#[derive(Clone, Debug, PartialEq)]
pub enum Run {
    /// Those of a run of our own, after these outer steps, ascending.
    Trained(Vec<u64>),
    /// All that a run has kept, and the run's directory.
    Kept(PathBuf, Vec<u64>),
}

/// The study at one size.
#[derive(Clone, Debug, PartialEq)]
pub struct Bias {
    config: Config,
    run: Run,
    tasks: usize,
}

/// What a checkpoint shows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// Outer steps taken.
    pub step: u64,
    /// What walks back from there meet.
    pub diagnosis: Diagnosis,
}

impl Bias {
    /// On the run that `config` describes, after each of `after` outer steps, over `tasks` ≥ 2 tasks.
    pub fn trained(config: Config, mut after: Vec<u64>, tasks: usize) -> Self {
        after.sort_unstable();
        after.dedup();
        Self { config, run: Run::Trained(after), tasks }
    }

    /// On the checkpoints of `run`, whose configuration is `config`, over `tasks` ≥ 2 tasks.
    ///
    /// # Errors
    /// If they cannot be listed, or there are none.
    pub fn kept(config: Config, run: PathBuf, tasks: usize) -> Result<Self, Error> {
        let steps = place::checkpoints(&run)?;
        Ok(Self { config, run: Run::Kept(run, steps), tasks })
    }

    fn steps(&self) -> &[u64] {
        match &self.run {
            Run::Trained(steps) | Run::Kept(_, steps) => steps,
        }
    }
}

impl Study for Bias {
    type Record = Record;

    fn about(&self) -> About {
        ABOUT
    }

    fn settings(&self) -> Value {
        let mut settings = json!({ "tasks": self.tasks, "after": self.steps(), "config": self.config });
        if let Run::Kept(path, _) = &self.run {
            settings["run"] = json!(path.canonicalize().unwrap_or_else(|_| path.clone()));
        }
        settings
    }

    fn pieces(&self) -> Vec<Piece> {
        let mut before = 0;
        let mut training = |step: u64| match self.run {
            Run::Trained(_) => {
                (step - std::mem::replace(&mut before, step)) as usize * self.config.outer.meta_batch
            }
            Run::Kept(..) => 0,
        };
        let piece = |step: &u64| Piece {
            key: format!("after-{step:08}"),
            weight: (training(*step) + self.tasks) as f64,
        };
        self.steps().iter().map(piece).collect()
    }

    fn work(&self, key: &str, desk: &mut Desk) -> Result<Record, Error> {
        let step = key.strip_prefix("after-").and_then(|step| step.parse().ok());
        let step =
            step.ok_or_else(|| Error::Unfit(format!("the study of bias has no piece called {key}")))?;
        let diagnosis = place::diagnose(&self.config, &self.run, step, self.tasks, desk)?;
        Ok(Record { step, diagnosis })
    }

    fn conclude(&self, records: &[Record]) -> Conclusion {
        let mut conclusion = Conclusion { figures: pictures::all(records), ..Conclusion::default() };
        conclusion.claims = claims(records);
        conclusion.remarks.push(verdict(records));
        conclusion.remarks.push(summary(records).markdown());
        conclusion.tables = vec![("truncations", truncations(records)), ("steps", steps(records))];
        conclusion
    }
}

impl Record {
    /// 𝔻²/𝕍².
    fn error(&self) -> Mean {
        self.diagnosis.truncations[0].error.over(self.diagnosis.exact.value)
    }

    /// The estimator called `name`, at its best setting for costs in gradient evaluations.
    fn contender(&self, name: &str) -> Option<Contender> {
        let price = Price::counted(self.diagnosis.inner_steps());
        let all = self.diagnosis.contenders(price, EXPONENT, CURVATURE_FLOOR);
        all.into_iter().find(|contender| contender.name == name)
    }

    /// q* of UFOM.
    fn best_q(&self) -> f64 {
        self.contender(BEST_UFOM).and_then(|ufom| ufom.setting.first().copied()).unwrap_or(f64::NAN)
    }

    /// p_1 … p_r of the best step coins.
    fn coins(&self) -> Vec<f64> {
        self.contender(BEST_COINS).map(|coins| coins.setting).unwrap_or_default()
    }

    /// Predicted time to an accuracy over exact's.
    fn time(&self, name: &str) -> f64 {
        self.contender(name).and_then(|contender| contender.time).unwrap_or(f64::NAN)
    }
}

/// A mean with its interval.
fn measured(mean: Mean) -> Measured {
    Measured { value: mean.value, ci95: 1.96 * mean.standard_error }
}

/// The measurement among `all` that is largest.
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
            "first-order's gradient is a direction of descent: its cosine with the exact one, where least",
            Expected::above(0.0),
            Measured { value: -least_cosine.value, ..least_cosine },
        ),
        Claim::new(
            "its error differs from task to task: the share of 𝔻² that is the same for all, where largest",
            Expected::below(0.1),
            largest(systematic),
        ),
        Claim::new(
            "step coins at their best are predicted to need less time than UFOM at its best: the ratio, \
            where largest",
            Expected::below(1.0),
            largest(times.map(Measured::exactly)),
        ),
    ]
}

/// Whether exact gradients are needed, in words.
fn verdict(records: &[Record]) -> String {
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
        "Along this run first-order's error is {} of the exact gradient's length, at an angle of {}°. \
         Without any bias, and in gradient evaluations, step coins at their best setting are predicted to \
         reach an accuracy in {} of the time that exact gradients take, and UFOM in {}; first-order steps \
         cost {} of exact ones.",
        range(&|record| record.diagnosis.truncations[0].relative.value),
        range(&|record| pictures::degrees(record.diagnosis.truncations[0].cosine.value)),
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
        "UFOM's time ÷ exact's",
        "step coins' time ÷ exact's",
    ]);
    for record in records {
        let first_order = record.diagnosis.truncations[0];
        table.row([
            record.step.to_string(),
            measured(first_order.relative).to_string(),
            format!("{}°", significant(pictures::degrees(first_order.cosine.value), 2)),
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
        for (at, step) in record.diagnosis.steps.iter().enumerate() {
            let increment = step.increment.over(record.diagnosis.exact.value);
            let cells =
                [increment, step.curvature].into_iter().flat_map(|mean| [mean.value, mean.standard_error]);
            let more = [step.largest_curvature, coins.get(at).copied().unwrap_or(f64::NAN)];
            let cells = cells.chain(more).map(|cell| cell.to_string());
            table.row([record.step.to_string(), (at + 1).to_string()].into_iter().chain(cells));
        }
    }
    table
}
