//! A training run on disk: its directory, and the types that write and read each of its files.
//!
//! [`RunDir`] knows every file name. The same types are written during training and read back by reports:
//! [`StepRecord`] and [`ValidationRecord`] in `metrics.jsonl`, [`ClockRecord`] in `clock.jsonl`, [`Session`] in
//! `sessions.jsonl`, [`RunResult`] in `results/`, and [`Saved`] in `checkpoints/`.

mod best;
mod checkpoint;
mod directory;
mod error;
mod journal;
mod ranking;
mod record;
mod regression_result;
mod result;
mod run_result;
mod selector;
mod session;
mod shell;
mod tested;

pub use crate::support::lock::Lock;
pub use checkpoint::{Saved, TrainingState, are_countable, save};
pub use directory::RunDir;
pub use error::Error;
pub(crate) use error::failed;
pub use journal::Journal;
pub use ranking::{Best, Ranking, Score};
pub use record::{ClockRecord, Record, Records, StepRecord, ValidationRecord};
pub use regression_result::{RegressionResult, StepError};
pub use result::{EvaluationResult, OtherData, OtherSplit, PartAccuracy};
pub use run_result::RunResult;
pub use selector::CheckpointSelector;
pub use session::Session;
pub use shell::quoted;
pub use tested::Tested;
