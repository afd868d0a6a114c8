//! Configurations of runs, read from TOML files and `--set` overrides.
//!
//! A [`RawConfig`] holds unchecked keys and values, each with its place (file and line, or `--set`).
//! [`RawConfig::check`] turns it into a valid [`Config`], or into an [`Error`] that lists *all* invalid
//! settings. [`Config::load`] does both. No other module reads configurations, so an invalid one cannot run.
//!
//! Each section of a configuration has a file in `section/` with its keys, its checked type and its rules.
//! Error messages, suggestions for mistyped keys, and [`keys`] all use the keys declared there.

mod after_training;
mod checked;
mod checker;
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

pub use after_training::{PLACE_OF_DATA, Purpose};
pub use checked::Config;
pub use error::{Error, Fault, Place};
pub use key::KeyDoc;
pub use raw::RawConfig;
pub use section::checkpoint::Checkpoint;
pub use section::data::Data;
pub use section::divergence::{Divergence, OnDivergence};
pub use section::eval::Eval;
pub use section::inner::{Inner, RateKind};
pub use section::keys;
pub use section::model::Model;
pub use section::records::Records;
pub use section::task::{Task, TaskKind};
pub use sweep::{Sweep, Variant};
pub use template::template;
