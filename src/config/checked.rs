//! The checked configuration.

use super::checker::Checker;
use super::error::Error;
use super::raw::RawConfig;
use super::section::{
    checkpoint, data, divergence, estimator, eval, fit, inner, memory, model, outer, records, root, task,
};
use super::{Checkpoint, Data, Divergence, Eval, Inner, Model, Records, Task, TaskKind};
use crate::data::Channels;
use crate::model::Shape;
use bilevel::device::Backend;
use bilevel::estimator::EstimatorSchedule;
use bilevel::hypergradient::MemoryPlan;
use bilevel::{Choice, OuterSettings};
use root::Root;
use serde::Serialize;
use std::path::Path;

/// The configuration of a run. All values are valid, and defaults are filled in.
///
/// The fields mirror the TOML file: `config.inner.steps` is `steps` in `[inner]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Config {
    /// Seed of all random draws; below 2⁶³.
    pub seed: u64,
    /// Backend for tensors.
    pub backend: Backend,
    /// Number of CPU threads, 1 to 1024; `None` for one per core. It does not change results.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<usize>,
    /// Whether a GPU replays the launches of outer steps as graphs. It does not change results.
    pub graphs: bool,
    /// Whether equal configurations must give the same bits on the same machine.
    pub deterministic: bool,
    /// The images and the split of their classes; `None` if the task has none. See [`Config::images`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Data>,
    /// What is learned, and the shape of an episode.
    pub task: Task,
    /// The network.
    pub model: Model,
    /// How the network adapts to an episode.
    pub inner: Inner,
    /// How much of each inner loop is differentiated, by one estimator or by several in turn.
    #[serde(serialize_with = "estimator::serialize")]
    pub estimator: EstimatorSchedule,
    /// How many iterates of each inner loop are stored.
    pub memory: MemoryPlan,
    /// How the initial weights are learned.
    pub outer: OuterSettings,
    /// How a run handles an outer step that is not finite.
    pub divergence: Divergence,
    /// How often checkpoints are saved, and how many are kept.
    pub checkpoint: Checkpoint,
    /// How often and on how many episodes accuracy is measured.
    pub eval: Eval,
    /// Optional records.
    pub records: Records,
}

impl Config {
    /// The same configuration with what it leaves to the images as `other` has it: how classes are divided, whether dark
    /// is ink, and whether there are colours. A run's configuration has these decisions.
    #[must_use]
    pub fn decided_as(&self, other: &Self) -> Self {
        let mut config = self.clone();
        if let (Some(data), Some(decided)) = (&mut config.data, &other.data) {
            data.split = data.split.or(decided.split);
            data.validation = data.validation.or(decided.validation);
            data.invert = data.invert.or(decided.invert);
            data.channels = data.channels.or(decided.channels);
            data.mean = data.mean.take().or_else(|| decided.mean.clone());
            data.deviation = data.deviation.take().or_else(|| decided.deviation.clone());
        }
        config
    }

    /// The same configuration for the place of `other`: its backend, threads and graphs, and where the data are.
    #[must_use]
    pub fn placed_as(&self, other: &Self) -> Self {
        let mut config =
            Self { backend: other.backend, threads: other.threads, graphs: other.graphs, ..self.clone() };
        if let (Some(data), Some(place)) = (&mut config.data, &other.data) {
            data.path.clone_from(&place.path);
            data.list.clone_from(&place.list);
            data.cache.clone_from(&place.cache);
        }
        config
    }

    /// Loads and checks the file at `path`, or the built-in default if there is no path. `overrides` of the
    /// form `key=value` replace its values.
    ///
    /// ```
    /// # use metaburn::config::{Config, Error};
    /// let config = Config::load(None, &["inner.steps=3".into()])?;
    /// assert_eq!(config.inner.steps, 3);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// Returns an error if the file cannot be read or is not TOML, an override is not of the form `key=value`, or
    /// the configuration is invalid. The message then lists every fault with its place and the values allowed.
    pub fn load(path: Option<&Path>, overrides: &[String]) -> Result<Self, Error> {
        let mut raw = RawConfig::read(path)?;
        for assignment in overrides {
            raw.set(assignment)?;
        }
        raw.check()
    }

    /// The images.
    ///
    /// # Errors
    /// Returns an error if the task has none.
    pub fn images(&self) -> Result<&Data, Error> {
        self.data.as_ref().ok_or(Error::NoImages { task: self.task.kind })
    }

    /// The source of the episodes in a few letters, for names and messages: that of the images, or the kind of the task.
    pub fn source(&self) -> &'static str {
        self.data.as_ref().map_or(self.task.kind.name(), |data| data.source.name)
    }

    /// The shape of the network's input: that of the images, where channels that are left open are grey, or 1 × 1 for a number.
    pub fn input(&self) -> Shape {
        self.data.as_ref().map_or(Shape::square(1, 1), |data| {
            Shape::square(data.image_size, data.channels.map_or(1, Channels::count))
        })
    }

    /// The whole configuration as TOML, including defaults. Loading it gives an equal configuration.
    ///
    /// # Errors
    /// Returns an error if a field was set to a value that TOML cannot represent.
    pub fn to_toml(&self) -> Result<String, Error> {
        Ok(toml::to_string(self)?)
    }

    /// Checks every section. The result is valid only if `checker` has no faults afterwards.
    pub(super) fn check(checker: &mut Checker) -> Self {
        let Root { seed, backend, threads, graphs, deterministic } = root::check(checker);
        let task = task::check(checker);
        let data = match task.kind {
            TaskKind::Classification => Some(data::check(checker)),
            TaskKind::Sinusoid => {
                data::refuse(checker, task.kind);
                None
            }
        };
        let image_size = data.as_ref().map_or(1, |data| data.image_size);
        let model = model::check(checker, task.kind, image_size);
        let inner = inner::check(checker);
        let estimator = estimator::check(checker, inner.steps, deterministic);
        let memory = memory::check(checker, inner.steps);
        let outer = outer::check(checker);
        fit::check(checker, &inner, outer.losses, &estimator);
        fit::check_inner(checker, task.kind, model.batch_norm, &inner);
        let divergence = divergence::check(checker);
        let checkpoint = checkpoint::check(checker);
        let eval = eval::check(checker, &task, data.as_ref(), inner.head);
        let records = records::check(checker);
        Self {
            seed,
            backend,
            threads,
            graphs,
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
