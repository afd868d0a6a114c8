//! Paths and links.

use std::fs;
use std::path::{Path, PathBuf};

/// `path` from the root of the file system and without links, or as it is if it does not exist.
pub fn absolute(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.into())
}

/// Whether `path`, which may not exist, is in the folder `outer`, given without links.
pub fn is_inside(path: &Path, outer: &Path) -> bool {
    let full = std::path::absolute(path).unwrap_or_else(|_| path.into());
    // What does not exist yet has no links.
    let existing = full.ancestors().find_map(|folder| fs::canonicalize(folder).ok());
    existing.is_some_and(|folder| folder.starts_with(outer))
}
