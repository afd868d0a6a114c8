//! Size-bounded reading of configuration files.

use super::error::Error;
use crate::support::atomic_file;
use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;

/// Largest size of a configuration, in bytes.
pub const LIMIT: u64 = 1 << 20;

/// Reads the text of the file at `path`.
///
/// # Errors
/// Returns an error if the file cannot be read, is a directory, is larger than [`LIMIT`], or is not UTF-8.
pub fn read(path: &Path) -> Result<String, Error> {
    let unreadable = |source| Error::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    if file.metadata().map_err(unreadable)?.is_dir() {
        return Err(Error::Directory { path: path.to_owned() });
    }

    // Pipes are allowed, for process substitution: `<(…)`.
    let bytes = atomic_file::drain(file, LIMIT).map_err(|error| match error.kind() {
        ErrorKind::FileTooLarge => Error::TooLarge { path: path.to_owned(), limit: LIMIT },
        _ => unreadable(error),
    })?;

    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + good.iter().filter(|byte| **byte == b'\n').count();
        Error::NotText { path: path.to_owned(), line }
    })
}

/// Byte offsets at which the lines of a text begin, but for the first.
pub struct Lines(Vec<usize>);

impl Lines {
    /// The lines of `text`.
    pub fn of(text: &str) -> Self {
        Self(text.match_indices('\n').map(|(newline, _)| newline + 1).collect())
    }

    /// The number, from 1, of the line with byte `offset`.
    pub fn number(&self, offset: usize) -> usize {
        1 + self.0.partition_point(|start| *start <= offset)
    }
}
