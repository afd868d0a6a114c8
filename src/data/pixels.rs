//! The pixels of all images of a set, in memory or in a file.
//!
//! What is larger than a bound is written to a temporary file in the folder of the cache while it is made, and read from
//! there one image at a time; the operating system keeps in memory what it has room for.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempPath;

use super::Error;
use crate::support::atomic_file;

/// The most bytes of pixels that are held in memory.
pub const MOST_IN_MEMORY: usize = 512 << 20;
/// Bytes copied at a time between files.
const BLOCK: usize = 8 << 20;

/// The pixels of all images of a set, one byte for each value.
#[derive(Clone, Debug)]
pub enum Pixels {
    /// In memory.
    Memory(Arc<Vec<u8>>),
    /// In a file.
    File(FilePixels),
}

/// Pixels in a file, from byte `first`.
#[derive(Clone, Debug)]
pub struct FilePixels {
    file: Arc<File>,
    /// The file's name, for messages.
    path: PathBuf,
    first: u64,
    length: usize,
    /// Deletes the file with the last of its users, unless it has become the cache.
    temporary: Option<Arc<TempPath>>,
}

impl FilePixels {
    /// `length` bytes of `file`, opened from `path`, from byte `first`.
    pub fn new(file: File, path: &Path, first: u64, length: usize) -> Self {
        Self { file: Arc::new(file), path: path.into(), first, length, temporary: None }
    }

    fn read(&self, range: Range<usize>) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; range.len()];
        read_at(&self.file, &mut bytes, self.first + range.start as u64)?;
        Ok(bytes)
    }
}

#[cfg(unix)]
fn read_at(file: &File, into: &mut [u8], from: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, into, from)
}

#[cfg(windows)]
fn read_at(file: &File, mut into: &mut [u8], mut from: u64) -> io::Result<()> {
    while !into.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, into, from)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                into = &mut into[read..];
                from += read as u64;
            }
        }
    }
    Ok(())
}

impl Pixels {
    /// Number of bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Memory(bytes) => bytes.len(),
            Self::File(file) => file.length,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes in `range`.
    ///
    /// # Panics
    /// Panics if `range` is out of bounds, or the file cannot be read any more.
    pub fn get(&self, range: Range<usize>) -> Cow<'_, [u8]> {
        match self {
            Self::Memory(bytes) => Cow::Borrowed(&bytes[range]),
            Self::File(file) => {
                assert!(range.end <= file.length, "there are {} bytes of pixels", file.length);
                let read = file.read(range);
                Cow::Owned(read.unwrap_or_else(|error| {
                    panic!("cannot read images from the cache `{}`: {error}", file.path.display())
                }))
            }
        }
    }

    /// All bytes, if they are in memory and have no other user.
    pub fn in_memory(&mut self) -> Option<&mut [u8]> {
        match self {
            Self::Memory(bytes) => Arc::get_mut(bytes).map(Vec::as_mut_slice),
            Self::File(_) => None,
        }
    }

    /// All bytes, in blocks of a multiple of `unit` bytes.
    pub fn blocks(&self, unit: usize) -> impl Iterator<Item = Cow<'_, [u8]>> {
        let block = (BLOCK / unit.max(1)).max(1) * unit.max(1);
        (0..self.len()).step_by(block).map(move |start| self.get(start..self.len().min(start + block)))
    }
}

impl From<Vec<u8>> for Pixels {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Memory(Arc::new(bytes))
    }
}

/// By their bytes, wherever they are.
impl PartialEq for Pixels {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.blocks(1).zip(other.blocks(1)).all(|(a, b)| a == b)
    }
}

impl Eq for Pixels {}

/// Where pixels are collected while they are made.
pub struct Scratch<'a> {
    /// The folder for a temporary file; without one, pixels stay in memory, however many.
    pub folder: Option<&'a Path>,
    /// The most bytes that are held in memory.
    pub most: usize,
}

impl<'a> Scratch<'a> {
    /// Pixels of more than [`MOST_IN_MEMORY`] bytes go to a file in `folder`.
    pub fn new(folder: Option<&'a Path>) -> Self {
        Self { folder, most: MOST_IN_MEMORY }
    }

    /// A writer of at most `expected` bytes; to memory, however many they are, if no file can be created in the folder.
    pub fn writer(&self, expected: usize) -> PixelWriter {
        let create = |folder: &Path| -> io::Result<PixelWriter> {
            std::fs::create_dir_all(folder)?;
            // Files of processes that were killed; they may be large.
            atomic_file::sweep_abandoned(folder);
            let (mut file, path) = atomic_file::temporary(folder)?.into_parts();
            file.write_all(&[0; PREAMBLE])?;
            Ok(PixelWriter::File { file, path, length: 0 })
        };
        let folder = self.folder.filter(|_| expected > self.most);
        let in_file = folder.and_then(|folder| create(folder).ok());
        in_file.unwrap_or_else(|| PixelWriter::Memory(Vec::with_capacity(expected)))
    }
}

/// Bytes that a file of pixels begins with: room for the beginning of a cache.
pub const PREAMBLE: usize = 16;

/// Collects pixels.
pub enum PixelWriter {
    /// In memory.
    Memory(Vec<u8>),
    /// In a temporary file.
    File {
        /// The file, at its end.
        file: File,
        /// Its path.
        path: TempPath,
        /// Bytes of pixels in it.
        length: usize,
    },
}

impl PixelWriter {
    /// Adds `bytes`.
    ///
    /// # Errors
    /// Returns an error if the file cannot be written.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        match self {
            Self::Memory(all) => all.extend_from_slice(bytes),
            Self::File { file, path, length } => {
                file.write_all(bytes).map_err(Error::io("write images to", path))?;
                *length += bytes.len();
            }
        }
        Ok(())
    }

    /// What was written.
    pub fn finish(self) -> Pixels {
        match self {
            Self::Memory(bytes) => bytes.into(),
            Self::File { file, path, length } => {
                let pixels = FilePixels::new(file, &path, PREAMBLE as u64, length);
                Pixels::File(FilePixels { temporary: Some(Arc::new(path)), ..pixels })
            }
        }
    }
}

impl FilePixels {
    /// Makes a temporary file permanent at `path`: with `preamble` before the pixels and `end` after them.
    ///
    /// # Errors
    /// Returns an error if it is not a temporary file of one user, or cannot be written or renamed.
    pub fn persist(&mut self, path: &Path, preamble: &[u8; PREAMBLE], end: &[&[u8]]) -> io::Result<()> {
        use std::io::{Seek, SeekFrom};
        let shared = || io::Error::other("its pixels are in a file of their own");
        let temporary = Arc::try_unwrap(self.temporary.take().ok_or_else(shared)?).map_err(|_| shared())?;
        let mut file: &File = &self.file;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(preamble)?;
        file.seek(SeekFrom::Start(self.first + self.length as u64))?;
        end.iter().try_for_each(|piece| file.write_all(piece))?;
        file.sync_all()?;
        temporary.persist(path).map_err(|error| error.error)?;
        self.path = path.into();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn what_exceeds_the_bound_is_in_a_file_that_is_deleted_with_its_last_user() -> Result<(), Error> {
        let folder = TempDir::new().expect("dir");
        let scratch = Scratch { folder: Some(folder.path()), most: 9 };
        let files = || std::fs::read_dir(folder.path()).expect("folder").count();
        let write = |count: usize| -> Result<Pixels, Error> {
            let mut writer = scratch.writer(count);
            for byte in 0..count {
                writer.write(&[byte as u8])?;
            }
            Ok(writer.finish())
        };
        let (small, large) = (write(9)?, write(10)?);
        assert!(matches!((&small, &large), (Pixels::Memory(_), Pixels::File(_))));
        assert_eq!((files(), large.len()), (1, 10));
        assert_eq!((&*large.get(3..6), &*small.get(3..6)), ([3, 4, 5].as_slice(), [3, 4, 5].as_slice()));
        assert_eq!(large, Pixels::from((0..10).collect::<Vec<u8>>()));
        assert_ne!(large, small);
        let other = large.clone();
        drop(large);
        assert_eq!((files(), &*other.get(9..10)), (1, [9].as_slice()));
        drop(other);
        assert_eq!(files(), 0);
        // Where no file can be created, pixels stay in memory.
        let file = folder.path().join("file");
        std::fs::write(&file, "").expect("file");
        let nowhere = Scratch { folder: Some(&file), most: 0 };
        assert!(matches!(nowhere.writer(10).finish(), Pixels::Memory(_)));
        Ok(())
    }
}
