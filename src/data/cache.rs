//! A cache of decoded [`ImageSet`]s, one file each, so that the next run need not decode images.
//!
//! File layout: 8 bytes of magic, the format version and the header's length (both 32-bit little-endian),
//! a JSON header, the pixels, and the SHA-256 of everything before. Stale or damaged files are rebuilt; a file that
//! cannot be written is a warning.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::fingerprint::fingerprint;
use super::{Class, Error, Findings, ImageSet, LoadOptions, Loaded};
use crate::support::atomic_file;

const MAGIC: &[u8; 8] = b"metaburn";
const VERSION: u32 = 2;
/// Offset of the header: after magic, version and length.
const HEADER: usize = 16;
const CHECKSUM: usize = 32;
/// Larger sets are not cached; a million images of 128×128 pixels fit.
const MAX_BYTES: u64 = 16 << 30;

/// Describes the pixels and the state of the files they were decoded from.
#[derive(Deserialize, Serialize)]
struct Header {
    fingerprint: String,
    size: usize,
    classes: Vec<Class>,
    findings: Findings,
}

/// Files that a source decodes, and everything else that decides the result. It determines the name of the cache
/// file and whether that is up to date.
pub(super) struct SourceFiles<'a> {
    /// The source's name.
    pub source: &'static str,
    /// The files and folders to decode.
    pub roots: Vec<PathBuf>,
    /// The loading options that the source depends on, beside folder and size.
    pub options: String,
    /// How the images are loaded.
    pub load: &'a LoadOptions<'a>,
}

impl SourceFiles<'_> {
    /// The cached images if the cache is up to date, else those that `decode` returns, which are then cached.
    ///
    /// # Errors
    /// Returns the errors of `decode`, or an error if the files cannot be listed.
    pub fn load(
        &self,
        decode: impl FnOnce() -> Result<(ImageSet, Findings), Error>,
    ) -> Result<Loaded, Error> {
        let LoadOptions { path, size, cache, .. } = *self.load;
        let uncached = |(set, findings), warning| Ok(Loaded { set, findings, warning });
        let (Some(cache), true) = (cache, path.is_dir()) else { return uncached(decode()?, None) };
        let absolute = fs::canonicalize(path).map_err(Error::io("look at", path))?;
        if is_inside(cache, &absolute) {
            let warning = format!(
                "decoded images are not cached, and the next run decodes them again: the cache, `{}`, would be among the \
                 images; set data.cache to a folder elsewhere",
                cache.display()
            );
            return uncached(decode()?, Some(warning));
        }
        let key = format!("{} {size} {} {}", self.source, self.options, absolute.display());
        // One file per source, folder, size and options, overwritten when the source's files change.
        let name = fingerprint(&[], &key)?;
        let file = cache.join(format!("{}-{size}px-{}.images", self.source, &name[..12]));
        let (read, warning) = cached(&file, &fingerprint(&self.roots, &key)?, decode)?;
        uncached(read, warning)
    }
}

/// Whether the folder `path`, which may not exist, is in the folder `outer`, given without links.
fn is_inside(path: &Path, outer: &Path) -> bool {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.into());
    // What does not exist yet has no links.
    let existing = absolute.ancestors().find_map(|folder| fs::canonicalize(folder).ok());
    existing.is_some_and(|folder| folder.starts_with(outer))
}

/// The set cached in `file` if its fingerprint is `fingerprint`, else the set that `build` returns, which is
/// then cached. The warning, if any, says why the set could not be cached.
///
/// # Errors
/// Returns only the errors of `build`.
pub fn cached(
    file: &Path,
    fingerprint: &str,
    build: impl FnOnce() -> Result<(ImageSet, Findings), Error>,
) -> Result<((ImageSet, Findings), Option<String>), Error> {
    if let Some(read) = load(file, fingerprint) {
        return Ok((read, None));
    }
    let (set, findings) = build()?;
    let warning = save(file, fingerprint, &set, &findings).err().map(|error| {
        format!(
            "cannot cache decoded images in `{}` ({error}); the next run decodes them again, unless data.cache is set to \
             another folder",
            file.display()
        )
    });
    Ok(((set, findings), warning))
}

/// The cached set; `None` if the file is missing, stale, damaged or of another version.
fn load(file: &Path, fingerprint: &str) -> Option<(ImageSet, Findings)> {
    let mut bytes = atomic_file::read(file, MAX_BYTES).ok()?;
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
    Some((ImageSet::new(header.size, header.classes, bytes).ok()?, header.findings))
}

/// Writes the set atomically.
fn save(file: &Path, fingerprint: &str, set: &ImageSet, findings: &Findings) -> io::Result<()> {
    let header = serde_json::to_vec(&Header {
        fingerprint: fingerprint.to_string(),
        size: set.size(),
        classes: set.classes().to_vec(),
        findings: findings.clone(),
    })?;
    let length = u32::try_from(header.len()).map_err(io::Error::other)?;
    let folder = file.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let version = VERSION.to_le_bytes();
    let length = length.to_le_bytes();
    let pieces = [MAGIC, &version[..], &length, &header, set.pixels()];
    if pieces.iter().map(|piece| piece.len() as u64).sum::<u64>() + CHECKSUM as u64 > MAX_BYTES {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut hash = Sha256::new();
    pieces.iter().for_each(|piece| hash.update(piece));
    let [magic, version, length, header, pixels] = pieces;
    atomic_file::write(file, &[magic, version, length, header, pixels, &hash.finalize()])
}

#[cfg(test)]
mod tests {
    use image::{GrayImage, Luma};
    use tempfile::TempDir;

    use super::*;
    use crate::data::{Ink, Part, folder};

    fn set() -> Result<ImageSet, Error> {
        let classes = vec![Class::new("a/1", "a", Some(Part::Test), 2), Class::new("b/é", "b", None, 1)];
        ImageSet::new(2, classes, (0..12).collect())
    }

    fn findings() -> Findings {
        Findings { ink: Some(Ink::decide(&[0.1, 200.3], None)), coloured: 1, ..Findings::default() }
    }

    /// Whether the set had to be rebuilt.
    fn rebuilt(file: &Path, fingerprint: &str) -> Result<bool, Error> {
        let mut built = false;
        let (found, warning) = cached(file, fingerprint, || {
            built = true;
            Ok((set()?, findings()))
        })?;
        assert_eq!((found, warning), ((set()?, findings()), None));
        Ok(built)
    }

    #[test]
    fn a_changed_folder_is_decoded_again() -> Result<(), Error> {
        let (images, cache) = (TempDir::new().expect("dir"), TempDir::new().expect("dir"));
        fs::create_dir(images.path().join("a")).expect("folder");
        let draw = |grey, name: &str| {
            GrayImage::from_pixel(3, 3, Luma([grey]))
                .save(images.path().join("a").join(name))
                .expect("image");
        };
        let load = |invert| {
            let (path, cache) = (images.path(), Some(cache.path()));
            folder::SOURCE.load(&LoadOptions { path, size: 2, seed: 0, invert, skip_damaged: false, cache })
        };
        draw(10, "1.png");
        let first = load(None)?;
        assert_eq!((first.set.image(0, 0), first.warning), ([10; 4].as_slice(), None));
        assert_eq!(load(None)?.set, first.set);
        assert_eq!(load(Some(true))?.set.image(0, 0), [245; 4]);
        draw(20, "2.png");
        assert_eq!(load(None)?.set.examples(0), 2);
        assert_eq!(fs::read_dir(cache.path()).expect("cache").count(), 2);
        Ok(())
    }

    #[test]
    fn a_cache_is_used_until_its_source_changes() -> Result<(), Error> {
        let dir = TempDir::new().expect("dir");
        let file = dir.path().join("deep/set.images");
        assert!(rebuilt(&file, "x")?);
        assert!(!rebuilt(&file, "x")?);
        assert!(rebuilt(&file, "y")?);
        assert!(!rebuilt(&file, "y")?);
        Ok(())
    }

    #[test]
    fn a_damaged_cache_is_rebuilt() -> Result<(), Error> {
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
    fn an_unwritable_cache_is_a_warning() -> Result<(), Error> {
        let dir = TempDir::new().expect("dir");
        let file = dir.path().join("taken/set.images");
        fs::write(dir.path().join("taken"), "a file, not a folder").expect("file");
        let (found, warning) = cached(&file, "x", || Ok((set()?, Findings::default())))?;
        assert_eq!(found.0, set()?);
        assert!(warning.is_some_and(|text| text.contains("taken")));
        Ok(())
    }
}
