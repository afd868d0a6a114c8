//! Weights in a safetensors file with PyTorch's names.
//!
//! The network's arrays have the names that PyTorch's `load_state_dict` expects: `conv1.weight` instead of a
//! checkpoint's `theta.conv1.weight`. Learned inner rates are named `rate.conv1.weight`. The header has three more
//! entries: `config`, the run's configuration as JSON without hardware settings and data path; `epsilon` of batch
//! norm; and `step`, the number of outer steps taken.

use super::Error;
use crate::config::{Config, RawConfig};
use crate::model::{self, EPSILON, Leaf};
use crate::run::Saved;
use crate::support::archive::{Archive, Values};
use crate::train::{Learner, Trainer, Watcher};
use bilevel::device::Backend;
use bilevel::{Params, device};
use std::collections::BTreeSet;
use std::path::Path;
use toml::Table;

/// Prefix of the network's names in a checkpoint.
const THETA: &str = "theta.";
/// Prefix of learned inner rates, in both files.
const RATE: &str = "rate.";
/// The header's key for the configuration.
const CONFIG: &str = "config";
/// Running statistics of PyTorch's batch norm, which few-shot learners do not use.
const RUNNING: [&str; 3] = [".running_mean", ".running_var", ".num_batches_tracked"];

/// The weights in checkpoint `saved` of a run of `config`, ready to be written to a file.
///
/// # Errors
/// Returns an error if the checkpoint is of another network.
pub fn export(config: &Config, saved: &Saved) -> Result<Archive, Error> {
    let learner = Learner::new(config, device::open(Backend::Flex)?);
    let theta = saved.theta(&learner.leaves(), &learner.opened.device)?;
    let mut archive = Archive::default();
    model::store(&mut archive, "", &renamed(learner.leaves()), &theta);
    let text = [
        ("format", "pt".into()),
        (CONFIG, described(config)?),
        ("epsilon", EPSILON.to_string()),
        ("step", saved.training_state.step.to_string()),
    ];
    archive.text.extend(text.map(|(key, value)| (key.into(), value)));
    Ok(archive)
}

/// A configuration as JSON, without hardware settings and paths of data.
fn described(config: &Config) -> Result<String, Error> {
    let mut table = Table::try_from(config).map_err(crate::config::Error::from)?;
    for key in ["backend", "threads"] {
        table.remove(key);
    }
    if let Some(data) = table.get_mut("data").and_then(toml::Value::as_table_mut) {
        data.remove("path");
        data.remove("list");
    }
    Ok(serde_json::json!(table).to_string())
}

/// θ's parameters under their exported names.
fn renamed(leaves: Vec<Leaf>) -> Vec<Leaf> {
    let named = |leaf: Leaf| match leaf.name.strip_prefix(THETA) {
        Some(name) => Leaf { name: name.into(), ..leaf },
        None => leaf,
    };
    leaves.into_iter().map(named).collect()
}

/// Weights read from a file that [`export`] or PyTorch wrote.
pub struct ExportedWeights {
    archive: Archive,
}

impl ExportedWeights {
    /// Reads a file.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read, is no safetensors file, or is a checkpoint.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let archive = Archive::read(path)?;
        if archive.names().any(|name| name.starts_with(THETA)) {
            return Err(Error::Checkpoint { path: path.into() });
        }
        Ok(Self { archive })
    }

    /// The configuration in the file, if there is one. It has no data path.
    ///
    /// # Errors
    /// Returns an error if the configuration is damaged.
    pub fn config(&self) -> Result<Option<RawConfig>, Error> {
        let Some(text) = self.archive.text.get(CONFIG) else { return Ok(None) };
        let path = &self.archive.path;
        let unreadable = |reason: String| Error::Header { path: path.clone(), reason };
        let table: Table = serde_json::from_str(text).map_err(|error| unreadable(error.to_string()))?;
        let text = toml::to_string(&table).map_err(|error| unreadable(error.to_string()))?;
        Ok(Some(RawConfig::parse(format!("the configuration in {}", path.display()), &text)?))
    }

    /// Starts a run of `config` in `path` with these weights.
    ///
    /// # Errors
    /// Returns an error, without writing anything, if these are not the weights of its network or
    /// [`Trainer::start_at`] fails.
    pub fn import(&self, config: Config, path: &Path, watcher: &mut dyn Watcher) -> Result<Trainer, Error> {
        let (seed, mut warnings) = (config.seed, vec![]);
        let start = |learner: &Learner| self.theta(learner, seed, &mut |warning| warnings.push(warning));
        let trainer = Trainer::start_at(start, config, path, watcher)?;
        warnings.iter().for_each(|warning| watcher.warning(warning));
        Ok(trainer)
    }

    /// θ. Learned inner rates that the file does not have are initialised from the configuration.
    fn theta(&self, learner: &Learner, seed: u64, warn: &mut dyn FnMut(String)) -> Result<Params, Error> {
        let leaves = renamed(learner.leaves());
        self.check(&leaves, warn)?;
        let device = &learner.opened.device;
        let has_rates = self.archive.names().any(|name| name.starts_with(RATE));
        let network = learner.architecture.leaves().len();
        let (given, begun) = leaves.split_at(if has_rates { leaves.len() } else { network });
        let given = model::stored(&self.archive, "", given, device).map_err(Error::Unfit)?;
        let begun = model::initialise_leaves(begun, seed, device);
        Ok(Params::new([given.into_leaves(), begun.into_leaves()].concat()))
    }

    /// Checks that every array is one of `leaves` and has finite values.
    fn check(&self, leaves: &[Leaf], warn: &mut dyn FnMut(String)) -> Result<(), Error> {
        let known: BTreeSet<&str> = leaves.iter().map(|leaf| leaf.name.as_str()).collect();
        let path = || self.archive.path.clone();
        for name in self.archive.names() {
            if known.contains(name) {
                if !is_finite(self.archive.get(name)?.1) {
                    return Err(Error::Values { path: path(), name: name.into() });
                }
            } else if RUNNING.iter().any(|running| name.ends_with(running)) {
                warn(format!("`{name}` is ignored: batch norm uses the statistics of the episode's images"));
            } else {
                return Err(Error::Extra { path: path(), name: name.into(), hint: hint(name) });
            }
        }
        Ok(())
    }
}

fn hint(name: &str) -> &'static str {
    match name {
        name if name.starts_with(RATE) => "; to learn inner rates, `--set inner.rates=learned`",
        name if name.starts_with("conv") && name.ends_with(".bias") => {
            "; for convolutions with a bias, though batch norm subtracts it, `--set model.bias=true`"
        }
        _ => "",
    }
}

/// Whether all values are finite in single precision.
fn is_finite(values: &Values) -> bool {
    match values {
        Values::F32(values) => values.iter().all(|value| value.is_finite()),
        Values::F64(values) => values.iter().all(|value| (*value as f32).is_finite()),
        Values::I64(_) => true,
    }
}
