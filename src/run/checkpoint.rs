//! Checkpoints: everything a run needs to continue, in one safetensors file.
//!
//! θ is stored under PyTorch's names and layouts (`theta.conv1.weight`, and `rate.conv1.weight` for learned
//! inner rates), the optimiser's state leaf by leaf, the estimator's vector like θ, and the rest as JSON in
//! the header. There is no random state: draws are keyed by step.

use super::{Best, Error, Ranking};
use crate::config::{Config, Purpose};
use crate::model::{self, Leaf};
use crate::support::archive::{self, Archive, Values};
use bilevel::Params;
use bilevel::estimator::State;
use bilevel::hypergradient::Evaluations;
use bilevel::optimizer::OptimizerState;
use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::Path;

/// Version of the file format.
const FORMAT: u32 = 1;
/// The largest whole number that every JSON reader represents exactly.
const LARGEST_COUNT: u64 = 1 << 53;
/// Prefix of the names of the vector that an estimator may keep.
const VECTOR: &str = "estimator.";
/// The text that names the optimiser.
const OPTIMIZER: &str = "optimizer";
/// Prefix of the names of the optimiser's arrays and counts.
const OPTIMIZER_STATE: &str = "optimizer.";
/// The header's key for all that is not an array.
const HEADER: &str = "metaburn";

/// A run's state apart from its arrays.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingState {
    /// Outer steps taken.
    pub step: u64,
    /// Gradient evaluations of these steps.
    pub evaluations: Evaluations,
    /// Seconds of training so far, over all sessions.
    pub seconds: f64,
    /// The best validation so far.
    pub best: Option<Best>,
    /// The next best validations whose checkpoints are kept, best first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runners_up: Vec<Best>,
    /// Outer steps that left θ unchanged because they diverged.
    #[serde(default)]
    pub skipped_steps: u64,
    /// How often the run went back to a checkpoint because it diverged.
    #[serde(default)]
    pub rewinds: u64,
    /// The estimator's state.
    pub estimator: Value,
    /// Digest of the training images; empty if it is unknown, as for imported weights of another program.
    pub data: String,
    /// The settings behind this state, as [`Config::described`] gives them; null in checkpoints of earlier versions.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub settings: Value,
}

impl TrainingState {
    /// The best validations so far.
    pub fn ranking(&self) -> Ranking {
        Ranking::new(self.best.into_iter().chain(self.runners_up.iter().copied()))
    }

    /// Whether all counts are small enough to keep counting.
    fn is_countable(&self) -> bool {
        are_countable(&[self.step, self.skipped_steps, self.rewinds], self.evaluations)
    }
}

/// Whether these counts, and those of `evaluations`, are small enough to keep counting.
pub fn are_countable(counts: &[u64], evaluations: Evaluations) -> bool {
    let Evaluations { inner, outer, products, recomputed } = evaluations;
    counts.iter().chain(&[inner, outer, products, recomputed]).all(|count| *count <= LARGEST_COUNT)
}

#[derive(Serialize, Deserialize)]
struct Header {
    format: u32,
    /// The archive's seal, computed with this field empty.
    seal: String,
    #[serde(flatten)]
    training_state: TrainingState,
}

impl Header {
    fn put(&self, archive: &mut Archive) -> Result<(), serde_json::Error> {
        archive.text.insert(HEADER.into(), serde_json::to_string(self)?);
        Ok(())
    }
}

/// Writes a checkpoint atomically. `leaves` describe θ.
///
/// # Errors
/// Returns an error if the file cannot be written.
pub fn save(
    path: &Path,
    leaves: &[Leaf],
    theta: &Params,
    optimizer: OptimizerState,
    vector: Option<&Params>,
    training_state: &TrainingState,
) -> Result<(), Error> {
    let mut archive = Archive::default();
    model::store(&mut archive, "", leaves, theta);
    if let Some(vector) = vector {
        model::store(&mut archive, VECTOR, leaves, vector);
    }
    archive.text.insert(OPTIMIZER.into(), optimizer.name);
    for (name, data) in optimizer.tensors {
        let shape = data.shape().to_vec();
        archive.set(format!("{OPTIMIZER_STATE}{name}"), &shape, Values::F32(data.iter::<f32>().collect()));
    }
    for (name, count) in optimizer.counts {
        archive.text.insert(format!("{OPTIMIZER_STATE}{name}"), count.to_string());
    }
    let unusable =
        |error: serde_json::Error| Error::Checkpoint { path: path.into(), reason: error.to_string() };
    let mut header = Header { format: FORMAT, seal: String::new(), training_state: training_state.clone() };
    header.put(&mut archive).map_err(unusable)?;
    header.seal = archive.seal();
    header.put(&mut archive).map_err(unusable)?;
    Ok(archive.write(path)?)
}

/// Writes an intact checkpoint after outer step `step`, without arrays and with these best validations, for tests.
#[cfg(test)]
pub(super) fn save_example(path: &Path, step: u64, best: &[Best]) {
    let training_state = TrainingState {
        step,
        evaluations: Evaluations::default(),
        seconds: 0.0,
        best: best.first().copied(),
        runners_up: best.iter().skip(1).copied().collect(),
        skipped_steps: 0,
        rewinds: 0,
        estimator: Value::Null,
        data: String::new(),
        settings: Value::Null,
    };
    let (theta, optimizer) = (Params::new(Vec::new()), OptimizerState::default());
    save(path, &[], &theta, optimizer, None, &training_state).unwrap();
}

/// A checkpoint that has been read and verified.
pub struct Saved {
    archive: Archive,
    /// The run's state.
    pub training_state: TrainingState,
}

impl Saved {
    /// Reads and verifies a checkpoint.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read, is damaged, or has another format.
    pub fn read(path: &Path) -> Result<Self, Error> {
        Self::verified(path, Archive::read(path))
    }

    /// The same from the `bytes` of a checkpoint that another process has read; error messages call it `path`.
    ///
    /// # Errors
    /// Returns an error if they are damaged or have another format.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, Error> {
        Self::verified(path, Archive::parse(path, bytes))
    }

    fn verified(path: &Path, archive: Result<Archive, archive::Error>) -> Result<Self, Error> {
        let unusable = |reason: String| Error::Checkpoint { path: path.into(), reason };
        let mut archive = archive.map_err(|error| unusable(error.to_string()))?;
        let header =
            archive.text.get(HEADER).ok_or_else(|| unusable("it was not written by metaburn".into()))?;
        let malformed = |error: serde_json::Error| unusable(format!("its header: {error}"));
        let value: Value = serde_json::from_str(header).map_err(malformed)?;
        let format = value.get("format").and_then(Value::as_u64);
        if format != Some(u64::from(FORMAT)) {
            let found = format.map_or_else(|| "none".into(), |format| format.to_string());
            return Err(unusable(format!("its format is {found}, and this program reads {FORMAT}")));
        }
        let mut header: Header = serde_json::from_value(value).map_err(malformed)?;
        let seal = std::mem::take(&mut header.seal);
        header.put(&mut archive).map_err(malformed)?;
        if seal != archive.seal() {
            return Err(unusable("it does not match its checksum; the file is damaged".into()));
        }
        if !header.training_state.is_countable() {
            let reason = "its counts of steps or evaluations are implausibly large (above 2⁵³)";
            return Err(unusable(reason.into()));
        }
        Ok(Self { training_state: header.training_state, archive })
    }

    /// Checks that `config`, the configuration in the run directory `path`, is the one that this checkpoint was reached with,
    /// apart from what may change for `purpose`.
    ///
    /// # Errors
    /// Returns an error that names the other settings that differ.
    pub fn check_settings(&self, config: &Config, purpose: Purpose, path: &Path) -> Result<(), Error> {
        let (_, changes) = config.changes(&self.training_state.settings, purpose);
        // What may change in training has no effect on an evaluation.
        let (_, in_training) = config.changes(&self.training_state.settings, Purpose::Training);
        let changes: Vec<_> = changes.into_iter().filter(|change| in_training.contains(change)).collect();
        if changes.is_empty() { Ok(()) } else { Err(Error::Changed { path: path.into(), changes }) }
    }

    /// θ on `device`.
    ///
    /// # Errors
    /// Returns an error if the arrays do not match `leaves`.
    pub fn theta(&self, leaves: &[Leaf], device: &Device) -> Result<Params, Error> {
        Ok(model::stored(&self.archive, "", leaves, device)?)
    }

    /// The estimator's state, its vector on `device` if it keeps one.
    ///
    /// # Errors
    /// Returns an error if the vector's arrays do not have the shapes of `leaves`.
    pub fn estimator(&self, leaves: &[Leaf], device: &Device) -> Result<State, Error> {
        let kept = self.archive.names().any(|name| name.starts_with(VECTOR));
        let vector = kept.then(|| model::stored(&self.archive, VECTOR, leaves, device)).transpose()?;
        Ok(State { values: self.training_state.estimator.clone(), vector })
    }

    /// The optimiser's state.
    ///
    /// # Errors
    /// Returns an error if a count is not a number.
    pub fn optimizer(&self) -> Result<OptimizerState, Error> {
        let unusable = |reason| Error::Checkpoint { path: self.archive.path.clone(), reason };
        let mut state = OptimizerState {
            name: self.archive.text.get(OPTIMIZER).cloned().unwrap_or_default(),
            ..OptimizerState::default()
        };
        for (name, count) in &self.archive.text {
            if let Some(field) = name.strip_prefix(OPTIMIZER_STATE) {
                let count =
                    count.parse().map_err(|_| unusable(format!("`{name}` is not a number of steps")))?;
                state.counts.insert(field.into(), count);
            }
        }
        for name in self.archive.names() {
            if let Some(field) = name.strip_prefix(OPTIMIZER_STATE) {
                state.tensors.insert(field.into(), self.archive.data(name)?);
            }
        }
        Ok(state)
    }
}
