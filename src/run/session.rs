//! A run's sessions: one line in `sessions.jsonl` for each time that it was started or resumed.

use super::error::failed;
use super::{Error, RunDir};
use crate::support::atomic_file;
use bilevel::device::Opened;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Write;
use std::time::SystemTime;

/// The largest `sessions.jsonl` that is read, in bytes.
const MOST_BYTES: u64 = 16 << 20;

/// A stretch of training by one process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// When it began (RFC 3339).
    pub began: String,
    /// Outer steps taken before it.
    pub step: u64,
    /// The command line.
    pub command: String,
    /// metaburn's version.
    pub version: String,
    /// Name of the backend.
    pub backend: String,
    /// Description of the device.
    pub device: String,
    /// Number of CPU threads.
    pub threads: usize,
    /// Operating system and architecture.
    pub system: String,
    /// The settings that this session changed, each as in `outer.steps: 400 → 800`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<String>,
}

impl Session {
    /// A session that begins now on `opened`, after outer step `step`, with the command line `command`.
    pub fn beginning(step: u64, command: String, opened: &Opened) -> Self {
        Self {
            began: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            step,
            command,
            version: env!("CARGO_PKG_VERSION").into(),
            backend: opened.backend.to_string(),
            device: opened.description.clone(),
            threads: opened.workers.threads,
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            changes: Vec::new(),
        }
    }
}

impl RunDir {
    /// Appends a session to the record.
    ///
    /// # Errors
    /// Returns an error if it cannot be written. Training does not depend on this file.
    pub fn note_session(&self, session: &Session) -> Result<(), Error> {
        let path = self.sessions_file();
        let failed = || failed("write", &path);
        let mut line = serde_json::to_string(session).map_err(|error| failed()(error.into()))? + "\n";
        let before = atomic_file::read(&path, MOST_BYTES).unwrap_or_default();
        if before.last().is_some_and(|byte| *byte != b'\n') {
            // The line before is torn.
            line.insert(0, '\n');
        }
        let file = File::options().append(true).create(true).open(&path);
        file.and_then(|mut file| file.write_all(line.as_bytes())).map_err(failed())
    }

    /// The recorded sessions, oldest first. Torn lines are skipped.
    pub fn sessions(&self) -> Vec<Session> {
        let bytes = atomic_file::read(&self.sessions_file(), MOST_BYTES).unwrap_or_default();
        bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
    }
}
