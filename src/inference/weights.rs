//! Weights in a safetensors file with PyTorch's names.
//!
//! The network's arrays have the names that PyTorch's `load_state_dict` expects: `conv1.weight` instead of a
//! checkpoint's `theta.conv1.weight`. Learned inner rates are named `rate.conv1.weight`. The header also has
//! `config`, the run's configuration as JSON without hardware settings and data path; `epsilon` of batch norm; and what is
//! known of the training: `step`, the number of outer steps taken, their `evaluations` and `seconds`, `data`, the digest of
//! the images trained on, and `split`, which class was in which part.

use super::Error;
use crate::config::{Config, RawConfig};
use crate::data::{Channels, KeptSplit};
use crate::model::{self, EPSILON, Leaf};
use crate::run::{Saved, TrainingState, are_countable};
use crate::support::archive::{Archive, Values};
use crate::train::{self, Earlier, Episodes, Learner, Origin, Watcher};
use bilevel::device::Backend;
use bilevel::hypergradient::Evaluations;
use bilevel::{Params, device};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::Path;
use toml::Table;

/// Prefix of the network's names in a checkpoint.
const THETA: &str = "theta.";
/// Prefix of learned inner rates, in both files.
const RATE: &str = "rate.";
/// The header's keys for the configuration and for what is known of the training.
const CONFIG: &str = "config";
const STEP: &str = "step";
const EVALUATIONS: &str = "evaluations";
const SECONDS: &str = "seconds";
const DATA: &str = "data";
const SPLIT: &str = "split";
/// Running statistics of PyTorch's batch norm, which few-shot learners do not use.
const RUNNING: [&str; 3] = [".running_mean", ".running_var", ".num_batches_tracked"];

/// The weights in checkpoint `saved` of a run of `config` with this `split`, ready to be written to a file.
///
/// # Errors
/// Returns an error if the checkpoint is of another network.
pub fn export(config: &Config, saved: &Saved, split: Option<&KeptSplit>) -> Result<Archive, Error> {
    let learner = Learner::new(config, device::open(Backend::Flex)?);
    let theta = saved.theta(&learner.leaves(), &learner.opened.device)?;
    let mut archive = Archive::default();
    model::store(&mut archive, "", &renamed(learner.leaves()), &theta);
    let TrainingState { step, evaluations, seconds, data, .. } = &saved.training_state;
    let text = [
        ("format", "pt".into()),
        (CONFIG, config.described().to_string()),
        ("epsilon", EPSILON.to_string()),
        (STEP, step.to_string()),
        (EVALUATIONS, json!(evaluations).to_string()),
        (SECONDS, seconds.to_string()),
        (DATA, data.clone()),
    ];
    archive.text.extend(text.map(|(key, value)| (key.into(), value)));
    if let Some(split) = split {
        archive.text.insert(SPLIT.into(), serde_json::json!(split).to_string());
    }
    Ok(archive)
}

/// θ's parameters under their exported names.
fn renamed(leaves: Vec<Leaf>) -> Vec<Leaf> {
    let named = |leaf: Leaf| match leaf.name.strip_prefix(THETA) {
        Some(name) => Leaf { name: name.into(), ..leaf },
        None => leaf,
    };
    leaves.into_iter().map(named).collect()
}

/// A run that was made of imported weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// The training behind the weights.
    pub origin: Origin,
    /// Whether the images of the configuration are there.
    pub has_data: bool,
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
        let mut config = RawConfig::parse(format!("the configuration in {}", path.display()), &text)?;
        if table.get("data").is_some_and(|data| data.get("channels").is_none()) {
            // It was written when all images were made grey.
            config.set("data.channels=1")?;
        }
        Ok(Some(config))
    }

    /// The split with which the weights were trained, if the file has it.
    ///
    /// # Errors
    /// Returns an error if the split is damaged.
    pub fn split(&self) -> Result<Option<KeptSplit>, Error> {
        let Some(text) = self.archive.text.get(SPLIT) else { return Ok(None) };
        let unreadable = |reason| Error::Split { path: self.archive.path.clone(), reason };
        serde_json::from_str(text).map(Some).map_err(|error| unreadable(error.to_string()))
    }

    /// Writes a run of `config` to `path` with these weights, after the outer steps that they were trained for. Without
    /// `needs_data`, images that are not there are no error: prediction does not need them. Classes are split as in the training
    /// behind the weights; none that they were trained on is tested on.
    ///
    /// # Errors
    /// Returns an error, without writing anything, if these are not the weights of its network, or the images are damaged or too
    /// few.
    pub fn import(
        &self,
        config: &Config,
        path: &Path,
        needs_data: bool,
        watcher: &mut dyn Watcher,
    ) -> Result<Imported, Error> {
        let opened = device::open(config.backend)?.with_threads(config.threads);
        let build = |config: &Config, watcher: &mut dyn Watcher| -> Result<_, Error> {
            let learner = Learner::new(config, opened.clone());
            let theta = self.theta(&learner, config.seed, watcher)?;
            Ok((learner, theta))
        };
        // Unless the images decide whether there are colours, mismatched weights are reported before images are read.
        let is_open = config.data.as_ref().is_some_and(|data| data.channels.is_none());
        let built = if is_open { None } else { Some(build(config, watcher)?) };
        let mut origin = self.origin()?;
        let split = self.split()?;
        let earlier = split.as_ref().map(Earlier::Weights);
        let found = match Episodes::new(config, &opened, earlier, watcher) {
            Ok(found) => Some(found),
            Err(error) if error.lacks_data() && !needs_data => None,
            Err(error) => return Err(error.into()),
        };
        if let Some((episodes, _)) = &found {
            origin.data = episodes.digest();
        }
        let decided = found.as_ref().map(|(_, decided)| decided);
        let mut config = decided.map_or(config, |decided| &decided.config).clone();
        if let Some(data) = config.data.as_mut().filter(|data| data.channels == Some(Channels::Colour))
            && found.is_none()
        {
            // Images that come later must not decide what these weights were trained with.
            let normalisation = data.normalisation().map_err(train::Error::from)?;
            data.mean = Some(normalisation.mean().to_vec());
            data.deviation = Some(normalisation.deviation().to_vec());
        }
        let (learner, theta) = match built {
            Some(built) => built,
            None => build(&config, watcher)?,
        };
        let split = decided.and_then(|decided| decided.split.as_ref()).or(split.as_ref());
        train::write_imported(theta, &learner, &config, path, split, origin.clone())?;
        decided.iter().flat_map(|decided| &decided.description).for_each(|text| watcher.note(text));
        Ok(Imported { origin, has_data: found.is_some() })
    }

    /// What the file says of the training behind the weights; nothing if another program wrote it.
    fn origin(&self) -> Result<Origin, Error> {
        let text = |key| self.archive.text.get(key).map(String::as_str);
        let unreadable = |key: &str| Error::Header {
            path: self.archive.path.clone(),
            reason: format!("its `{key}` is not a number"),
        };
        let number = |key| text(key).map_or(Ok(0.0), |text| text.parse().map_err(|_| unreadable(key)));
        let origin = Origin {
            step: text(STEP).map_or(Ok(0), |text| text.parse().map_err(|_| unreadable(STEP)))?,
            evaluations: text(EVALUATIONS).map_or(Ok(Evaluations::default()), |text| {
                serde_json::from_str(text).map_err(|_| unreadable(EVALUATIONS))
            })?,
            seconds: Some(number(SECONDS)?).filter(|seconds: &f64| seconds.is_finite()).unwrap_or_default(),
            data: text(DATA).unwrap_or_default().into(),
        };
        match are_countable(&[origin.step], origin.evaluations) {
            true => Ok(origin),
            false => Err(Error::Header {
                path: self.archive.path.clone(),
                reason: "its counts of steps or evaluations are implausibly large (above 2⁵³)".into(),
            }),
        }
    }

    /// θ. Learned inner rates that the file does not have are initialised from the configuration.
    fn theta(&self, learner: &Learner, seed: u64, watcher: &mut dyn Watcher) -> Result<Params, Error> {
        let leaves = renamed(learner.leaves());
        self.check(&leaves, watcher)?;
        let device = &learner.opened.device;
        let has_rates = self.archive.names().any(|name| name.starts_with(RATE));
        let network = learner.architecture.leaves().len();
        let (given, begun) = leaves.split_at(if has_rates { leaves.len() } else { network });
        let given = model::stored(&self.archive, "", given, device).map_err(Error::Unfit)?;
        let begun = model::initialise_leaves(begun, seed, device);
        Ok(Params::new([given.into_leaves(), begun.into_leaves()].concat()))
    }

    /// Checks that every array is one of `leaves` and has finite values.
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
                    "`{name}` is ignored: batch norm uses the statistics of the episode's images"
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
        name if name.starts_with("module.") => {
            "; PyTorch's DataParallel puts `module.` before every name: save `model.module.state_dict()`"
        }
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
