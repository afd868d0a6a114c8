//! The checked configuration.

use super::checker::Checker;
use super::error::Error;
use super::raw::RawConfig;
use super::section::{
    checkpoint, data, divergence, estimator, eval, fit, inner, memory, model, outer, records, root, task,
};
use super::{
    Backend, Checkpoint, Data, Divergence, Estimator, Eval, Inner, MemoryPlan, Model, Outer, Records, Task,
};
use root::Root;
use serde::Serialize;
use std::path::Path;

/// Everything that decides a run. Each value is possible, and defaults are filled in.
///
/// The fields mirror the TOML file: `config.inner.steps` is `steps` in `[inner]`. Equal
/// configurations make equal runs on one machine.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Config {
    /// Seed of every random draw; below 2⁶³.
    pub seed: u64,
    /// Where tensors are computed.
    pub backend: Backend,
    /// Threads of a CPU that compute, 1 to 1024; `None` for one for each core. They change no result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<usize>,
    /// Whether equal configurations must give equal bits; what cannot promise that is refused.
    pub deterministic: bool,
    /// Which images, and how their classes are split.
    pub data: Data,
    /// The shape of an episode.
    pub task: Task,
    /// The network that is adapted.
    pub model: Model,
    /// How the network adapts to an episode.
    pub inner: Inner,
    /// How much of each inner loop is differentiated.
    pub estimator: Estimator,
    /// How many iterates of each inner loop are kept.
    pub memory: MemoryPlan,
    /// How the initial weights are learned.
    pub outer: Outer,
    /// What is done about an outer step that is not finite.
    pub divergence: Divergence,
    /// When training is saved.
    pub checkpoint: Checkpoint,
    /// When and on how many episodes accuracy is measured.
    pub eval: Eval,
    /// What is written of it beside its journals.
    pub records: Records,
}

impl Config {
    /// The file at `path`, or without one the built-in default, with `overrides` of the form
    /// `key=value` over it, checked.
    ///
    /// ```
    /// # use metaburn::config::{Config, Error};
    /// let config = Config::load(None, &["inner.steps=3".into()])?;
    /// assert_eq!(config.inner.steps, 3);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// Where the file cannot be read or is not TOML, an override is not `key=value`, or the result
    /// is impossible; the message then names every fault with its place, and what is allowed.
    pub fn load(path: Option<&Path>, overrides: &[String]) -> Result<Self, Error> {
        let mut raw = RawConfig::read(path)?;
        for assignment in overrides {
            raw.set(assignment)?;
        }
        raw.check()
    }

    /// The whole configuration as TOML, with every default written out. Loading it gives an equal
    /// configuration.
    ///
    /// # Errors
    /// Only where a field was changed by hand to what TOML cannot hold.
    pub fn to_toml(&self) -> Result<String, Error> {
        Ok(toml::to_string(self)?)
    }

    /// Reads every section. What the checker collects decides whether the result may be used.
    pub(super) fn check(checker: &mut Checker) -> Self {
        let Root { seed, backend, threads, deterministic } = root::check(checker);
        let task = task::check(checker);
        let data = data::check(checker);
        let model = model::check(checker, data.image_size);
        let inner = inner::check(checker);
        let estimator = estimator::check(checker, inner.steps, deterministic);
        fit::check(checker, &inner, &estimator);
        let memory = memory::check(checker, inner.steps);
        let outer = outer::check(checker);
        let divergence = divergence::check(checker);
        let checkpoint = checkpoint::check(checker);
        let eval = eval::check(checker, &task, &data);
        let records = records::check(checker);
        Self {
            seed,
            backend,
            threads,
            deterministic,
            data,
            task,
            model,
            inner,
            estimator,
            memory,
            outer,
            divergence,
            checkpoint,
            eval,
            records,
        }
    }
}
