//! What a folder holds: class folders, images, and what is neither.

use std::fs;
use std::path::{Path, PathBuf};

use super::Error;
use super::format::{Ending, ending};
use super::left_out::Reason;

/// The most levels of folders below an image folder, since links may form cycles.
pub const MAX_DEPTH: usize = 16;

/// Files and folders that operating systems, file servers and unpackers leave behind, in lower case.
const SYSTEM: &[&str] = &[
    "__macosx",
    "@eadir",
    "@recycle",
    "#recycle",
    "$recycle.bin",
    "system volume information",
    "lost+found",
    "thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
    "icon\r",
];

/// Whether a file or folder of this name is hidden or left by an operating system.
pub fn is_of_system(name: &str) -> bool {
    name.starts_with('.') || SYSTEM.contains(&name.to_ascii_lowercase().as_str())
}

/// A folder's subfolders and images, sorted, and what is left out of them.
pub struct Listing {
    pub folders: Vec<PathBuf>,
    pub images: Vec<PathBuf>,
    pub left_out: Vec<(Reason, PathBuf)>,
}

impl Listing {
    /// What `folder` holds.
    ///
    /// # Errors
    /// Returns an error if the folder cannot be listed.
    pub fn of(folder: &Path) -> Result<Self, Error> {
        let mut paths: Vec<PathBuf> = fs::read_dir(folder)
            .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
            .map_err(Error::io("list the folder", folder))?;
        paths.sort();
        let mut listing = Self { folders: vec![], images: vec![], left_out: vec![] };
        for path in paths {
            let reason = if is_of_system(&name(&path)) {
                Reason::System
            } else if path.is_dir() {
                listing.folders.push(path);
                continue;
            } else {
                match ending(&path) {
                    Ending::Image => {
                        listing.images.push(path);
                        continue;
                    }
                    Ending::Unread(format) => Reason::Format(format.into()),
                    Ending::Other if path.is_symlink() && !path.exists() => Reason::Link,
                    Ending::Other => Reason::Other,
                }
            };
            listing.left_out.push((reason, path));
        }
        Ok(listing)
    }

    /// Whether there is nothing but what systems leave behind.
    pub fn is_empty(&self) -> bool {
        let of_system = |(reason, _): &(Reason, PathBuf)| *reason == Reason::System;
        self.folders.is_empty() && self.images.is_empty() && self.left_out.iter().all(of_system)
    }
}

/// The last part of a path.
pub fn name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}
