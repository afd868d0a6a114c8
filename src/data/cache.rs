//! A decoded [`ImageSet`] kept in one file, so that the next run starts at once.
//!
//! The file: 8 bytes of magic, the format version and the header's length (32-bit little-endian),
//! a JSON header, the pixels, and the SHA-256 of all that. A cache is a convenience: one that is
//! stale or damaged is rebuilt, and one that cannot be written costs a warning.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Class, Error, ImageSet};
use crate::whole;

const MAGIC: &[u8; 8] = b"metaburn";
const VERSION: u32 = 1;
/// Where the header starts: behind magic, version and length.
const HEADER: usize = 16;
const CHECKSUM: usize = 32;
/// Larger sets are not kept: a million images of 128×128 pixels.
const MOST_BYTES: u64 = 16 << 30;

/// What the pixels are of, and of which state of the source.
#[derive(Deserialize, Serialize)]
struct Header {
    fingerprint: String,
    size: usize,
    classes: Vec<Class>,
}

/// The set kept in `file` if it was made from a source with this `fingerprint`, else the one that
/// `build` makes, which is then kept there.
///
/// The warning, if any, says why the set could not be kept.
///
/// # Errors
/// Those of `build` alone.
pub fn cached(
    file: &Path,
    fingerprint: &str,
    build: impl FnOnce() -> Result<ImageSet, Error>,
) -> Result<(ImageSet, Option<String>), Error> {
    if let Some(set) = load(file, fingerprint) {
        return Ok((set, None));
    }
    let set = build()?;
    let warning = save(file, fingerprint, &set).err().map(|error| {
        format!(
            "cannot keep decoded images in `{}` ({error}); the next run decodes them again",
            file.display()
        )
    });
    Ok((set, warning))
}

/// `None` if there is no cache, or it is stale, damaged or of another version.
fn load(file: &Path, fingerprint: &str) -> Option<ImageSet> {
    let mut bytes = whole::read(file, MOST_BYTES).ok()?;
    let (content, checksum) = bytes.split_at_checked(bytes.len().checked_sub(CHECKSUM)?)?;
    let (magic, rest) = content.split_first_chunk::<8>()?;
    let (version, rest) = rest.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    if magic != MAGIC || u32::from_le_bytes(*version) != VERSION {
        return None;
    }
    let length = u32::from_le_bytes(*length) as usize;
    let header: Header = serde_json::from_slice(rest.get(..length)?).ok()?;
    if header.fingerprint != fingerprint || checksum != Sha256::digest(content).as_slice() {
        return None;
    }
    bytes.truncate(bytes.len() - CHECKSUM);
    bytes.drain(..HEADER + length);
    ImageSet::new(header.size, header.classes, bytes).ok()
}

/// A reader sees all of it or nothing.
fn save(file: &Path, fingerprint: &str, set: &ImageSet) -> io::Result<()> {
    let header = serde_json::to_vec(&Header {
        fingerprint: fingerprint.to_string(),
        size: set.size(),
        classes: set.classes().to_vec(),
    })?;
    let length = u32::try_from(header.len()).map_err(io::Error::other)?;
    let folder = file.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let version = VERSION.to_le_bytes();
    let length = length.to_le_bytes();
    let pieces = [MAGIC, &version[..], &length, &header, set.pixels()];
    if pieces.iter().map(|piece| piece.len() as u64).sum::<u64>() + CHECKSUM as u64 > MOST_BYTES {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut hash = Sha256::new();
    pieces.iter().for_each(|piece| hash.update(piece));
    let [magic, version, length, header, pixels] = pieces;
    whole::write(file, &[magic, version, length, header, pixels, &hash.finalize()])
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::data::Part;

    fn set() -> Result<ImageSet, Error> {
        let classes = vec![Class::new("a/1", "a", Some(Part::Test), 2), Class::new("b/é", "b", None, 1)];
        ImageSet::new(2, classes, (0..12).collect())
    }

    /// Whether the set had to be built anew.
    fn rebuilt(file: &Path, fingerprint: &str) -> Result<bool, Error> {
        let mut built = false;
        let (found, warning) = cached(file, fingerprint, || {
            built = true;
            set()
        })?;
        assert_eq!((found, warning), (set()?, None));
        Ok(built)
    }

    #[test]
    fn a_cache_serves_until_its_source_changes() -> Result<(), Error> {
        let dir = TempDir::new().expect("dir");
        let file = dir.path().join("deep/set.images");
        assert!(rebuilt(&file, "x")?);
        assert!(!rebuilt(&file, "x")?);
        assert!(rebuilt(&file, "y")?);
        assert!(!rebuilt(&file, "y")?);
        Ok(())
    }

    #[test]
    fn a_cache_damaged_anywhere_is_rebuilt() -> Result<(), Error> {
        let dir = TempDir::new().expect("dir");
        let file = dir.path().join("set.images");
        rebuilt(&file, "x")?;
        let whole = fs::read(&file).expect("cache");
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            fs::write(&file, &damaged).expect("cache");
            assert!(load(&file, "x").is_none(), "byte {at} changed");
            fs::write(&file, &whole[..at]).expect("cache");
            assert!(load(&file, "x").is_none(), "cut at {at}");
        }
        assert!(rebuilt(&file, "x")?);
        Ok(())
    }

    #[test]
    fn a_cache_that_cannot_be_written_is_a_warning() -> Result<(), Error> {
        let dir = TempDir::new().expect("dir");
        let file = dir.path().join("taken/set.images");
        fs::write(dir.path().join("taken"), "a file, not a folder").expect("file");
        let (found, warning) = cached(&file, "x", set)?;
        assert_eq!(found, set()?);
        assert!(warning.is_some_and(|text| text.contains("taken")));
        Ok(())
    }
}
