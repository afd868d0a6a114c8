//! Files that are replaced whole or not at all.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// How the names of unfinished files begin.
const UNFINISHED: &str = ".metaburn-";

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
