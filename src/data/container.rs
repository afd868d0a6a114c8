//! Where half of Omniglot lies: in its official zip, or in a folder unpacked from it.
//!
//! A zip is never unpacked to disk, and its entries, their number and each drawing's bytes are bounded, so
//! that a hostile archive can neither write elsewhere nor fill the memory. What is no drawing is ignored, a
//! path that climbs out and a zip within the zip for two; a name given twice and a drawing that is a link
//! are refused.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Cursor};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zip::ZipArchive;

use super::Error;
use crate::whole;

/// The official archives have less than 10 MB in 20 300 entries, their drawings less than 1 KB.
const MOST_ARCHIVE_BYTES: u64 = 64 << 20;
const MOST_ENTRIES: usize = 100_000;
const MOST_DRAWING_BYTES: u64 = 1 << 20;

/// What an entry of a zip's directory begins with.
const ENTRY: &[u8] = b"PK\x01\x02";

/// A drawing's place: alphabet, character and file name.
pub type Drawing = [String; 3];

/// A zip in memory.
type Zip = ZipArchive<Cursor<Arc<[u8]>>>;

/// An opened half of Omniglot.
pub enum Container {
    /// A zip, and the number of each drawing's entry.
    Zip {
        /// Where it was read from.
        path: PathBuf,
        /// Its bytes, opened.
        archive: Zip,
        /// Each drawing's entry.
        entries: BTreeMap<Drawing, usize>,
    },
    /// A folder.
    Folder(PathBuf),
}

/// The path of `half` in `dir`: its zip if there is one, else its folder.
pub fn find(dir: &Path, half: &str) -> Option<PathBuf> {
    let [zip, folder] = [dir.join(format!("{half}.zip")), dir.join(half)];
    if zip.is_file() { Some(zip) } else { folder.is_dir().then_some(folder) }
}

impl Container {
    /// Opens what [`find`] found for `half`.
    ///
    /// # Errors
    /// If it cannot be read, or is no sound zip.
    pub fn open(path: PathBuf, half: &str) -> Result<Self, Error> {
        if path.is_dir() {
            return Ok(Self::Folder(path));
        }
        let bytes = whole::read(&path, MOST_ARCHIVE_BYTES).map_err(Error::io("read the archive", &path))?;
        Self::zip(path, half, bytes)
    }

    /// Opens the zip `bytes` of `half`; messages call it `path`.
    ///
    /// # Errors
    /// If it is no zip, has more entries than any archive of Omniglot, or gives two the same name.
    pub fn zip(path: PathBuf, half: &str, bytes: Vec<u8>) -> Result<Self, Error> {
        let damaged = |reason: String| Error::Archive { path: path.clone(), reason };
        // Counted before anything is kept of each.
        let found = bytes.windows(ENTRY.len()).filter(|window| *window == ENTRY).count();
        if found > MOST_ENTRIES {
            return Err(damaged(format!("it holds {found} entries, and at most {MOST_ENTRIES} are read")));
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

    /// Where this half lies.
    pub fn path(&self) -> &Path {
        match self {
            Self::Zip { path, .. } | Self::Folder(path) => path,
        }
    }

    /// All its drawings, sorted; whatever else it holds is ignored.
    ///
    /// # Errors
    /// If a folder cannot be listed.
    pub fn drawings(&self) -> Result<Vec<Drawing>, Error> {
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
    /// If there is none, it cannot be read, is a link in a zip, or has more bytes than any drawing.
    pub fn read(&self, drawing: &Drawing) -> Result<Vec<u8>, Error> {
        let name = drawing.join("/");
        match self {
            Self::Zip { path, archive, entries } => inflated(archive, entries.get(drawing))
                .map_err(|error| Error::Archive { path: path.clone(), reason: format!("{name}: {error}") }),
            Self::Folder(root) => {
                let path = root.join(name);
                whole::read(&path, MOST_DRAWING_BYTES).map_err(Error::io("read the drawing", &path))
            }
        }
    }
}

/// The content of the entry with this number.
fn inflated(archive: &Zip, number: Option<&usize>) -> io::Result<Vec<u8>> {
    let number = number.ok_or(io::ErrorKind::NotFound)?;
    // A clone shares the bytes and the directory; it is a reading position of its own.
    let mut archive = archive.clone();
    let entry = archive.by_index(*number)?;
    if entry.is_symlink() {
        return Err(io::Error::other("it is a link, not a drawing"));
    }
    whole::drain(entry, MOST_DRAWING_BYTES)
}

/// Reads `alphabet/character/file.png`; `None` for anything else, such as a path that climbs out.
fn drawing(path: &str) -> Option<Drawing> {
    let parts: Drawing = path.split('/').map(str::to_string).collect::<Vec<_>>().try_into().ok()?;
    let is_plain = |part: &String| {
        !part.is_empty() && !part.starts_with('.') && !part.contains(|letter: char| letter.is_control())
    };
    let plain = parts.iter().all(is_plain);
    (plain && parts[2].to_ascii_lowercase().ends_with(".png")).then_some(parts)
}

/// What lies in the folder `root/path`, as paths below `root`; nothing if that is no folder.
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

    /// A zip of these files.
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
        let error = open(bytes).err().expect("unsound");
        assert!(error.contains("`half.zip` is damaged"), "{error}");
        error
    }

    /// The bytes of the drawing called `a/b/NAME.png` in `zip`.
    fn read(zip: Vec<u8>, name: &str) -> Result<Vec<u8>, String> {
        let drawing = ["a".into(), "b".into(), format!("{name}.png")];
        open(zip)?.read(&drawing).map_err(|error| error.to_string())
    }

    /// `bytes` with `new` wherever `old` was.
    fn replaced(mut bytes: Vec<u8>, old: &[u8], new: &[u8]) -> Vec<u8> {
        for at in 0..=bytes.len() - old.len() {
            if bytes[at..].starts_with(old) {
                bytes[at..at + new.len()].copy_from_slice(new);
            }
        }
        bytes
    }

    #[test]
    fn what_is_no_drawing_is_not_even_read() {
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
        let drawings = open(zip.clone()).and_then(|half| half.drawings().map_err(|error| error.to_string()));
        assert_eq!(drawings, Ok(vec![["a".into(), "b".into(), "2.png".into()]]));
        assert_eq!(read(zip, "2"), Ok(b"y".to_vec()));
    }

    #[test]
    fn a_name_given_twice_is_refused() {
        let two = zipped(&[("half/a/b/1.png", b"x"), ("half/a/b/2.png", b"y")]);
        let twice = replaced(two, b"half/a/b/2.png", b"half/a/b/1.png");
        assert!(refusal(twice).contains("the same name"));
        // One in UTF-8 and one in the older code, which read the same.
        let two = zipped(&[("half/a/\u{e9}/1.png", b"x"), ("half/a/e/1.png", b"y")]);
        let twice = replaced(two, b"half/a/e/1.png", b"half/a/\x82/1.png");
        assert!(refusal(twice).contains("0 and 1 are both called `a/\u{e9}/1.png`"));
    }

    #[test]
    fn a_link_is_refused_unread() {
        let mut zip = ZipWriter::new(Cursor::new(vec![]));
        let options = SimpleFileOptions::default();
        zip.add_symlink("half/a/b/1.png", "/etc/passwd", options).expect("entry");
        let zip = zip.finish().expect("zip").into_inner();
        let error = read(zip, "1").expect_err("a link");
        assert!(error.contains("a/b/1.png: it is a link"), "{error}");
    }

    #[test]
    fn no_drawing_is_inflated_beyond_its_bound() {
        let most = MOST_DRAWING_BYTES as usize;
        let bomb = zipped(&[("half/a/b/1.png", &vec![0; most]), ("half/a/b/2.png", &vec![0; 64 << 20])]);
        assert!(bomb.len() < most / 4);
        assert_eq!(read(bomb.clone(), "1").map(|bytes| bytes.len()), Ok(most));
        let error = read(bomb.clone(), "2").expect_err("a bomb");
        assert!(error.contains("a/b/2.png: it is larger than 1 MB"), "{error}");
        // Nor if it says that it is small.
        let mut lying = bomb;
        let entry = lying.windows(4).rposition(|window| window == ENTRY).expect("an entry");
        lying[entry + 24..entry + 28].copy_from_slice(&7_u32.to_le_bytes());
        let error = read(lying, "2").expect_err("a bomb");
        assert!(error.contains("larger than its declared"), "{error}");
    }

    #[test]
    fn absurd_numbers_of_entries_are_refused() {
        let many = ENTRY.repeat(MOST_ENTRIES + 1);
        assert!(refusal(many).contains("100001 entries"));
        let none = zipped(&[]);
        assert!(open(none.clone()).is_ok());
        // An end that speaks of 65535 entries, or of a directory of 4 GB, where there is none.
        for (from, to) in [(8, 12), (12, 16), (16, 20), (8, 20)] {
            let mut end = none.clone();
            end[from..to].fill(0xff);
            if let Ok(half) = open(end) {
                assert_eq!(half.drawings().expect("a list"), Vec::<Drawing>::new());
            }
        }
        for length in 0..none.len() {
            refusal(none[..length].to_vec());
        }
    }

    #[test]
    fn only_plain_drawings_are_seen() {
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
