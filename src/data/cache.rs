//! A cache of decoded [`ImageSet`]s, one file each, so that the next run need not decode images.
//!
//! File layout: 8 bytes of magic, the format version (32-bit little-endian) and 4 zeros; the pixels; a JSON header; its
//! SHA-256; its length (64-bit little-endian). The header has the set's digest, which covers the pixels. Stale or damaged
//! files are rebuilt; a file that cannot be written is a warning. Large sets are not read into memory: their images are
//! read from the file one at a time.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::fingerprint::fingerprint;
use super::image_set::Format;
use super::pixels::{FilePixels, MOST_IN_MEMORY, PREAMBLE, Pixels, Scratch};
use super::{Channels, Class, Error, Findings, ImageSet, LoadOptions, Loaded};
use crate::support::atomic_file;
use crate::support::paths::is_inside;

const MAGIC: &[u8; 8] = b"metaburn";
const VERSION: u32 = 3;
const CHECKSUM: usize = 32;
/// The most bytes of a file that remembers channels.
const MAX_LINE: u64 = 256;
/// Bytes after the header: its checksum and length.
const END: usize = CHECKSUM + 8;
/// The largest header: classes' names and numbers of images.
const MAX_HEADER: u64 = 1 << 30;
/// Larger sets are not cached; twenty million images of 84×84 pixels in colour fit.
const MAX_BYTES: u64 = 512 << 30;

/// Describes the pixels and the state of the files they were decoded from.
#[derive(Deserialize, Serialize)]
struct Header {
    fingerprint: String,
    format: Format,
    classes: Vec<Class>,
    findings: Findings,
    /// That of the image set.
    digest: String,
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
    /// The cached images if the cache is up to date, else those that `decode` returns, which are then cached. They have these
    /// `channels`.
    ///
    /// # Errors
    /// Returns the errors of `decode`, or an error if the files cannot be listed.
    pub fn load(
        &self,
        channels: Channels,
        decode: impl FnOnce(&Scratch) -> Result<(ImageSet, Findings), Error>,
    ) -> Result<Loaded, Error> {
        // Grey images have the name that they had before there were others.
        let key = match channels {
            Channels::Grey => String::new(),
            Channels::Colour => "3 channels".into(),
        };
        let place = self.place(&key, "images")?;
        let ((set, findings), warning) = match (&place, self.load.cache) {
            (Some((file, fingerprint)), Some(cache)) => {
                cached(file, fingerprint, || decode(&Scratch::new(Some(cache))))?
            }
            _ => (decode(&Scratch::new(None))?, self.misplaced()?),
        };
        Ok(Loaded { set, findings, warning })
    }

    /// The channels of the images, which `decide` finds out from the files, if they are not remembered from before.
    ///
    /// # Errors
    /// Returns the errors of `decide`, or an error if the files cannot be listed.
    pub fn channels(&self, decide: impl FnOnce() -> Result<Channels, Error>) -> Result<Channels, Error> {
        let Some((file, fingerprint)) = self.place("channels", "channels")? else { return decide() };
        let line = |channels: Channels| format!("{fingerprint} {}\n", channels.count());
        let text = atomic_file::read(&file, MAX_LINE).unwrap_or_default();
        let both = [Channels::Grey, Channels::Colour];
        if let Some(known) = both.into_iter().find(|channels| line(*channels).as_bytes() == text) {
            return Ok(known);
        }
        let channels = decide()?;
        // Without this, it is found out again.
        let folder = file.parent().unwrap_or(Path::new("."));
        let _ =
            fs::create_dir_all(folder).and_then(|()| atomic_file::write(&file, &[line(channels).as_bytes()]));
        Ok(channels)
    }

    /// The file in the cache with this ending for what is decoded from these files under the further options `more`, and the
    /// fingerprint of the files; `None` without a usable cache. There is one file for each source, folder, size and options,
    /// overwritten when the source's files change.
    fn place(&self, more: &str, ending: &str) -> Result<Option<(PathBuf, String)>, Error> {
        let LoadOptions { path, size, cache, .. } = *self.load;
        let (Some(cache), true, None) = (cache, path.is_dir(), self.misplaced()?) else { return Ok(None) };
        let absolute = fs::canonicalize(path).map_err(Error::io("look at", path))?;
        let key = format!("{} {size} {}{more} {}", self.source, self.options, absolute.display());
        let name = fingerprint(&[], &key)?;
        let file = cache.join(format!("{}-{size}px-{}.{ending}", self.source, &name[..12]));
        Ok(Some((file, fingerprint(&self.roots, &key)?)))
    }

    /// Why nothing is cached although there is a folder for the cache, if it is among the images.
    fn misplaced(&self) -> Result<Option<String>, Error> {
        let LoadOptions { path, cache, .. } = *self.load;
        let (Some(cache), true) = (cache, path.is_dir()) else { return Ok(None) };
        let absolute = fs::canonicalize(path).map_err(Error::io("look at", path))?;
        Ok(is_inside(cache, &absolute).then(|| {
            format!(
                "decoded images are not cached, and the next run decodes them again: the cache, `{}`, would be among the \
                 images; set data.cache to a folder elsewhere",
                cache.display()
            )
        }))
    }
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
    if let Some(read) = load(file, fingerprint, MOST_IN_MEMORY) {
        return Ok((read, None));
    }
    let (mut set, findings) = build()?;
    let warning = save(file, fingerprint, &mut set, &findings).err().map(|error| {
        format!(
            "cannot cache decoded images in `{}` ({error}); the next run decodes them again, unless data.cache is set to \
             another folder",
            file.display()
        )
    });
    Ok(((set, findings), warning))
}

/// The cached set; `None` if the file is missing, stale, damaged or of another version. More than `most` bytes of pixels stay
/// in the file.
fn load(path: &Path, fingerprint: &str, most: usize) -> Option<(ImageSet, Findings)> {
    let metadata = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    let mut file = File::open(path).ok()?;
    let mut preamble = [0; PREAMBLE];
    file.read_exact(&mut preamble).ok()?;
    let end = metadata.len().checked_sub(END as u64)?;
    file.seek(SeekFrom::Start(end)).ok()?;
    let mut tail = [0; END];
    file.read_exact(&mut tail).ok()?;
    let (checksum, length) = tail.split_at(CHECKSUM);
    let length = u64::from_le_bytes(length.try_into().ok()?);
    let start = end.checked_sub(length).filter(|start| *start >= PREAMBLE as u64 && length <= MAX_HEADER)?;
    file.seek(SeekFrom::Start(start)).ok()?;
    let mut header = vec![0; length as usize];
    file.read_exact(&mut header).ok()?;
    if preamble != self::preamble() || checksum != Sha256::digest(&header).as_slice() {
        return None;
    }
    let header: Header = serde_json::from_slice(&header).ok()?;
    if header.fingerprint != fingerprint {
        return None;
    }
    let count = usize::try_from(start).ok()?.checked_sub(PREAMBLE)?;
    let pixels = if count <= most {
        let mut bytes = vec![0; count];
        file.seek(SeekFrom::Start(PREAMBLE as u64)).ok()?;
        file.read_exact(&mut bytes).ok()?;
        bytes.into()
    } else {
        Pixels::File(FilePixels::new(file, path, PREAMBLE as u64, count))
    };
    let set = ImageSet::of(header.format, header.classes, pixels).ok()?;
    (set.digest() == header.digest).then_some((set, header.findings))
}

fn preamble() -> [u8; PREAMBLE] {
    let mut bytes = [0; PREAMBLE];
    bytes[..MAGIC.len()].copy_from_slice(MAGIC);
    bytes[MAGIC.len()..MAGIC.len() + 4].copy_from_slice(&VERSION.to_le_bytes());
    bytes
}

/// Writes the set atomically.
fn save(file: &Path, fingerprint: &str, set: &mut ImageSet, findings: &Findings) -> io::Result<()> {
    let header = serde_json::to_vec(&Header {
        fingerprint: fingerprint.to_string(),
        format: set.format(),
        classes: set.classes().to_vec(),
        findings: findings.clone(),
        digest: set.digest(),
    })?;
    fs::create_dir_all(file.parent().unwrap_or(Path::new(".")))?;
    let (length, checksum) = ((header.len() as u64).to_le_bytes(), Sha256::digest(&header));
    if (set.pixels().len() + header.len() + PREAMBLE + END) as u64 > MAX_BYTES {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let end = [&header[..], &checksum[..], &length[..]];
    match set.pixels_mut() {
        Pixels::Memory(pixels) => atomic_file::write(file, &[&preamble(), pixels, end[0], end[1], end[2]]),
        Pixels::File(pixels) => pixels.persist(file, &preamble(), &end),
    }
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
            let options =
                LoadOptions { invert, cache: Some(cache.path()), ..LoadOptions::new(images.path(), 2) };
            folder::SOURCE.load(&options)
        };
        draw(10, "1.png");
        let first = load(None)?;
        assert_eq!((&*first.set.image(0, 0), &first.warning), ([10; 4].as_slice(), &None));
        assert_eq!(load(None)?.set, first.set);
        assert_eq!(*load(Some(true))?.set.image(0, 0), [245; 4]);
        draw(20, "2.png");
        assert_eq!(load(None)?.set.examples(0), 2);
        let kept = |ending: &str| {
            let names = fs::read_dir(cache.path()).expect("cache").map(|entry| entry.expect("entry").path());
            names.filter(|path| path.extension().is_some_and(|found| found == ending)).count()
        };
        assert_eq!((kept("images"), kept("channels")), (2, 2));
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
            assert!(load(&file, "x", MOST_IN_MEMORY).is_none(), "byte {at} changed");
            fs::write(&file, &whole[..at]).expect("cache");
            assert!(load(&file, "x", MOST_IN_MEMORY).is_none(), "cut at {at}");
        }
        assert!(rebuilt(&file, "x")?);
        Ok(())
    }

    #[test]
    fn a_set_larger_than_the_bound_is_read_from_its_file() -> Result<(), Error> {
        let dir = TempDir::new().expect("dir");
        let file = dir.path().join("set.images");
        rebuilt(&file, "x")?;
        let [small, large] = [12, 11].map(|most| load(&file, "x", most).expect("a sound cache").0);
        assert!(matches!((small.pixels(), large.pixels()), (Pixels::Memory(_), Pixels::File(_))));
        assert_eq!((&large, large.digest()), (&small, small.digest()));
        assert_eq!(large.image(1, 0), small.image(1, 0));
        Ok(())
    }

    #[test]
    fn pixels_in_a_temporary_file_become_the_cache() -> Result<(), Error> {
        let dir = TempDir::new().expect("dir");
        let mut writer = Scratch { folder: Some(dir.path()), most: 0 }.writer(12);
        writer.write(&(0..12).collect::<Vec<u8>>())?;
        let in_file = ImageSet::of(Format::grey(2), set()?.classes().to_vec(), writer.finish())?;
        let file = dir.path().join("set.images");
        let (found, warning) = cached(&file, "x", || Ok((in_file, findings())))?;
        assert_eq!((&found, warning), (&(set()?, findings()), None));
        assert_eq!(fs::read_dir(dir.path()).expect("folder").count(), 1);
        drop(found);
        assert!(!rebuilt(&file, "x")?);
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
