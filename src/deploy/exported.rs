//! Weights outside a run: a safetensors file under PyTorch's names.
//!
//! The network's arrays are called as PyTorch's `load_state_dict` wants them: `conv1.weight`, not
//! `theta.conv1.weight` as in a checkpoint. Learned inner rates stand beside them as `rate.conv1.weight`. The
//! header's text has `config`, the run's configuration as JSON, without where it ran and where its data lies;
//! `epsilon`, batch norm's; and `step`, the outer step after which they were so.

use super::Error;
use crate::archive::{Archive, Values};
use crate::backend;
use crate::config::{Backend, Config, RawConfig};
use crate::model::{self, EPSILON, Leaf};
use crate::stack::Stack;
use crate::trainer::{Learner, Saved, Trainer, Watcher};
use std::collections::BTreeSet;
use std::path::Path;
use toml::Table;

/// What stands before the network's names in a checkpoint's.
const THETA: &str = "theta.";
/// What stands before those of learned inner rates, here as there.
const RATE: &str = "rate.";
/// The header's key for the configuration.
const CONFIG: &str = "config";
/// What PyTorch's batch norm keeps beside its weights, and no few-shot learner uses.
const RUNNING: [&str; 3] = [".running_mean", ".running_var", ".num_batches_tracked"];

/// The weights of a run of `config` as its checkpoint `saved` has them, to be written to a file.
///
/// # Errors
/// If the checkpoint is another network's.
pub fn export(config: &Config, saved: &Saved) -> Result<Archive, Error> {
    let learner = Learner::new(config, backend::open(Backend::Flex)?);
    let theta = saved.theta(&learner.leaves(), &learner.opened.device)?;
    let mut archive = Archive::default();
    model::store(&mut archive, "", &outside(learner.leaves()), &theta);
    let text = [
        ("format", "pt".into()),
        (CONFIG, described(config)?),
        ("epsilon", EPSILON.to_string()),
        ("step", saved.standing.step.to_string()),
    ];
    archive.text.extend(text.map(|(key, value)| (key.into(), value)));
    Ok(archive)
}

/// A configuration as JSON, without where the run was made.
fn described(config: &Config) -> Result<String, Error> {
    let mut table = Table::try_from(config).map_err(crate::config::Error::from)?;
    for key in ["backend", "threads"] {
        table.remove(key);
    }
    if let Some(data) = table.get_mut("data").and_then(toml::Value::as_table_mut) {
        data.remove("path");
    }
    Ok(serde_json::json!(table).to_string())
}

/// θ's parameters under the names that they have outside.
fn outside(leaves: Vec<Leaf>) -> Vec<Leaf> {
    let named = |leaf: Leaf| match leaf.name.strip_prefix(THETA) {
        Some(name) => Leaf { name: name.into(), ..leaf },
        None => leaf,
    };
    leaves.into_iter().map(named).collect()
}

/// Weights read from a file, made by [`export`] or by PyTorch.
pub struct Exported {
    archive: Archive,
}

impl Exported {
    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read, is no safetensors file, or is a checkpoint.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let archive = Archive::read(path)?;
        if archive.names().any(|name| name.starts_with(THETA)) {
            return Err(Error::Checkpoint { path: path.into() });
        }
        Ok(Self { archive })
    }

    /// The configuration that they were exported with, if the file has one. It does not say where the data lies.
    ///
    /// # Errors
    /// If it is damaged.
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
    /// If they are not the weights of its network, or [`Trainer::start_at`] refuses; nothing is written then.
    pub fn import(&self, config: Config, path: &Path, watcher: &mut dyn Watcher) -> Result<Trainer, Error> {
        let opened = backend::open(config.backend)?.with_threads(config.threads);
        let learner = Learner::new(&config, opened);
        let theta = self.theta(&learner, config.seed, watcher)?;
        Ok(Trainer::start_at(theta, learner, config, path, watcher)?)
    }

    /// θ. Inner rates that are to be learned and that the file does not have start as the configuration says.
    fn theta(&self, learner: &Learner, seed: u64, watcher: &mut dyn Watcher) -> Result<Stack, Error> {
        let leaves = outside(learner.leaves());
        self.check(&leaves, watcher)?;
        let device = &learner.opened.device;
        let has_rates = self.archive.names().any(|name| name.starts_with(RATE));
        let network = learner.architecture.leaves().len();
        let (given, begun) = leaves.split_at(if has_rates { leaves.len() } else { network });
        let given = model::stored(&self.archive, "", given, device).map_err(Error::Unfit)?;
        let begun = model::initialise_leaves(begun, seed, device);
        Ok(Stack::new([given.into_leaves(), begun.into_leaves()].concat()))
    }

    /// That every array has a place among `leaves`, and finite values.
    fn check(&self, leaves: &[Leaf], watcher: &mut dyn Watcher) -> Result<(), Error> {
        let known: BTreeSet<&str> = leaves.iter().map(|leaf| leaf.name.as_str()).collect();
        let path = || self.archive.path.clone();
        for name in self.archive.names() {
            if known.contains(name) {
                if !is_finite(self.archive.get(name)?.1) {
                    return Err(Error::Values { path: path(), name: name.into() });
                }
            } else if RUNNING.iter().any(|running| name.ends_with(running)) {
                watcher.warning(&format!(
                    "`{name}` is left out: batch norm takes its statistics from the images at hand"
                ));
            } else {
                return Err(Error::Extra { path: path(), name: name.into(), hint: hint(name) });
            }
        }
        Ok(())
    }
}

fn hint(name: &str) -> &'static str {
    match name {
        name if name.starts_with(RATE) => "; to go on learning inner rates, `--set inner.rates=learned`",
        name if name.starts_with("conv") && name.ends_with(".bias") => {
            "; no convolution has a bias here, since batch norm would subtract it again"
        }
        _ => "",
    }
}

/// Whether all values are finite, in single precision too.
fn is_finite(values: &Values) -> bool {
    match values {
        Values::F32(values) => values.iter().all(|value| value.is_finite()),
        Values::F64(values) => values.iter().all(|value| (*value as f32).is_finite()),
        Values::I64(_) => true,
    }
}
