//! Files read whole, up to a bound, and files replaced whole or not at all.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

/// How the names of unfinished files begin.
const UNFINISHED: &str = ".metaburn-";

/// The bytes of the file at `path`, at most `most` of them.
///
/// # Errors
/// If it cannot be read, is a folder, a pipe or a device, or is larger ([`ErrorKind::FileTooLarge`]).
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    // Looked at before it is opened: opening a pipe waits for somebody to write.
    let metadata = fs::metadata(path)?;
    if metadata.is_dir() {
        return Err(io::Error::new(ErrorKind::IsADirectory, "it is a folder"));
    }
    if !metadata.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is no ordinary file"));
    }
    if metadata.len() > most {
        return Err(too_large(most));
    }
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(metadata.len() as usize)?;
    fill(bytes, File::open(path)?, most)
}

/// The bytes that `source` gives until its end, at most `most` of them; what it says about its length is
/// not asked for.
///
/// # Errors
/// If it cannot be read, or gives more ([`ErrorKind::FileTooLarge`]).
pub fn drain(source: impl Read, most: u64) -> io::Result<Vec<u8>> {
    fill(Vec::new(), source, most)
}

fn fill(mut bytes: Vec<u8>, source: impl Read, most: u64) -> io::Result<Vec<u8>> {
    source.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most { Err(too_large(most)) } else { Ok(bytes) }
}

fn too_large(most: u64) -> io::Error {
    let most = if most < 1 << 20 { format!("{most} bytes") } else { format!("{} MB", most >> 20) };
    io::Error::new(ErrorKind::FileTooLarge, format!("it is larger than {most}"))
}

/// Replaces the file at `path` with `pieces`, one after the other: written beside it, synced, then
/// renamed, so that at every moment `path` is the old file or the new one.
///
/// # Errors
/// If writing, syncing or renaming fails; the old file is then untouched.
pub fn write(path: &Path, pieces: &[&[u8]]) -> io::Result<()> {
    let folder = folder_of(path);
    let mut builder = tempfile::Builder::new();
    builder.prefix(UNFINISHED);
    // Temporary files are private by default, but this one is to stay: as open as the umask lets it.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let (mut file, temporary) = builder.tempfile_in(folder)?.into_parts();
    pieces.iter().try_for_each(|piece| file.write_all(piece))?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    // Under its new name it is not to be deleted.
    let _ = temporary.keep();
    // The rename itself lasts only once the folder is synced; not every system can do that.
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
    Ok(())
}

/// Deletes what killed processes left unfinished in `folder`; call it only where nobody else writes.
///
/// # Errors
/// If the folder cannot be listed or a file not be deleted.
pub fn sweep(folder: &Path) -> io::Result<()> {
    let unfinished = |name: &OsStr| name.to_str().is_some_and(|name| name.starts_with(UNFINISHED));
    let entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    let left: Vec<PathBuf> =
        entries.iter().filter(|entry| unfinished(&entry.file_name())).map(|entry| entry.path()).collect();
    left.iter().try_for_each(fs::remove_file)
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_read_than_was_asked_for() -> io::Result<()> {
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
        // A terabyte that takes no room on the disk.
        File::create(&path)?.set_len(1 << 40)?;
        let error = read(&path, 64 << 20).expect_err("too large");
        assert_eq!(error.to_string(), "it is larger than 64 MB");
        Ok(())
    }

    #[test]
    #[cfg(unix)]
    fn what_has_no_end_is_not_begun() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status()?.success());
        for endless in [&pipe, Path::new("/dev/zero")] {
            assert_eq!(read(endless, 4).expect_err("endless").to_string(), "it is no ordinary file");
        }
        assert_eq!(read(folder.path(), 4).expect_err("a folder").kind(), ErrorKind::IsADirectory);
        assert_eq!(read(&folder.path().join("none"), 4).expect_err("none").kind(), ErrorKind::NotFound);
        Ok(())
    }

    #[test]
    fn a_file_is_replaced_and_leftovers_are_swept() -> io::Result<()> {
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
}
