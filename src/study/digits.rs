//! MNIST, and where a study computes on it.

use super::Error;
use crate::backend::{self, Opened};
use crate::config::Backend;
use crate::data::{Labelled, Mnist, mnist};
use crate::hex::hex;
use crate::problem::Batch;
use burn::tensor::DType;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::path::Path;

/// Digits, and the device that they are learned on.
#[derive(Clone, Debug)]
pub struct Digits {
    all: Mnist,
    digest: String,
    opened: Opened,
}

/// How large a study of them is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Size {
    /// Repetitions behind every mean, each with its own digits and draws; ≥ 2.
    pub seeds: u64,
    /// Training digits.
    pub train: usize,
    /// Validation digits.
    pub validation: usize,
    /// Test digits.
    pub test: usize,
    /// r.
    pub inner_steps: usize,
    /// Gradient evaluations of every descent, and of whatever it is held against at equal cost.
    pub evaluations: u64,
}

impl Digits {
    /// Reads MNIST from the folder `path`, for `backend`.
    ///
    /// # Errors
    /// If it is not there or not sound, or the backend cannot be had.
    pub fn read(path: &Path, backend: Backend) -> Result<Self, Error> {
        Ok(Self::new(mnist::load(path)?, backend::open(backend)?))
    }

    /// These, or whatever else is labelled.
    pub fn new(all: Mnist, opened: Opened) -> Self {
        let mut hash = Sha256::new();
        for part in [&all.train, &all.test] {
            hash.update(part.images());
            part.labels().iter().for_each(|label| hash.update(label.to_le_bytes()));
        }
        Self { digest: hex(&hash.finalize()[..8]), all, opened }
    }

    /// `train` and `validation` digits to learn from and `test` others to report on, as `seed` draws them.
    ///
    /// # Errors
    /// If there are not so many.
    pub fn parts(&self, [train, validation, test]: [usize; 3], seed: u64) -> Result<[Labelled; 3], Error> {
        let [train, validation] = self.all.train.parts([train, validation], seed)?;
        let [test] = self.all.test.parts([test], seed)?;
        Ok([train, validation, test])
    }

    /// `set` as one task's, in float32.
    pub fn batch(&self, set: &Labelled) -> Batch {
        Batch::of(set, (&self.opened.device, DType::F32))
    }

    /// The device.
    pub fn opened(&self) -> &Opened {
        &self.opened
    }

    /// The beginning of the SHA-256 of all images and labels, in hexadecimal.
    pub fn digest(&self) -> &str {
        &self.digest
    }
}
