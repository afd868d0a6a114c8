//! Who trained a run, and where: a line in `sessions.jsonl` for each time that it was started or taken up.

use super::run_dir::failed;
use super::{Error, RunDir};
use crate::backend::Opened;
use crate::whole;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::time::SystemTime;

/// More is nobody's record.
const LARGEST: u64 = 16 << 20;

/// One stretch of training, by one process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// When it began, as RFC 3339 has it.
    pub began: String,
    /// After which outer step.
    pub step: u64,
    /// What was typed.
    pub command: String,
    /// This program's version.
    pub version: String,
    /// The backend.
    pub backend: String,
    /// The device as a person would call it.
    pub device: String,
    /// Threads at work.
    pub threads: usize,
    /// Operating system and architecture.
    pub system: String,
}

impl Session {
    /// One that begins now on `opened`, after outer step `step`, by `command`.
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
        }
    }
}

impl RunDir {
    fn sessions_file(&self) -> PathBuf {
        self.path().join("sessions.jsonl")
    }

    /// Adds a session.
    ///
    /// # Errors
    /// If it cannot be written; the run needs it for nothing.
    pub fn note_session(&self, session: &Session) -> Result<(), Error> {
        let path = self.sessions_file();
        let failed = || failed("write", &path);
        let line = serde_json::to_string(session).map_err(|error| failed()(error.into()))? + "\n";
        let file = File::options().append(true).create(true).open(&path);
        file.and_then(|mut file| file.write_all(line.as_bytes())).map_err(failed())
    }

    /// The sessions that are on record, first to last; lines that are torn are not.
    pub fn sessions(&self) -> Vec<Session> {
        let bytes = whole::read(&self.sessions_file(), LARGEST).unwrap_or_default();
        bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
    }
}
