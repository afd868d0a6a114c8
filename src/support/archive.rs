//! Named arrays and text in one safetensors file: the format of checkpoints and gradient cases.

use super::classified::Classified;
use crate::support::atomic_file;
use crate::support::hex::hex;
use burn::tensor::{DType, Device, Tensor, TensorData};
use safetensors::{
    Dtype,
    tensor::{Metadata, TensorView},
};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Largest file that is read or written, far larger than any case or checkpoint.
const LARGEST_FILE: u64 = 4 << 30;
/// Largest header that is read or written. Real headers have some kilobytes; parsing a malicious one can take fifty times
/// its size in memory.
const LARGEST_HEADER: u64 = 8 << 20;

/// An error of an archive.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Error {
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("cannot write {path}: {source}")]
    Write { path: PathBuf, source: std::io::Error },
    #[error("{path} is not a valid safetensors file: {reason}")]
    Malformed { path: PathBuf, reason: String },
    #[error("{path} has no array `{name}`")]
    Missing { path: PathBuf, name: String },
    #[error("array `{name}` in {path} has shape {found:?}, but the expected shape is {expected:?}")]
    Shape { path: PathBuf, name: String, found: Vec<usize>, expected: Vec<usize> },
    #[error("array `{name}` in {path} holds {found} values, but {expected} is expected")]
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

/// Named arrays and text entries.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Archive {
    /// The file it was read from; empty if it was not read from a file.
    pub path: PathBuf,
    /// Text by name.
    pub text: BTreeMap<String, String>,
    arrays: BTreeMap<String, (Vec<usize>, Values)>,
}

impl Archive {
    /// Reads a safetensors file.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read, is too large, truncated or not safetensors, or holds an array that
    /// is neither F32, F64 nor I64.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let bytes = atomic_file::read(path, LARGEST_FILE);
        Self::parse(path, &bytes.map_err(|source| Error::Read { path: path.into(), source })?)
    }

    /// Parses `bytes` as a safetensors file; error messages call it `path`.
    ///
    /// # Errors
    /// Returns the same errors as [`Self::read`].
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, Error> {
        let malformed = |reason: String| Error::Malformed { path: path.into(), reason };
        let (header, data) = split(bytes).map_err(malformed)?;
        let header: Metadata =
            serde_json::from_slice(header).map_err(|error| malformed(format!("its header: {error}")))?;
        if header.data_len() != data.len() {
            let (announced, found) = (header.data_len(), data.len());
            return Err(malformed(format!(
                "its header describes {announced} bytes of arrays, but it holds {found}"
            )));
        }
        let text = header.metadata().clone().unwrap_or_default().into_iter().collect();
        let mut arrays = BTreeMap::new();
        for (name, array) in header.tensors() {
            // The parser has checked that the offsets are in order, without gaps, and end at the end of the data.
            let values = Values::parse(array.dtype, &data[array.data_offsets.0..array.data_offsets.1]);
            let values = values.ok_or_else(|| {
                malformed(format!("array `{name}` has type {}; use F32, F64 or I64", array.dtype))
            })?;
            arrays.insert(name, (array.shape.clone(), values));
        }
        Ok(Self { path: path.into(), text, arrays })
    }

    /// Writes the archive to `path` atomically. Equal archives give equal bytes, so that checksums of files can be compared.
    ///
    /// # Errors
    /// Returns an error if the file cannot be written or would be too large to be read again; an existing file is then
    /// unchanged.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let failed = |source| Error::Write { path: path.into(), source };
        let refused = |reason: String| failed(std::io::Error::other(reason));
        let arrays: Vec<_> =
            self.arrays.iter().map(|(name, (shape, values))| (name, shape, values.bytes())).collect();
        let views: Result<Vec<_>, _> = arrays
            .iter()
            .map(|(name, shape, (kind, bytes))| {
                Ok((name.as_str(), TensorView::new(*kind, shape.to_vec(), bytes)?))
            })
            .collect();
        let bytes = views.and_then(|views| safetensors::serialize(views, None));
        let bytes = bytes.map_err(|error| refused(error.to_string()))?;
        let (header, data) = split(&bytes).map_err(refused)?;
        let header = self.with_text(header).map_err(|error| refused(error.to_string()))?;
        let length = header.len() as u64;
        check_sizes(length, 8 + length + data.len() as u64).map_err(refused)?;
        atomic_file::write(path, &[&length.to_le_bytes(), &header, data]).map_err(failed)
    }

    /// The header of a safetensors file of the arrays, with the text. (`safetensors` writes text in an order that differs from call to
    /// call.)
    fn with_text(&self, header: &[u8]) -> Result<Vec<u8>, serde_json::Error> {
        let mut header: BTreeMap<String, serde_json::Value> = serde_json::from_slice(header)?;
        header.insert("__metadata__".into(), serde_json::to_value(&self.text)?);
        let mut header = serde_json::to_vec(&header)?;
        // Data begin at a multiple of 8 bytes.
        header.resize(header.len().next_multiple_of(8), b' ');
        Ok(header)
    }

    /// Whether there is an array called `name`.
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
    /// Returns an error if there is no such array.
    pub fn get(&self, name: &str) -> Result<(&[usize], &Values), Error> {
        let missing = || Error::Missing { path: self.path.clone(), name: name.into() };
        self.arrays.get(name).map(|(shape, values)| (&shape[..], values)).ok_or_else(missing)
    }

    /// Array `name` of shape `shape`, as one row `[1, values]` of type `dtype`.
    ///
    /// # Errors
    /// Returns an error if there is no array of that name and shape, or it does not hold floats.
    pub fn flat(
        &self,
        name: &str,
        shape: &[usize],
        (device, dtype): (&Device, DType),
    ) -> Result<Tensor<2>, Error> {
        self.shaped(name, shape)?;
        let count = shape.iter().product();
        let data = self.floats(name, vec![1, count])?.convert_dtype(dtype);
        Ok(Tensor::from_data(data, (device, dtype)))
    }

    /// The floats of array `name`, in its shape.
    ///
    /// # Errors
    /// Returns an error if there is no such array, or it does not hold floats.
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

    /// The integers of array `name`, which must have shape `shape`.
    ///
    /// # Errors
    /// Returns an error if there is no array of that name and shape, or it does not hold integers.
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

    /// Sets array `name` to a float tensor's values, stored with shape `shape`.
    ///
    /// # Panics
    /// If the values cannot be read back from the device: Burn reports that by panicking.
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

    /// SHA-256 of the names, shapes and bytes of all arrays, in hexadecimal.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for (name, (shape, values)) in &self.arrays {
            hash.update(format!("{name} {shape:?}").as_bytes());
            hash.update(values.bytes().1);
        }
        hex(&hash.finalize())
    }

    /// SHA-256 of all arrays and text entries, in hexadecimal.
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

/// The header and data of a safetensors file, which consists of 8 bytes with the header's length, the header, and the
/// data.
fn split(bytes: &[u8]) -> Result<(&[u8], &[u8]), String> {
    let (length, rest) = bytes.split_first_chunk().ok_or("it is truncated")?;
    let length = u64::from_le_bytes(*length);
    check_sizes(length, bytes.len() as u64)?;
    rest.split_at_checked(length as usize).ok_or_else(|| "it is truncated".into())
}

/// Checks the numbers of bytes of a file's header and of the whole file.
fn check_sizes(header: u64, whole: u64) -> Result<(), String> {
    if whole > LARGEST_FILE {
        return Err(format!("it is larger than {} MB", LARGEST_FILE >> 20));
    }
    if header > LARGEST_HEADER {
        let most = LARGEST_HEADER >> 20;
        return Err(format!("its header length is {header} bytes, and the limit is {most} MB"));
    }
    Ok(())
}

impl Classified for Error {
    fn is_user_error(&self) -> bool {
        match self {
            Self::Read { source, .. } | Self::Write { source, .. } => source.is_user_error(),
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A safetensors file with this header and `data` bytes of arrays.
    fn file(header: &str, data: usize) -> Vec<u8> {
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &vec![0; data]].concat()
    }

    fn refusal(bytes: &[u8]) -> String {
        let error = Archive::parse(Path::new("case.safetensors"), bytes).expect_err("should be refused");
        let error = error.to_string();
        assert!(error.starts_with("case.safetensors is not a valid safetensors file: "), "{error}");
        assert!(error.len() < 1000, "{error}");
        error
    }

    /// The header's entry of an array.
    fn entry(name: &str, kind: &str, shape: &str, [start, end]: [u64; 2]) -> String {
        format!(r#""{name}":{{"dtype":"{kind}","shape":{shape},"data_offsets":[{start},{end}]}}"#)
    }

    fn header(entries: &[String]) -> String {
        format!("{{{}}}", entries.join(","))
    }

    #[test]
    fn equal_archives_give_equal_files() {
        let folder = tempfile::tempdir().unwrap();
        let written = |name: &str| {
            let mut archive = Archive::default();
            for key in ["format", "step", "config", "split", "seconds", "data"] {
                archive.text.insert(key.into(), format!("the {key}"));
            }
            archive.set("b", &[3], Values::F32(vec![1.0, 2.0, 3.0]));
            archive.set("a", &[1], Values::I64(vec![7]));
            let path = folder.path().join(name);
            archive.write(&path).unwrap();
            let read = Archive::read(&path).unwrap();
            assert_eq!(Archive { path: PathBuf::new(), ..read }, archive);
            std::fs::read(&path).unwrap()
        };
        let files = ["1", "2", "3"].map(written);
        assert!(files[0] == files[1] && files[1] == files[2]);
        let header = u64::from_le_bytes(files[0][..8].try_into().unwrap());
        assert!(header.is_multiple_of(8), "{header}");
    }

    #[test]
    fn arrays_and_text_survive_a_round_trip() {
        let mut archive = Archive::default();
        archive.text.insert("key".into(), "text".into());
        archive.set("a", &[2, 0], Values::I64(vec![]));
        archive.set("b", &[1, 2], Values::F64(vec![1.0, f64::MAX]));
        archive.set("c", &[], Values::F32(vec![3.0]));
        let folder = tempfile::tempdir().unwrap();
        archive.path = folder.path().join("file");
        archive.write(&archive.path).unwrap();
        assert_eq!(Archive::read(&archive.path).unwrap(), archive);
    }

    #[test]
    fn headers_of_wrong_lengths_are_refused() {
        let intact = file(&header(&[entry("a", "F32", "[1]", [0, 4])]), 4);
        assert!(Archive::parse(Path::new(""), &intact).is_ok());
        for length in 0..intact.len() {
            refusal(&intact[..length]);
        }
        for length in [u64::MAX, u64::MAX / 2, 100_000_000, LARGEST_HEADER + 1] {
            let mut bytes = intact.clone();
            bytes[..8].copy_from_slice(&length.to_le_bytes());
            assert!(refusal(&bytes).contains(&format!("its header length is {length} bytes")));
        }
        refusal(&file(&"[".repeat(1 << 20), 0));
        refusal(&file(&format!("{{\"a\":{}", "[".repeat(1 << 20)), 0));
        refusal(&file("{\"__metadata__\":{\"key\":1}}", 0));
    }

    #[test]
    fn arrays_that_overlap_leave_gaps_or_overflow_are_refused() {
        let array = |name: &str, shape: &str, offsets| entry(name, "F32", shape, offsets);
        // The largest number of floats whose bits fit into a u64, and their bytes.
        let (most, bytes) = ("[576460752303423487]", (1 << 61) - 4);
        let in_a_row = |at: u64| array(&at.to_string(), most, [at * bytes, (at + 1) * bytes]);
        for (entries, data) in [
            (vec![array("a", "[2]", [0, 8]), array("b", "[1]", [4, 8])], 8),
            (vec![array("a", "[1]", [0, 4]), array("b", "[1]", [8, 12])], 12),
            (vec![array("a", "[1]", [4, 0])], 4),
            (vec![array("a", "[2]", [0, 4])], 4),
            (vec![array("a", "[1]", [0, 4])], 8),
            (vec![array("a", "[1]", [0, 4])], 0),
            (vec![array("a", "[1]", [0, 4]), array("a", "[1]", [4, 8])], 8),
            (vec![array("a", "[4294967296,4294967296]", [0, 0])], 0),
            (vec![array("a", "[4611686018427387904]", [0, 0])], 0),
            (vec![array("a", "[18446744073709551616]", [0, 0])], 0),
            (vec![array("a", "[-1]", [0, 0])], 0),
            (vec![in_a_row(0)], 0),
            // With the header, more bytes than fit into a u64.
            ((0..8).map(in_a_row).collect(), 0),
        ] {
            refusal(&file(&header(&entries), data));
        }
    }

    #[test]
    fn arrays_of_unsupported_types_are_named() {
        for kind in ["F16", "BF16", "U8", "BOOL", "I32"] {
            let bytes = file(&header(&[entry("theta", kind, "[0]", [0, 0])]), 0);
            let error = refusal(&bytes);
            assert!(error.contains("`theta`") && error.contains(kind), "{error}");
        }
        refusal(&file(&header(&[entry("theta", "F1024", "[0]", [0, 0])]), 0));
    }

    #[test]
    fn too_large_header_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut archive = Archive::default();
        archive.text.insert("key".into(), "x".repeat(LARGEST_HEADER as usize));
        let error = archive.write(&folder.path().join("file")).expect_err("too large").to_string();
        assert!(error.contains("its header"), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
