//! What can be wrong with a configuration, and where.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Faults shown in full; a longer list ends with the count of the rest.
const SHOWN: usize = 20;

/// Why there is no [`Config`](super::Config).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file cannot be opened or read.
    #[error("cannot read configuration {}: {}", path.display(), reason(source))]
    Read {
        /// The path as given.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },

    /// The path names a directory.
    #[error("{} is a directory; give the path of a TOML file", path.display())]
    Directory {
        /// The path as given.
        path: PathBuf,
    },

    /// The file is larger than any configuration.
    #[error("{} is larger than {limit} bytes; this is not a configuration", path.display())]
    TooLarge {
        /// The path as given.
        path: PathBuf,
        /// The most bytes that are read.
        limit: u64,
    },

    /// The file is not UTF-8.
    #[error("{}, line {line}: not UTF-8 text; a configuration is a TOML file", path.display())]
    NotText {
        /// The path as given.
        path: PathBuf,
        /// The line of the first bad byte, from 1.
        line: usize,
    },

    /// The text is not TOML.
    #[error("{place}: not valid TOML: {reason}")]
    Syntax {
        /// Where the parser stopped.
        place: Place,
        /// What the parser said.
        reason: String,
    },

    /// An override that is not `key=value`.
    #[error("--set {text}: expected key=value, as in --set inner.steps=5")]
    Override {
        /// The override as given.
        text: String,
    },

    /// The text is TOML, but not a possible configuration. Never empty.
    #[error("{}", list(.0))]
    Impossible(Vec<Fault>),

    /// A [`Config`](super::Config) changed by hand holds what TOML cannot: a path that is not UTF-8.
    #[error("this configuration cannot be written as TOML: {0}")]
    Write(#[from] toml::ser::Error),
}

/// One impossible setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The key in dotted form, as in `inner.steps`.
    pub key: String,
    /// The value as written, shortened; `None` where the key is missing.
    pub value: Option<String>,
    /// Where it stands; for a missing key, what needs it.
    pub place: Place,
    /// A sentence that names the key, the value, and what is allowed.
    pub reason: String,
}

/// Where a setting was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a file, or in the built-in default.
    File {
        /// The path as given, or "built-in configuration".
        name: String,
        /// The line, from 1; `None` for what is missing from the file.
        line: Option<usize>,
    },
    /// In a sweep file, over its base.
    Sweep {
        /// The path as given.
        name: String,
        /// The line, from 1.
        line: usize,
    },
    /// In `--set`.
    Override {
        /// The override as given, shortened.
        text: String,
    },
}

impl Place {
    /// Files come first and by line, what is set over them after that.
    pub(super) fn order(&self) -> (u8, usize) {
        match self {
            Place::File { line, .. } => (0, line.unwrap_or(usize::MAX)),
            Place::Sweep { line, .. } => (1, *line),
            Place::Override { .. } => (2, 0),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File { name, line: Some(line) } | Place::Sweep { name, line } => {
                write!(out, "{name}, line {line}")
            }
            Place::File { name, line: None } => write!(out, "{name}"),
            Place::Override { text } => write!(out, "--set {text}"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.place, self.reason)
    }
}

fn list(faults: &[Fault]) -> String {
    if let [only] = faults {
        return only.to_string();
    }
    let mut text = format!("{} settings are impossible:", faults.len());
    for fault in faults.iter().take(SHOWN) {
        text += &format!("\n  {fault}");
    }
    if faults.len() > SHOWN {
        text += &format!("\n  … and {} more", faults.len() - SHOWN);
    }
    text
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file".into(),
        io::ErrorKind::PermissionDenied => "permission denied".into(),
        _ => error.to_string(),
    }
}
