//! Errors of configurations, with their places.

use super::TaskKind;
use crate::support::classified::Classified;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// The most faults that a message lists.
const MAX_LISTED: usize = 20;

/// Why a configuration could not be loaded or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file cannot be opened or read.
    #[error("cannot read configuration {}: {}", path.display(), reason(source))]
    Read {
        /// The path as given.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },

    /// The path names a directory.
    #[error(
        "{path} is a directory; give the path of a TOML file, or, to use the images in the directory, \
         `--set data.source=folder --data {path}`",
        path = path.display()
    )]
    Directory {
        /// The path as given.
        path: PathBuf,
    },

    /// The file is too large for a configuration.
    #[error("{} is larger than {limit} bytes, too large for a configuration", path.display())]
    TooLarge {
        /// The path as given.
        path: PathBuf,
        /// The limit in bytes.
        limit: u64,
    },

    /// The file is not UTF-8.
    #[error("{}, line {line}: not UTF-8 text; a configuration must be a TOML file", path.display())]
    NotText {
        /// The path as given.
        path: PathBuf,
        /// The line of the first invalid byte, from 1.
        line: usize,
    },

    /// The text is not TOML.
    #[error("{place}: not valid TOML: {reason}")]
    Syntax {
        /// Where the parser stopped.
        place: Place,
        /// The error of the parser.
        reason: String,
    },

    /// An override that is not `key=value`.
    #[error("--set {text}: expected key=value, as in --set inner.steps=5")]
    Override {
        /// The override as given.
        text: String,
    },

    /// The text is TOML, but not a valid configuration. There is at least one fault.
    #[error("{}", list(.0))]
    Invalid(Vec<Fault>),

    /// What was asked for needs images, and the task has none.
    #[error(
        "this needs images, and task.kind = \"{task}\" has none: its episodes are computed. Use a configuration or a run with \
         task.kind = \"classification\""
    )]
    NoImages {
        /// What the configuration learns.
        task: TaskKind,
    },

    /// A [`Config`](super::Config) holds a value that TOML cannot represent: a path that is not UTF-8.
    #[error("this configuration cannot be written as TOML: {0}")]
    Write(#[from] toml::ser::Error),
}

/// An invalid setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The key in dotted form, as in `inner.steps`.
    pub key: String,
    /// The value as written, shortened; `None` if the key is missing.
    pub value: Option<String>,
    /// Where it is set; for a missing key, the place of the setting that requires it.
    pub place: Place,
    /// The message, with the key, its value, and the values allowed.
    pub reason: String,
}

/// Where a setting was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a file, or in the built-in default.
    File {
        /// The path as given, or "built-in configuration".
        name: String,
        /// The line, from 1; `None` for a missing key.
        line: Option<usize>,
    },
    /// In a sweep file, outside its base.
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
    /// Sort key: configuration files first, by line, then sweep files, then overrides.
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
    let mut text = format!("{} settings are invalid:", faults.len());
    for fault in faults.iter().take(MAX_LISTED) {
        text += &format!("\n  {fault}");
    }
    if faults.len() > MAX_LISTED {
        text += &format!("\n  … and {} more", faults.len() - MAX_LISTED);
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

impl Classified for Error {
    fn is_user_error(&self) -> bool {
        true
    }
}
