//! Line-by-line records of a run that stay whole across crashes and full disks: what was written after the
//! checkpoint that a run resumes from is cut off, and written again; what the disk does not take waits.

use super::{Error, run_dir::failed};
use serde::Serialize;
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, Error as IoError, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Longer lines are nobody's: ours have some hundred bytes.
const LONGEST_LINE: u64 = 1 << 20;
/// The most bytes that wait in memory for a disk that takes none.
const MOST_WAITING: usize = 64 << 20;
/// How soon others may read a line, unless a checkpoint comes first.
const SHOWN_EVERY: Duration = Duration::from_secs(1);

/// A file of JSON lines, each with the outer step that it belongs to.
pub struct Journal {
    path: PathBuf,
    /// Bytes of whole lines that are sure to be on the disk.
    kept: u64,
    /// The lines after these.
    waiting: Vec<u8>,
    /// How many bytes of `waiting` the file has taken.
    taken: usize,
    shown: Instant,
}

impl Journal {
    /// Opens `path` to go on after outer step `step`: lines of later steps, and a torn one, go.
    ///
    /// # Errors
    /// If the file cannot be read or written.
    pub fn resume(path: &Path, step: u64) -> Result<Self, Error> {
        let open = File::options().read(true).write(true).create(true).truncate(false).open(path);
        let file = open.map_err(failed("open", path))?;
        let mut reader = BufReader::new(&file);
        let (mut line, mut kept) = (String::new(), 0);
        // A line that is no text ends what can be trusted, like a torn one.
        while (&mut reader).take(LONGEST_LINE).read_line(&mut line).is_ok_and(|length| length > 0)
            && belongs(&line, step)
        {
            kept += line.len() as u64;
            line.clear();
        }
        file.set_len(kept).map_err(failed("shorten", path))?;
        Ok(Self { path: path.into(), kept, waiting: Vec::new(), taken: 0, shown: Instant::now() })
    }

    /// Adds a line. It is sure to be on the disk only after [`Self::flush`].
    ///
    /// # Errors
    /// If too many lines wait for a disk that takes none.
    pub fn write(&mut self, line: &impl Serialize) -> Result<(), Error> {
        let failed = |reason: IoError| failed("write", &self.path)(reason);
        serde_json::to_writer(&mut self.waiting, line).map_err(|error| failed(error.into()))?;
        self.waiting.push(b'\n');
        if self.waiting.len() > MOST_WAITING {
            return Err(failed(IoError::other(format!("{MOST_WAITING} bytes wait to be written"))));
        }
        if self.shown.elapsed() >= SHOWN_EVERY {
            self.shown = Instant::now();
            // Whoever follows the file sees it soon; whether it lasts is asked when it matters.
            let _ = self.hand_over();
        }
        Ok(())
    }

    /// Brings every line to the disk, so that a checkpoint never knows more than the journal.
    ///
    /// # Errors
    /// If it cannot be written; the lines then wait, and the next call tries them again.
    pub fn flush(&mut self) -> Result<(), Error> {
        // What a failed sync leaves on the disk is unknown, so all that waits is written once more then.
        let synced = self.hand_over().and_then(|file| file.sync_data());
        self.taken = 0;
        synced.map_err(failed("write", &self.path))?;
        self.kept += self.waiting.len() as u64;
        self.waiting.clear();
        Ok(())
    }

    /// Drops what came after outer step `step`.
    ///
    /// # Errors
    /// As [`Self::resume`] and [`Self::flush`].
    pub fn rewind(&mut self, step: u64) -> Result<(), Error> {
        self.flush()?;
        *self = Self::resume(&self.path, step)?;
        Ok(())
    }

    /// Writes what the file has not taken yet. It is opened each time: one that was deleted would take lines
    /// that nobody finds.
    fn hand_over(&mut self) -> std::io::Result<File> {
        let mut file = File::options().write(true).open(&self.path)?;
        let (length, end) = (file.metadata()?.len(), self.kept + self.taken as u64);
        if length < end {
            return Err(IoError::other(format!("it lost {} bytes", end - length)));
        }
        // A write that failed halfway left a torn line.
        file.set_len(end)?;
        file.seek(SeekFrom::Start(end))?;
        if let Err(error) = file.write_all(&self.waiting[self.taken..]) {
            let _ = file.set_len(end);
            return Err(error);
        }
        self.taken = self.waiting.len();
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
    fn a_torn_and_overlong_journal_resumes_at_its_checkpoint() {
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
    fn a_line_without_an_end_is_cut_off_unread() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let endless = format!("{{\"step\":1}}\n{{\"step\":2,\"x\":\"{}\"}}\n", "y".repeat(3 << 20));
        fs::write(&path, endless).unwrap();
        Journal::resume(&path, 5).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"step\":1}\n");
    }

    #[test]
    fn lines_wait_until_the_file_can_be_written() {
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
        // As a write leaves it that failed halfway.
        File::options().append(true).open(&path).unwrap().write_all(b"{\"st").unwrap();
        journal.flush().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"step\":1}\n{\"step\":2}\n");
        fs::write(&path, "").unwrap();
        assert!(journal.flush().unwrap_err().to_string().contains("it lost 22 bytes"));
    }
}
