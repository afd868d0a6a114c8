//! Fingerprints of files from their names, lengths and modification times, without reading them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use sha2::{Digest, Sha256};

use super::Error;
use super::listing::{self, MAX_DEPTH, is_of_system};
use crate::support::hex::hex;

/// Stands for the length of what a link leads to, if it leads nowhere.
const NOWHERE: u64 = u64::MAX;

/// SHA-256, in hexadecimal, of the names, lengths and modification times of all files at and
/// below `roots`, and of `options`: everything else that decides what is decoded from them. A link that leads nowhere has a name
/// only; if it should be an image, that is found out when it is decoded.
///
/// # Errors
/// Returns an error if a file or folder cannot be inspected, or folders are nested too deep.
pub fn fingerprint(roots: &[PathBuf], options: &str) -> Result<String, Error> {
    let mut hash = Sha256::new();
    hash.update(options);
    for root in roots {
        // Two levels more than are read: folders of other files may be below those of images.
        add(&mut hash, root, MAX_DEPTH + 2)?;
    }
    Ok(hex(&hash.finalize()))
}

fn add(hash: &mut Sha256, path: &Path, depth: usize) -> Result<(), Error> {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    hash.update((name.len() as u64).to_le_bytes());
    hash.update(name);
    let metadata = match fs::metadata(path) {
        Err(_) if path.is_symlink() => {
            hash.update(NOWHERE.to_le_bytes());
            return Ok(());
        }
        found => found.map_err(Error::io("look at", path))?,
    };
    if !metadata.is_dir() {
        let modified = metadata.modified().map_err(Error::io("look at", path))?;
        let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
        hash.update(metadata.len().to_le_bytes());
        hash.update(since.as_nanos().to_le_bytes());
    } else if depth == 0 {
        return Err(Error::TooDeep { path: path.into() });
    } else {
        let mut children: Vec<PathBuf> = fs::read_dir(path)
            .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
            .map_err(Error::io("list the folder", path))?;
        // What systems leave behind is not read, and may not be readable.
        children.retain(|child| !is_of_system(&listing::name(child)));
        children.sort();
        hash.update((children.len() as u64).to_le_bytes());
        for child in children {
            add(hash, &child, depth - 1)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use tempfile::TempDir;

    use super::*;

    #[test]
    fn every_change_of_files_changes_the_fingerprint() -> Result<(), Error> {
        let dir = TempDir::new().expect("dir");
        let file = dir.path().join("a/b.png");
        fs::create_dir(dir.path().join("a")).expect("folder");
        fs::write(&file, "1").expect("file");
        let now = || fingerprint(&[dir.path().to_path_buf()], "28");
        let mut seen = vec![now()?, fingerprint(&[dir.path().to_path_buf()], "29")?];
        assert_eq!(now()?, now()?);
        fs::write(&file, "12").expect("file");
        seen.push(now()?);
        let later = SystemTime::now() + Duration::from_secs(9);
        fs::File::options().write(true).open(&file).and_then(|file| file.set_modified(later)).expect("time");
        seen.push(now()?);
        fs::rename(&file, dir.path().join("a/c.png")).expect("there");
        seen.push(now()?);
        let count = seen.len();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), count);
        assert!(fingerprint(&[file], "").is_err());
        Ok(())
    }

    #[test]
    #[cfg(unix)]
    fn links_that_lead_nowhere_are_known_by_name() -> Result<(), Error> {
        let dir = TempDir::new().expect("dir");
        let now = || fingerprint(&[dir.path().to_path_buf()], "");
        let link = |to: &str, name: &str| {
            std::os::unix::fs::symlink(to, dir.path().join(name)).expect("link");
        };
        let mut seen = vec![now()?];
        link("nowhere", "a.png");
        seen.push(now()?);
        assert_eq!(now()?, now()?);
        link("itself", "itself");
        seen.push(now()?);
        fs::write(dir.path().join("nowhere"), "").expect("file");
        seen.push(now()?);
        let count = seen.len();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), count);
        Ok(())
    }
}
