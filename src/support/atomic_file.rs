//! Size-bounded reads and atomic writes.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::NamedTempFile;

/// Prefix of temporary files.
const TEMPORARY_PREFIX: &str = ".metaburn-";

/// Reads the file at `path`, of at most `limit` bytes.
///
/// # Errors
/// Returns an error if the file cannot be read, is a folder, a pipe or a device, or is larger
/// ([`ErrorKind::FileTooLarge`]).
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    // Checked before opening, because opening a pipe blocks until another process writes to it.
    let metadata = fs::metadata(path)?;
    if metadata.is_dir() {
        return Err(io::Error::new(ErrorKind::IsADirectory, "it is a folder"));
    }
    if !metadata.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is not a regular file"));
    }
    if metadata.len() > limit {
        return Err(too_large(limit));
    }
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(metadata.len() as usize)?;
    fill(bytes, File::open(path)?, limit)
}

/// Reads `source` to its end, at most `limit` bytes, whatever length it claims to have.
///
/// # Errors
/// Returns an error if `source` cannot be read or has more bytes ([`ErrorKind::FileTooLarge`]).
pub fn drain(source: impl Read, limit: u64) -> io::Result<Vec<u8>> {
    fill(Vec::new(), source, limit)
}

fn fill(mut bytes: Vec<u8>, source: impl Read, limit: u64) -> io::Result<Vec<u8>> {
    source.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit { Err(too_large(limit)) } else { Ok(bytes) }
}

fn too_large(limit: u64) -> io::Error {
    let limit = if limit < 1 << 20 { format!("{limit} bytes") } else { format!("{} MB", limit >> 20) };
    io::Error::new(ErrorKind::FileTooLarge, format!("it is larger than {limit}"))
}

/// Replaces the file at `path` with the concatenated `pieces`. They are written to a temporary file in the same folder,
/// synced, then renamed, so that `path` is the complete old or new file at any time. A link to a file stays, and the file is
/// replaced. A device, a pipe or an open file such as `/dev/stdout` stays too, and is written to: renaming would put a file in its
/// place.
///
/// # Errors
/// Returns an error if writing, syncing or renaming fails; the old file is then unchanged.
pub fn write(path: &Path, pieces: &[&[u8]]) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(found) if is_open_file(path) || !found.is_file() && !found.is_dir() => write_through(path, pieces),
        Ok(_) if fs::symlink_metadata(path)?.is_symlink() => replace(&fs::canonicalize(path)?, pieces),
        _ => replace(path, pieces),
    }
}

/// Whether `path` names a file that a process holds open.
fn is_open_file(path: &Path) -> bool {
    let target = fs::read_link(path).unwrap_or_default();
    path.starts_with("/dev/fd") || [path, &target].iter().any(|path| path.starts_with("/proc"))
}

/// Writes `pieces` to the device, the pipe or the end of the open file at `path`, which must not be replaced.
fn write_through(path: &Path, pieces: &[&[u8]]) -> io::Result<()> {
    let mut file = File::options().append(true).open(path)?;
    pieces.iter().try_for_each(|piece| file.write_all(piece))
}

/// Replaces the file at `path`, which is no link, by renaming.
fn replace(path: &Path, pieces: &[&[u8]]) -> io::Result<()> {
    let folder = folder_of(path);
    let (mut file, temporary) = temporary(folder)?.into_parts();
    pieces.iter().try_for_each(|piece| file.write_all(piece))?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    // Do not delete the renamed file.
    let _ = temporary.keep();
    // The rename is durable once the folder is synced, which not every system supports.
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
    Ok(())
}

/// Deletes the temporary files in `folder` that were last written more than a day ago: for a folder that several processes may be
/// writing to. Errors are ignored.
pub fn sweep_abandoned(folder: &Path) {
    let is_old = |entry: &fs::DirEntry| {
        let written = entry.metadata().and_then(|metadata| metadata.modified());
        let age = written.ok().and_then(|time| time.elapsed().ok());
        age.is_some_and(|age| age > Duration::from_secs(24 * 3600))
    };
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if is_temporary(&entry.file_name()) && is_old(&entry) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// A temporary file in `folder`, which is deleted when dropped and may become permanent by renaming.
///
/// # Errors
/// Returns an error if it cannot be created.
pub fn temporary(folder: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(TEMPORARY_PREFIX);
    // Temporary files are private by default; this one may become permanent, so it gets the usual permissions.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder)
}

/// Deletes temporary files that killed processes left in `folder`. No other process may be writing there.
///
/// # Errors
/// Returns an error if the folder cannot be listed or a file cannot be deleted.
pub fn sweep(folder: &Path) -> io::Result<()> {
    let entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    let left: Vec<PathBuf> =
        entries.iter().filter(|entry| is_temporary(&entry.file_name())).map(|entry| entry.path()).collect();
    left.iter().try_for_each(fs::remove_file)
}

fn is_temporary(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| name.starts_with(TEMPORARY_PREFIX))
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;
    use std::time::SystemTime;

    #[test]
    fn read_and_drain_respect_the_size_limit() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("file");
        fs::write(&path, "hello")?;
        assert_eq!(read(&path, 5)?, b"hello");
        assert_eq!(drain(&b"hello"[..], 5)?, b"hello");
        for error in [read(&path, 4), drain(&b"hello"[..], 4), drain(io::repeat(0), 4)] {
            let error = error.expect_err("too large");
            assert_eq!(
                (error.kind(), &*error.to_string()),
                (ErrorKind::FileTooLarge, "it is larger than 4 bytes")
            );
        }
        // A sparse file of a terabyte.
        File::create(&path)?.set_len(1 << 40)?;
        let error = read(&path, 64 << 20).expect_err("too large");
        assert_eq!(error.to_string(), "it is larger than 64 MB");
        Ok(())
    }

    #[test]
    #[cfg(unix)]
    fn read_refuses_pipes_and_devices() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status()?.success());
        for endless in [&pipe, Path::new("/dev/zero")] {
            assert_eq!(read(endless, 4).expect_err("endless").to_string(), "it is not a regular file");
        }
        assert_eq!(read(folder.path(), 4).expect_err("a folder").kind(), ErrorKind::IsADirectory);
        assert_eq!(read(&folder.path().join("none"), 4).expect_err("none").kind(), ErrorKind::NotFound);
        Ok(())
    }

    #[test]
    fn write_replaces_and_sweep_deletes_temporary_files() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("file");
        fs::write(&path, "old")?;
        write(&path, &[b"n", b"ew"])?;
        fs::write(folder.path().join(".metaburn-abc"), "torn")?;
        sweep(folder.path())?;
        assert_eq!(fs::read_to_string(&path)?, "new");
        assert_eq!(fs::read_dir(folder.path())?.count(), 1);
        Ok(())
    }

    #[test]
    fn sweep_abandoned_deletes_only_temporary_files_of_more_than_a_day_ago() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let (now, hour) = (SystemTime::now(), Duration::from_secs(3600));
        for (name, written) in [
            (".metaburn-old", now - 25 * hour),
            (".metaburn-young", now - 23 * hour),
            (".metaburn-now", now),
            // Of a machine whose clock is ahead.
            (".metaburn-future", now + hour),
            ("set.images", now - 25 * hour),
        ] {
            File::create(folder.path().join(name))?.set_modified(written)?;
        }
        sweep_abandoned(folder.path());
        let mut left = fs::read_dir(folder.path())?
            .map(|entry| Ok(entry?.file_name()))
            .collect::<io::Result<Vec<OsString>>>()?;
        left.sort();
        assert_eq!(left, [".metaburn-future", ".metaburn-now", ".metaburn-young", "set.images"]);
        Ok(())
    }

    #[test]
    #[cfg(unix)]
    fn write_keeps_pipes_and_links() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let [pipe, link, file] = ["pipe", "link", "file"].map(|name| folder.path().join(name));
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status()?.success());
        // Both ends are open, so that nothing waits for another process.
        let mut ends = File::options().read(true).write(true).open(&pipe)?;
        write(&pipe, &[b"n", b"ew"])?;
        assert!(!fs::metadata(&pipe)?.is_file(), "the pipe was replaced");
        let mut written = [0; 3];
        ends.read_exact(&mut written)?;
        assert_eq!(&written, b"new");

        fs::write(&file, "old")?;
        std::os::unix::fs::symlink("file", &link)?;
        write(&link, &[b"new"])?;
        assert!(fs::symlink_metadata(&link)?.is_symlink(), "the link was replaced");
        assert_eq!(fs::read_to_string(&file)?, "new");
        Ok(())
    }
}
