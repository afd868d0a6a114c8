//! A file of JSON lines that survives crashes and full disks.
//!
//! On resumption, lines after the checkpoint are cut off, since they will be written again. Lines that the disk
//! does not accept wait in memory.

use super::Error;
use super::error::failed;
use serde::Serialize;
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, Error as IoError, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The longest line that is read, in bytes; ours have some hundred.
const LONGEST_LINE: u64 = 1 << 20;
/// The most bytes that wait in memory while the disk is full.
const MOST_WAITING: usize = 64 << 20;
/// How often lines are written to the file between checkpoints, for readers.
const SHOWN_EVERY: Duration = Duration::from_secs(1);

/// A file of JSON lines, each with a `step`.
pub struct Journal {
    path: PathBuf,
    /// Whether lines are kept at all.
    kept: bool,
    /// Bytes of complete lines that are synced to disk.
    synced: u64,
    /// The lines after these.
    waiting: Vec<u8>,
    /// Bytes of `waiting` that have been written but not synced.
    written: usize,
    shown: Instant,
}

impl Journal {
    /// Opens the file at `path` to continue after outer step `step`: cuts off lines of later steps and a torn last
    /// line.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read or written.
    pub fn resume(path: &Path, step: u64) -> Result<Self, Error> {
        let open = File::options().read(true).write(true).create(true).truncate(false).open(path);
        let file = open.map_err(failed("open", path))?;
        let mut reader = BufReader::new(&file);
        let (mut line, mut synced) = (String::new(), 0);
        loop {
            line.clear();
            match (&mut reader).take(LONGEST_LINE).read_line(&mut line) {
                Ok(length) if length > 0 && belongs(&line, step) => synced += length as u64,
                // A file that cannot be read must not be shortened; a line that is not UTF-8 is torn.
                Err(error) if error.kind() != ErrorKind::InvalidData => {
                    return Err(failed("read", path)(error));
                }
                _ => break,
            }
        }
        file.set_len(synced).map_err(failed("shorten", path))?;
        Ok(Self {
            kept: true,
            path: path.into(),
            synced,
            waiting: Vec::new(),
            written: 0,
            shown: Instant::now(),
        })
    }

    /// A journal of a process that leaves all files to another: it drops every line.
    pub fn nowhere() -> Self {
        let (path, waiting) = (PathBuf::new(), Vec::new());
        Self { kept: false, path, synced: 0, waiting, written: 0, shown: Instant::now() }
    }

    /// Adds a line. It is synced to disk only by [`Self::flush`].
    ///
    /// # Errors
    /// Returns an error if the disk is full and too many lines wait in memory.
    pub fn write(&mut self, line: &impl Serialize) -> Result<(), Error> {
        if !self.kept {
            return Ok(());
        }
        let failed = |reason: IoError| failed("write", &self.path)(reason);
        serde_json::to_writer(&mut self.waiting, line).map_err(|error| failed(error.into()))?;
        self.waiting.push(b'\n');
        if self.waiting.len() > MOST_WAITING {
            return self.flush();
        }
        if self.shown.elapsed() >= SHOWN_EVERY {
            self.shown = Instant::now();
            // For readers that follow the file. `flush` reports errors.
            let _ = self.write_waiting();
        }
        Ok(())
    }

    /// Writes and syncs every line. Call it before saving a checkpoint, so that a checkpoint is never ahead of
    /// the journal.
    ///
    /// # Errors
    /// Returns an error if the file cannot be written; the next call then tries the same lines again.
    pub fn flush(&mut self) -> Result<(), Error> {
        if !self.kept {
            return Ok(());
        }
        // After a failed sync the state of the disk is unknown, so all waiting lines are written again.
        let synced = self.write_waiting().and_then(|file| file.sync_data());
        self.written = 0;
        synced.map_err(failed("write", &self.path))?;
        self.synced += self.waiting.len() as u64;
        self.waiting.clear();
        Ok(())
    }

    /// Drops the lines after outer step `step`.
    ///
    /// # Errors
    /// As for [`Self::resume`] and [`Self::flush`].
    pub fn rewind(&mut self, step: u64) -> Result<(), Error> {
        if !self.kept {
            return Ok(());
        }
        self.flush()?;
        *self = Self::resume(&self.path, step)?;
        Ok(())
    }

    /// Writes the waiting lines that have not been written. The file is opened each time: lines written to a
    /// deleted file would be lost without an error.
    fn write_waiting(&mut self) -> std::io::Result<File> {
        let mut file = File::options().write(true).open(&self.path)?;
        let (length, end) = (file.metadata()?.len(), self.synced + self.written as u64);
        if length < end {
            return Err(IoError::other(format!("it lost {} bytes", end - length)));
        }
        // Cuts off the torn line of a write that failed halfway.
        file.set_len(end)?;
        file.seek(SeekFrom::Start(end))?;
        if let Err(error) = file.write_all(&self.waiting[self.written..]) {
            let _ = file.set_len(end);
            return Err(error);
        }
        self.written = self.waiting.len();
        Ok(file)
    }
}

fn belongs(line: &str, step: u64) -> bool {
    let parsed = line.strip_suffix('\n').and_then(|line| serde_json::from_str::<Value>(line).ok());
    parsed.and_then(|line| line.get("step")?.as_u64()).is_some_and(|found| found <= step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::fs;

    #[test]
    fn resume_cuts_off_later_steps_and_a_torn_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        fs::write(&path, "{\"step\":1}\n{\"step\":2}\n{\"step\":3}\n{\"st").unwrap();
        let mut journal = Journal::resume(&path, 2).unwrap();
        journal.write(&json!({"step": 3, "again": true})).unwrap();
        journal.flush().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, "{\"step\":1}\n{\"step\":2}\n{\"step\":3,\"again\":true}\n");
        journal.write(&json!({"step": 4})).unwrap();
        journal.rewind(2).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"step\":1}\n{\"step\":2}\n");
    }

    #[test]
    fn resume_cuts_off_an_overlong_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let endless = format!("{{\"step\":1}}\n{{\"step\":2,\"x\":\"{}\"}}\n", "y".repeat(3 << 20));
        fs::write(&path, endless).unwrap();
        Journal::resume(&path, 5).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"step\":1}\n");
    }

    #[test]
    fn many_lines_without_a_checkpoint_are_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut journal = Journal::resume(&path, 0).unwrap();
        let long = "x".repeat(MOST_WAITING / 4);
        (0..6).for_each(|step| journal.write(&json!({ "step": step, "text": long })).unwrap());
        assert!(fs::metadata(&path).unwrap().len() > MOST_WAITING as u64);
        assert!(journal.waiting.len() <= MOST_WAITING);
    }

    #[test]
    fn lines_wait_while_the_file_cannot_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let (path, away) = (folder.path().join("metrics.jsonl"), folder.path().join("away"));
        let mut journal = Journal::resume(&path, 0).unwrap();
        journal.write(&json!({"step": 1})).unwrap();
        journal.flush().unwrap();
        fs::rename(&path, &away).unwrap();
        journal.write(&json!({"step": 2})).unwrap();
        let error = journal.flush().unwrap_err().to_string();
        assert!(error.contains("metrics.jsonl") && !path.exists(), "{error}");
        fs::rename(&away, &path).unwrap();
        // What a write leaves that failed halfway.
        File::options().append(true).open(&path).unwrap().write_all(b"{\"st").unwrap();
        journal.flush().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"step\":1}\n{\"step\":2}\n");
        fs::write(&path, "").unwrap();
        assert!(journal.flush().unwrap_err().to_string().contains("it lost 22 bytes"));
    }
}
