//! Named arrays and text in one safetensors file: what checkpoints and gradient cases are made of.

use crate::hex::hex;
use crate::whole;
use burn::tensor::{DType, Device, Tensor, TensorData};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

/// Larger files are refused unread: no case or checkpoint of this program comes near.
const LARGEST_FILE: u64 = 4 << 30;

/// What went wrong with an archive.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum Error {
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("cannot write {path}: {source}")]
    Write { path: PathBuf, source: std::io::Error },
    #[error("{path} is not a sound safetensors file: {reason}")]
    Malformed { path: PathBuf, reason: String },
    #[error("{path} has no array `{name}`")]
    Missing { path: PathBuf, name: String },
    #[error("array `{name}` in {path} has shape {found:?}, but {expected:?} is needed")]
    Shape { path: PathBuf, name: String, found: Vec<usize>, expected: Vec<usize> },
    #[error("array `{name}` in {path} holds {found}, but {expected} is needed")]
    Kind { path: PathBuf, name: String, found: &'static str, expected: &'static str },
}

/// An array's values.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// 32-bit floats.
    F32(Vec<f32>),
    /// 64-bit floats.
    F64(Vec<f64>),
    /// 64-bit integers.
    I64(Vec<i64>),
}

impl Values {
    fn kind(&self) -> &'static str {
        match self {
            Self::F32(_) => "F32",
            Self::F64(_) => "F64",
            Self::I64(_) => "I64",
        }
    }

    fn bytes(&self) -> (Dtype, Vec<u8>) {
        match self {
            Self::F32(values) => (Dtype::F32, values.iter().flat_map(|value| value.to_le_bytes()).collect()),
            Self::F64(values) => (Dtype::F64, values.iter().flat_map(|value| value.to_le_bytes()).collect()),
            Self::I64(values) => (Dtype::I64, values.iter().flat_map(|value| value.to_le_bytes()).collect()),
        }
    }

    fn parse(kind: Dtype, bytes: &[u8]) -> Option<Self> {
        fn words<const N: usize, V>(bytes: &[u8], value: impl Fn([u8; N]) -> V) -> Vec<V> {
            bytes.as_chunks::<N>().0.iter().map(|word| value(*word)).collect()
        }
        Some(match kind {
            Dtype::F32 => Self::F32(words(bytes, f32::from_le_bytes)),
            Dtype::F64 => Self::F64(words(bytes, f64::from_le_bytes)),
            Dtype::I64 => Self::I64(words(bytes, i64::from_le_bytes)),
            _ => return None,
        })
    }
}

/// Named arrays and text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Archive {
    /// Where it was read from; empty for one that was not.
    pub path: PathBuf,
    /// Text by name.
    pub text: BTreeMap<String, String>,
    arrays: BTreeMap<String, (Vec<usize>, Values)>,
}

impl Archive {
    /// Reads a safetensors file.
    ///
    /// # Errors
    /// If the file cannot be read, is too large, is not safetensors, is cut short, or holds an
    /// array that is neither F32, F64 nor I64.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let read = |source| Error::Read { path: path.into(), source };
        let malformed = |reason: String| Error::Malformed { path: path.into(), reason };
        let length = std::fs::metadata(path).map_err(read)?.len();
        if length > LARGEST_FILE {
            return Err(malformed(format!("{length} bytes is more than the {LARGEST_FILE} that are read")));
        }
        let bytes = std::fs::read(path).map_err(read)?;
        let tensors = SafeTensors::deserialize(&bytes).map_err(|error| malformed(error.to_string()))?;
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|error| malformed(error.to_string()))?;
        let text = header.metadata().clone().unwrap_or_default().into_iter().collect();
        let mut arrays = BTreeMap::new();
        for (name, view) in tensors.tensors() {
            let values = Values::parse(view.dtype(), view.data()).ok_or_else(|| {
                malformed(format!("array `{name}` holds {}; use F32, F64 or I64", view.dtype()))
            })?;
            arrays.insert(name, (view.shape().to_vec(), values));
        }
        Ok(Self { path: path.into(), text, arrays })
    }

    /// Writes the archive to `path`, whole or not at all.
    ///
    /// # Errors
    /// If the file cannot be written; the old one is then untouched.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let failed = |source| Error::Write { path: path.into(), source };
        let arrays: Vec<_> =
            self.arrays.iter().map(|(name, (shape, values))| (name, shape, values.bytes())).collect();
        let views: Result<Vec<_>, _> = arrays
            .iter()
            .map(|(name, shape, (kind, bytes))| {
                Ok((name.as_str(), TensorView::new(*kind, shape.to_vec(), bytes)?))
            })
            .collect();
        let text: HashMap<String, String> = self.text.clone().into_iter().collect();
        let bytes = views
            .and_then(|views| safetensors::serialize(views, Some(text)))
            .map_err(|error| failed(std::io::Error::other(error.to_string())))?;
        whole::write(path, &[&bytes]).map_err(failed)
    }

    /// Whether there is an array `name`.
    pub fn contains(&self, name: &str) -> bool {
        self.arrays.contains_key(name)
    }

    /// The names of the arrays, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.arrays.keys().map(String::as_str)
    }

    /// An array's shape and values.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn get(&self, name: &str) -> Result<(&[usize], &Values), Error> {
        let missing = || Error::Missing { path: self.path.clone(), name: name.into() };
        self.arrays.get(name).map(|(shape, values)| (&shape[..], values)).ok_or_else(missing)
    }

    /// Array `name`, which must have shape `shape`, as one row `[1, values]` of type `dtype`.
    ///
    /// # Errors
    /// If there is none of that name and shape, or it holds no floats.
    pub fn flat(
        &self,
        name: &str,
        shape: &[usize],
        (device, dtype): (&Device, DType),
    ) -> Result<Tensor<2>, Error> {
        let count = shape.iter().product();
        self.shaped(name, shape)?;
        let data = self.floats(name, vec![1, count])?.convert_dtype(dtype);
        Ok(Tensor::from_data(data, (device, dtype)))
    }

    /// The floats of array `name`, in its own shape.
    ///
    /// # Errors
    /// If there is none of that name, or it holds no floats.
    pub fn data(&self, name: &str) -> Result<TensorData, Error> {
        self.floats(name, self.get(name)?.0.to_vec())
    }

    fn floats(&self, name: &str, shape: Vec<usize>) -> Result<TensorData, Error> {
        match self.get(name)?.1 {
            Values::F32(values) => Ok(TensorData::new(values.clone(), shape)),
            Values::F64(values) => Ok(TensorData::new(values.clone(), shape)),
            values => Err(self.kind(name, values, "F32 or F64")),
        }
    }

    /// Integers of array `name`, of shape `shape`.
    ///
    /// # Errors
    /// If there is none of that name and shape, or it holds no integers.
    pub fn integers(&self, name: &str, shape: &[usize]) -> Result<&[i64], Error> {
        match self.shaped(name, shape)? {
            Values::I64(values) => Ok(values),
            values => Err(self.kind(name, values, "I64")),
        }
    }

    /// Sets array `name` to values of shape `shape`.
    pub fn set(&mut self, name: impl Into<String>, shape: &[usize], values: Values) {
        self.arrays.insert(name.into(), (shape.to_vec(), values));
    }

    /// Sets array `name` to a float tensor's values, read out as `shape`.
    ///
    /// # Panics
    /// If the device cannot give its values back; Burn reports that by panicking everywhere.
    pub fn set_tensor<const D: usize>(
        &mut self,
        name: impl Into<String>,
        shape: &[usize],
        tensor: Tensor<D>,
    ) {
        let values = match tensor.dtype() {
            DType::F64 => Values::F64(tensor.into_data().iter::<f64>().collect()),
            _ => Values::F32(tensor.into_data().iter::<f32>().collect()),
        };
        self.set(name, shape, values);
    }

    /// SHA-256 over every array's name, shape and bytes, in hexadecimal.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for (name, (shape, values)) in &self.arrays {
            hash.update(format!("{name} {shape:?}").as_bytes());
            hash.update(values.bytes().1);
        }
        hex(&hash.finalize())
    }

    /// SHA-256 over every array and every piece of text, in hexadecimal.
    pub fn seal(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(self.digest().as_bytes());
        for (name, text) in &self.text {
            hash.update(format!("{} {name} {} {text}", name.len(), text.len()).as_bytes());
        }
        hex(&hash.finalize())
    }

    fn shaped(&self, name: &str, expected: &[usize]) -> Result<&Values, Error> {
        let (found, values) = self.get(name)?;
        if found == expected {
            return Ok(values);
        }
        let (found, expected) = (found.to_vec(), expected.to_vec());
        Err(Error::Shape { path: self.path.clone(), name: name.into(), found, expected })
    }

    fn kind(&self, name: &str, values: &Values, expected: &'static str) -> Error {
        Error::Kind { path: self.path.clone(), name: name.into(), found: values.kind(), expected }
    }
}
