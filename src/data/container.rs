//! Where half of Omniglot lies: in its official zip, or in a folder unpacked from it.
//!
//! A zip is never unpacked to disk and each drawing's bytes are bounded, so that a hostile archive
//! can neither write elsewhere nor fill the memory.

use std::fs::{self, File};
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zip::ZipArchive;

use super::Error;

/// The official archives have less than 10 MB, their drawings less than 1 KB.
const MOST_ARCHIVE_BYTES: u64 = 256 << 20;
const MOST_DRAWING_BYTES: u64 = 1 << 20;

/// A drawing's place: alphabet, character and file name.
pub type Drawing = [String; 3];

/// An opened half of Omniglot.
pub enum Container {
    Zip { path: PathBuf, root: String, archive: ZipArchive<Cursor<Arc<[u8]>>> },
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
    /// If it cannot be read, or is no zip.
    pub fn open(path: PathBuf, half: &str) -> Result<Self, Error> {
        if path.is_dir() {
            return Ok(Self::Folder(path));
        }
        let mut bytes = vec![];
        File::open(&path)
            .and_then(|file| file.take(MOST_ARCHIVE_BYTES).read_to_end(&mut bytes))
            .map_err(Error::io("read the archive", &path))?;
        match ZipArchive::new(Cursor::new(bytes.into())) {
            Ok(archive) => Ok(Self::Zip { path, root: half.to_string(), archive }),
            Err(error) => Err(Error::Archive { path, reason: error.to_string() }),
        }
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
            Self::Zip { archive, root, .. } => archive
                .file_names()
                .filter_map(|name| drawing(name.ok()?.strip_prefix(root.as_str())?.strip_prefix('/')?))
                .collect(),
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
    /// If it cannot be read, or has more bytes than any drawing.
    pub fn read(&self, drawing: &Drawing) -> Result<Vec<u8>, Error> {
        let name = drawing.join("/");
        let mut bytes = vec![];
        match self {
            Self::Zip { path, root, archive } => {
                let damaged = |reason: String| Error::Archive {
                    path: path.clone(),
                    reason: format!("{root}/{name}: {reason}"),
                };
                // A clone shares the bytes and the directory; it is a reading position of its own.
                let mut archive = archive.clone();
                let entry =
                    archive.by_name(&format!("{root}/{name}")).map_err(|error| damaged(error.to_string()))?;
                entry
                    .take(MOST_DRAWING_BYTES)
                    .read_to_end(&mut bytes)
                    .map_err(|error| damaged(error.to_string()))?;
            }
            Self::Folder(root) => {
                let path = root.join(name);
                File::open(&path)
                    .and_then(|file| file.take(MOST_DRAWING_BYTES).read_to_end(&mut bytes))
                    .map_err(Error::io("read the drawing", &path))?;
            }
        }
        Ok(bytes)
    }
}

/// Reads `alphabet/character/file.png`; `None` for anything else, such as a path that climbs out.
fn drawing(path: &str) -> Option<Drawing> {
    let parts: Drawing = path.split('/').map(str::to_string).collect::<Vec<_>>().try_into().ok()?;
    let plain = parts.iter().all(|part| !part.is_empty() && !part.starts_with('.'));
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
    use super::drawing;

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
        ] {
            assert!(drawing(path).is_none(), "{path}");
        }
    }
}
