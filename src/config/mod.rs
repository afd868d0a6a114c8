//! What a run does, read from TOML: unchecked text becomes a checked [`Config`] by one call.
//!
//! A [`RawConfig`] holds keys and values as somebody wrote them, each with its place (file and line,
//! or `--set`). [`RawConfig::check`] turns it into a [`Config`] whose every value is possible, or
//! into one [`Error`] that lists *all* impossible ones. [`Config::load`] does both. Nothing else in
//! the crate reads TOML, so an impossible configuration cannot run.
//!
//! Each section of the file is one file in `section/`: its keys, its checked type, its rules. The
//! keys declared there are the only list of keys; typos, ranges, defaults and [`keys`] come from it.

mod checked;
mod checker;
mod choice;
mod error;
mod file;
mod key;
mod kind;
mod nearest;
mod raw;
mod section;
mod shown;
mod sweep;
mod template;
#[cfg(test)]
mod tests;

pub use checked::Config;
pub use error::{Error, Fault, Place};
pub use key::KeyDoc;
pub use raw::RawConfig;
pub use section::checkpoint::Checkpoint;
pub use section::data::{Data, Source, Split};
pub use section::divergence::{Divergence, OnDivergence};
pub use section::estimator::{
    Base, Coin, Compat, CostUnit, Estimator, LevelRule, Levels, Probabilities, Tracking, Tuning,
};
pub use section::eval::Eval;
pub use section::inner::{Adapts, Inner, RateKind};
pub use section::keys;
pub use section::memory::MemoryPlan;
pub use section::model::{Architecture, BatchNorm, Model, halvings};
pub use section::outer::{Budget, Moments, Optimizer, Outer, Schedule};
pub use section::records::Records;
pub use section::root::Backend;
pub use section::task::Task;
pub use sweep::{Sweep, Variant};
pub use template::template;
