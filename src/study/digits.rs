//! MNIST as the studies use it: data, device, sizes, and the options of the command line.

use super::registry::parsed;
use super::{ConfigSource, Error, OptionInfo, Scale, Study, StudyOption, StudyOptions};
use crate::data::{Labelled, Mnist, mnist};
use crate::support::hex::hex;
use crate::task::Batch;
use bilevel::device::{self, Backend, Opened};
use burn::tensor::DType;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

/// Labelled digits, and the device to compute on.
#[derive(Clone, Debug)]
pub struct Digits {
    all: Mnist,
    digest: String,
    opened: Opened,
}

/// Size of a study on digits.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Size {
    /// Repetitions behind every mean, each with its own digits and random draws; ≥ 2.
    pub seeds: u64,
    /// Training digits.
    pub train: usize,
    /// Validation digits.
    pub validation: usize,
    /// Test digits.
    pub test: usize,
    /// Inner steps r.
    pub inner_steps: usize,
    /// Gradient evaluations of every descent, and of every baseline compared at equal cost.
    pub evaluations: u64,
}

/// A study on digits, at one of two sizes.
pub trait DigitsStudy: Study {
    /// Full size.
    const FULL: Size;
    /// Quick size.
    const QUICK: Size;

    /// The study on `digits` at `size`.
    fn new(digits: Digits, size: Size) -> Self;
}

/// Options of the study `S` on MNIST: data folder and backend.
pub struct DigitsOptions<S> {
    data: PathBuf,
    backend: Backend,
    study: PhantomData<S>,
}

impl<S> Default for DigitsOptions<S> {
    fn default() -> Self {
        Self { data: "datasets/mnist".into(), backend: Backend::Auto, study: PhantomData }
    }
}

impl<S: DigitsStudy + 'static> StudyOptions for DigitsOptions<S> {
    type Study = S;

    const OPTIONS: &'static [StudyOption<Self>] = &[
        StudyOption {
            info: OptionInfo {
                default: Some("datasets/mnist"),
                ..OptionInfo::new(
                    "data",
                    "PATH",
                    "Folder with MNIST's four files; `metaburn data fetch mnist` saves them here",
                )
            },
            set: |options, path| {
                options.data = path.into();
                Ok(())
            },
        },
        StudyOption {
            info: OptionInfo {
                default: Some("auto"),
                ..OptionInfo::new(
                    "backend",
                    "BACKEND",
                    "Compute backend: auto, flex, ndarray, wgpu, vulkan or cuda",
                )
            },
            set: |options, name| {
                options.backend = parsed(name)?;
                Ok(())
            },
        },
    ];

    fn build(self, scale: Scale, _source: &dyn ConfigSource) -> Result<S, Error> {
        let size = match scale {
            Scale::Full => S::FULL,
            Scale::Quick => S::QUICK,
        };
        Ok(S::new(Digits::read(&self.data, self.backend)?, size))
    }
}

impl Digits {
    /// Reads MNIST from the folder `path`, and opens `backend`.
    ///
    /// # Errors
    /// Returns an error if the files are missing or damaged, or the backend is not available.
    pub fn read(path: &Path, backend: Backend) -> Result<Self, Error> {
        Ok(Self::new(mnist::load(path)?, device::open(backend)?))
    }

    /// `all`, which may be any labelled images, on the device of `opened`.
    pub fn new(all: Mnist, opened: Opened) -> Self {
        let mut hash = Sha256::new();
        for part in [&all.train, &all.test] {
            hash.update(part.images());
            part.labels().iter().for_each(|label| hash.update(label.to_le_bytes()));
        }
        Self { digest: hex(&hash.finalize()[..8]), all, opened }
    }

    /// Draws the training, validation and test digits of `seed`. Training and validation digits are disjoint parts of
    /// MNIST's training set; test digits are from its test set.
    ///
    /// # Errors
    /// Returns an error if there are not enough digits.
    pub fn parts(&self, [train, validation, test]: [usize; 3], seed: u64) -> Result<[Labelled; 3], Error> {
        let [train, validation] = self.all.train.parts([train, validation], seed)?;
        let [test] = self.all.test.parts([test], seed)?;
        Ok([train, validation, test])
    }

    /// `set` as a float32 batch of a single task.
    pub fn batch(&self, set: &Labelled) -> Batch {
        Batch::of(set, (&self.opened.device, DType::F32))
    }

    /// The opened backend.
    pub fn opened(&self) -> &Opened {
        &self.opened
    }

    /// The first 8 bytes of the SHA-256 of all images and labels, in hexadecimal.
    pub fn digest(&self) -> &str {
        &self.digest
    }
}
