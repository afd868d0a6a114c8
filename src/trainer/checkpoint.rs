//! Checkpoints: everything a run needs to go on, in one safetensors file.
//!
//! θ is kept under PyTorch's names and layouts (`theta.conv1.weight`, and `rate.conv1.weight` for its learned
//! inner rates), the optimiser's state leaf by leaf, the estimator's vector as θ is, and the rest as JSON in
//! the header. No random state is kept: draws are keyed by step.

use super::Error;
use super::optimizer::OuterOptimizer;
use crate::archive::Archive;
use crate::hypergradient::Evaluations;
use crate::model::{self, Leaf};
use crate::stack::Stack;
use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::Path;

/// The layout that this program writes and reads.
const FORMAT: u32 = 1;
/// The largest whole number that JSON has exactly everywhere.
const LARGEST_COUNT: u64 = 1 << 53;
/// What stands before θ's names in those of the vector that an estimator may keep.
const VECTOR: &str = "estimator.";
/// The header's key for everything that is not an array.
const HEADER: &str = "metaburn";

/// Where a run stands, apart from its arrays.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// Outer steps taken.
    pub step: u64,
    /// What they cost.
    pub evaluations: Evaluations,
    /// Seconds of training so far, over all sessions.
    pub seconds: f64,
    /// The best validation so far.
    pub best: Option<Best>,
    /// Outer steps that left θ as it was, since they diverged.
    #[serde(default)]
    pub skipped_steps: u64,
    /// How often the run went back to a checkpoint, since it diverged.
    #[serde(default)]
    pub rewinds: u64,
    /// The estimator's own state.
    pub estimator: Value,
    /// Digest of the images trained on.
    pub data: String,
}

impl Standing {
    /// Whether its counts leave room to go on counting.
    fn is_countable(&self) -> bool {
        let Evaluations { inner, outer, products, recomputed } = self.evaluations;
        let counts = [self.step, self.skipped_steps, self.rewinds, inner, outer, products, recomputed];
        counts.into_iter().all(|count| count <= LARGEST_COUNT)
    }
}

/// The best validation so far.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// The outer step after which it was measured.
    pub step: u64,
    /// Its accuracy in percent.
    pub accuracy: f64,
}

#[derive(Serialize, Deserialize)]
struct Header {
    format: u32,
    /// The archive's seal, taken while this field was empty.
    seal: String,
    #[serde(flatten)]
    standing: Standing,
}

impl Header {
    fn put(&self, archive: &mut Archive) -> Result<(), serde_json::Error> {
        archive.text.insert(HEADER.into(), serde_json::to_string(self)?);
        Ok(())
    }
}

/// Writes a checkpoint, whole or not at all; `leaves` are θ's.
///
/// # Errors
/// If the file cannot be written.
pub fn save(
    path: &Path,
    leaves: &[Leaf],
    theta: &Stack,
    optimizer: &dyn OuterOptimizer,
    vector: Option<&Stack>,
    standing: &Standing,
) -> Result<(), Error> {
    let mut archive = Archive::default();
    model::store(&mut archive, "", leaves, theta);
    if let Some(vector) = vector {
        model::store(&mut archive, VECTOR, leaves, vector);
    }
    optimizer.save(&mut archive);
    let unusable =
        |error: serde_json::Error| Error::Checkpoint { path: path.into(), reason: error.to_string() };
    let mut header = Header { format: FORMAT, seal: String::new(), standing: standing.clone() };
    header.put(&mut archive).map_err(unusable)?;
    header.seal = archive.seal();
    header.put(&mut archive).map_err(unusable)?;
    Ok(archive.write(path)?)
}

/// A checkpoint read back and found whole.
pub struct Saved {
    archive: Archive,
    /// Where the run stood.
    pub standing: Standing,
}

impl Saved {
    /// Reads and verifies a checkpoint.
    ///
    /// # Errors
    /// If it cannot be read, is damaged, or was written in another format.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let unusable = |reason: String| Error::Checkpoint { path: path.into(), reason };
        let mut archive = Archive::read(path).map_err(|error| unusable(error.to_string()))?;
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
        if !header.standing.is_countable() {
            return Err(unusable("it counts more steps than anybody can have taken".into()));
        }
        Ok(Self { standing: header.standing, archive })
    }

    /// θ on `device`.
    ///
    /// # Errors
    /// If the arrays are not those of `leaves`.
    pub fn theta(&self, leaves: &[Leaf], device: &Device) -> Result<Stack, Error> {
        Ok(model::stored(&self.archive, "", leaves, device)?)
    }

    /// The vector that the estimator keeps, if it does, on `device`.
    ///
    /// # Errors
    /// If the arrays are not in the shapes of `leaves`.
    pub fn vector(&self, leaves: &[Leaf], device: &Device) -> Result<Option<Stack>, Error> {
        let kept = self.archive.names().any(|name| name.starts_with(VECTOR));
        Ok(kept.then(|| model::stored(&self.archive, VECTOR, leaves, device)).transpose()?)
    }

    /// Hands the optimiser of `theta` its state.
    ///
    /// # Errors
    /// If it is not this optimiser's.
    pub fn restore(
        &self,
        optimizer: &mut dyn OuterOptimizer,
        theta: &Stack,
        device: &Device,
    ) -> Result<(), Error> {
        let unusable = |reason| Error::Checkpoint { path: self.archive.path.clone(), reason };
        optimizer.load(&self.archive, theta, device).map_err(unusable)
    }
}
