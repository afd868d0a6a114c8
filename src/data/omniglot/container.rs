//! Reads one half of Omniglot from its official zip file or from a folder unpacked from it.
//!
//! Zip files are never unpacked to disk, and the number of entries and the size of each drawing are bounded, so that a
//! hostile archive can neither write files nor exhaust memory. Entries that are not drawings are ignored. Duplicate
//! names, and drawings that are links, are errors.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Cursor};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zip::ZipArchive;

use super::DATASET;
use crate::data::Error;
use crate::support::atomic_file;

/// The official archives have less than 10 MB in 20 300 entries, their drawings less than 1 KB.
const MAX_ARCHIVE_BYTES: u64 = 64 << 20;
const MAX_ENTRIES: usize = 100_000;
const MAX_DRAWING_BYTES: u64 = 1 << 20;

/// The signature of an entry in a zip file's directory.
const ENTRY: &[u8] = b"PK\x01\x02";

/// The path of a drawing: alphabet, character and file name.
pub type DrawingPath = [String; 3];

/// A zip file in memory.
type Zip = ZipArchive<Cursor<Arc<[u8]>>>;

/// An opened half of Omniglot.
pub enum Container {
    /// A zip file.
    Zip {
        /// Its path.
        path: PathBuf,
        /// The opened archive.
        archive: Zip,
        /// The index of each drawing's entry.
        entries: BTreeMap<DrawingPath, usize>,
    },
    /// A folder.
    Folder(PathBuf),
}

/// The path of `half` in `dir`: its zip file if there is one, else its folder.
pub fn find(dir: &Path, half: &str) -> Option<PathBuf> {
    let [zip, folder] = [dir.join(format!("{half}.zip")), dir.join(half)];
    if zip.is_file() { Some(zip) } else { folder.is_dir().then_some(folder) }
}

impl Container {
    /// Opens the zip file or folder that [`find`] returned for `half`.
    ///
    /// # Errors
    /// Returns an error if it cannot be read or the zip file is damaged.
    pub fn open(path: PathBuf, half: &str) -> Result<Self, Error> {
        if path.is_dir() {
            return Ok(Self::Folder(path));
        }
        let bytes =
            atomic_file::read(&path, MAX_ARCHIVE_BYTES).map_err(Error::io("read the archive", &path))?;
        Self::zip(path, half, bytes)
    }

    /// Opens the zip file of `half` with these `bytes`; messages name it `path`.
    ///
    /// # Errors
    /// Returns an error if it is not a zip file, has far more entries than Omniglot, or two entries have the same name.
    pub fn zip(path: PathBuf, half: &str, bytes: Vec<u8>) -> Result<Self, Error> {
        let damaged = |reason| Error::Damaged { path: path.clone(), reason, dataset: &DATASET };
        // Counted before memory is allocated for each.
        let found = bytes.windows(ENTRY.len()).filter(|window| *window == ENTRY).count();
        if found > MAX_ENTRIES {
            return Err(damaged(format!("it has {found} entries, more than the limit of {MAX_ENTRIES}")));
        }
        let archive: Zip =
            ZipArchive::new(Cursor::new(bytes.into())).map_err(|error| damaged(error.to_string()))?;
        if archive.has_duplicate_names() {
            return Err(damaged("two of its entries have the same name".into()));
        }
        let mut entries = BTreeMap::new();
        for (number, name) in archive.file_names().enumerate() {
            let within = |name: &str| drawing(name.strip_prefix(half)?.strip_prefix('/')?);
            let Some(drawing) = name.ok().and_then(|name| within(&name)) else { continue };
            if let Some(twice) = entries.insert(drawing.clone(), number) {
                let drawing = drawing.join("/");
                return Err(damaged(format!("its entries {twice} and {number} are both called `{drawing}`")));
            }
        }
        Ok(Self::Zip { path, archive, entries })
    }

    /// The path of the zip file or folder.
    pub fn path(&self) -> &Path {
        match self {
            Self::Zip { path, .. } | Self::Folder(path) => path,
        }
    }

    /// The paths of all drawings, sorted; other files are ignored.
    ///
    /// # Errors
    /// Returns an error if a folder cannot be listed.
    pub fn drawings(&self) -> Result<Vec<DrawingPath>, Error> {
        let mut drawings = match self {
            Self::Zip { entries, .. } => entries.keys().cloned().collect(),
            Self::Folder(root) => {
                let mut paths = vec![String::new()];
                for _ in 0..3 {
                    let mut deeper = vec![];
                    for path in paths {
                        deeper.extend(entries(root, &path)?);
                    }
                    paths = deeper;
                }
                paths.iter().filter_map(|path| drawing(path)).collect::<Vec<_>>()
            }
        };
        drawings.sort();
        Ok(drawings)
    }

    /// The bytes of one drawing's file.
    ///
    /// # Errors
    /// Returns an error if the file is missing, cannot be read, is a symbolic link in a zip file, or is too large.
    pub fn read(&self, drawing: &DrawingPath) -> Result<Vec<u8>, Error> {
        let name = drawing.join("/");
        match self {
            Self::Zip { path, archive, entries } => {
                read_entry(archive, entries.get(drawing)).map_err(|error| Error::Damaged {
                    path: path.clone(),
                    reason: format!("{name}: {error}"),
                    dataset: &DATASET,
                })
            }
            Self::Folder(root) => {
                let path = root.join(name);
                atomic_file::read(&path, MAX_DRAWING_BYTES).map_err(Error::io("read the drawing", &path))
            }
        }
    }
}

/// The decompressed content of the entry with this index.
fn read_entry(archive: &Zip, number: Option<&usize>) -> io::Result<Vec<u8>> {
    let number = number.ok_or(io::ErrorKind::NotFound)?;
    // A clone shares the bytes and the directory, but has its own reading position.
    let mut archive = archive.clone();
    let entry = archive.by_index(*number)?;
    if entry.is_symlink() {
        return Err(io::Error::other("it is a symbolic link, not a drawing"));
    }
    atomic_file::drain(entry, MAX_DRAWING_BYTES)
}

/// Parses `alphabet/character/file.png`; `None` for anything else, such as a path that leaves the folder.
fn drawing(path: &str) -> Option<DrawingPath> {
    let parts: DrawingPath = path.split('/').map(str::to_string).collect::<Vec<_>>().try_into().ok()?;
    let is_plain = |part: &String| {
        !part.is_empty() && !part.starts_with('.') && !part.contains(|letter: char| letter.is_control())
    };
    let plain = parts.iter().all(is_plain);
    (plain && parts[2].to_ascii_lowercase().ends_with(".png")).then_some(parts)
}

/// The entries of the folder `root/path`, as paths below `root`; empty if that is not a folder.
fn entries(root: &Path, path: &str) -> Result<Vec<String>, Error> {
    let folder = root.join(path);
    if !folder.is_dir() {
        return Ok(vec![]);
    }
    let listed = Error::io("list the folder", &folder);
    let names: Result<Vec<_>, _> =
        fs::read_dir(&folder).and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect());
    let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
    Ok(names.map_err(listed)?.iter().map(|name| format!("{prefix}{}", name.to_string_lossy())).collect())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    /// A zip file with `files`.
    fn zipped(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut zip = ZipWriter::new(Cursor::new(vec![]));
        for (name, bytes) in files {
            zip.start_file(name, SimpleFileOptions::default()).expect("entry");
            zip.write_all(bytes).expect("entry");
        }
        zip.finish().expect("zip").into_inner()
    }

    fn open(bytes: Vec<u8>) -> Result<Container, String> {
        Container::zip("half.zip".into(), "half", bytes).map_err(|error| error.to_string())
    }

    fn refusal(bytes: Vec<u8>) -> String {
        let error = open(bytes).err().expect("an invalid zip file");
        assert!(error.contains("`half.zip` is damaged"), "{error}");
        error
    }

    /// The bytes of the drawing `a/b/NAME.png` in `zip`.
    fn read(zip: Vec<u8>, name: &str) -> Result<Vec<u8>, String> {
        let drawing = ["a".into(), "b".into(), format!("{name}.png")];
        open(zip)?.read(&drawing).map_err(|error| error.to_string())
    }

    /// `bytes` with every `old` replaced by `new`.
    fn replaced(mut bytes: Vec<u8>, old: &[u8], new: &[u8]) -> Vec<u8> {
        for at in 0..=bytes.len() - old.len() {
            if bytes[at..].starts_with(old) {
                bytes[at..at + new.len()].copy_from_slice(new);
            }
        }
        bytes
    }

    #[test]
    fn only_drawings_are_listed() {
        let inner = zipped(&[("half/a/b/1.png", b"x")]);
        let zip = zipped(&[
            ("half/a/b/2.png", b"y"),
            ("half/a/b/inner.zip", &inner),
            ("half/../../b/3.png", b"z"),
            ("../half/a/b/4.png", b"z"),
            ("/half/a/b/5.png", b"z"),
            ("half\\a\\b\\6.png", b"z"),
            ("other/a/b/7.png", b"z"),
        ]);
        let drawings =
            open(zip.clone()).and_then(|archive| archive.drawings().map_err(|error| error.to_string()));
        assert_eq!(drawings, Ok(vec![["a".into(), "b".into(), "2.png".into()]]));
        assert_eq!(read(zip, "2"), Ok(b"y".to_vec()));
    }

    #[test]
    fn duplicate_names_are_refused() {
        let two = zipped(&[("half/a/b/1.png", b"x"), ("half/a/b/2.png", b"y")]);
        let twice = replaced(two, b"half/a/b/2.png", b"half/a/b/1.png");
        assert!(refusal(twice).contains("the same name"));
        // One name in UTF-8 and one in code page 437, which decode to the same text.
        let two = zipped(&[("half/a/\u{e9}/1.png", b"x"), ("half/a/e/1.png", b"y")]);
        let twice = replaced(two, b"half/a/e/1.png", b"half/a/\x82/1.png");
        assert!(refusal(twice).contains("0 and 1 are both called `a/\u{e9}/1.png`"));
    }

    #[test]
    fn symbolic_links_are_refused() {
        let mut zip = ZipWriter::new(Cursor::new(vec![]));
        let options = SimpleFileOptions::default();
        zip.add_symlink("half/a/b/1.png", "/etc/passwd", options).expect("entry");
        let zip = zip.finish().expect("zip").into_inner();
        let error = read(zip, "1").expect_err("a link");
        assert!(error.contains("a/b/1.png: it is a symbolic link"), "{error}");
    }

    #[test]
    fn decompression_is_bounded() {
        let most = MAX_DRAWING_BYTES as usize;
        let bomb = zipped(&[("half/a/b/1.png", &vec![0; most]), ("half/a/b/2.png", &vec![0; 64 << 20])]);
        assert!(bomb.len() < most / 4);
        assert_eq!(read(bomb.clone(), "1").map(|bytes| bytes.len()), Ok(most));
        let error = read(bomb.clone(), "2").expect_err("a bomb");
        assert!(error.contains("a/b/2.png: it is larger than 1 MB"), "{error}");
        // The zip file may declare a small size.
        let mut lying = bomb;
        let entry = lying.windows(4).rposition(|window| window == ENTRY).expect("an entry");
        lying[entry + 24..entry + 28].copy_from_slice(&7_u32.to_le_bytes());
        let error = read(lying, "2").expect_err("a bomb");
        assert!(error.contains("larger than its declared"), "{error}");
    }

    #[test]
    fn too_many_entries_are_refused() {
        let many = ENTRY.repeat(MAX_ENTRIES + 1);
        assert!(refusal(many).contains("100001 entries"));
        let none = zipped(&[]);
        assert!(open(none.clone()).is_ok());
        // An end record that declares 65535 entries, or a directory of 4 GB, in an empty zip file.
        for (from, to) in [(8, 12), (12, 16), (16, 20), (8, 20)] {
            let mut end = none.clone();
            end[from..to].fill(0xff);
            match open(end) {
                Ok(archive) => assert!(archive.drawings().expect("a list").is_empty()),
                Err(error) => assert!(error.to_string().contains("damaged"), "{error}"),
            }
        }
        for length in 0..none.len() {
            refusal(none[..length].to_vec());
        }
    }

    #[test]
    fn only_plain_paths_are_drawings() {
        assert!(drawing("Greek/character01/0001_01.png").is_some());
        for path in [
            "Greek/character01",
            "Greek/../0001_01.png",
            "/Greek/a.png",
            "Greek/character01/._a.png",
            "Greek/character01/notes.txt",
            "Greek/character01/more/a.png",
            "../../../a.png",
            "Greek/character01/\u{1b}[2J.png",
        ] {
            assert!(drawing(path).is_none(), "{path}");
        }
    }
}
