//! Line-by-line records of a run that stay whole across crashes: what was written after the
//! checkpoint that a run resumes from is cut off, and written again.

use super::{Error, run_dir::failed};
use serde::Serialize;
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

/// A file of JSON lines, each with the outer step that it belongs to.
pub struct Journal {
    path: PathBuf,
    file: BufWriter<File>,
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
        let (mut line, mut whole) = (String::new(), 0);
        // A line that is no text ends what can be trusted, like a torn one.
        while reader.read_line(&mut line).is_ok_and(|length| length > 0) && belongs(&line, step) {
            whole += line.len() as u64;
            line.clear();
        }
        file.set_len(whole).map_err(failed("shorten", path))?;
        let append = File::options().append(true).open(path).map_err(failed("open", path))?;
        Ok(Self { path: path.into(), file: BufWriter::new(append) })
    }

    /// Adds a line. It reaches the file with [`Self::flush`].
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&mut self, line: &impl Serialize) -> Result<(), Error> {
        let text = serde_json::to_string(line).map_err(|error| failed("write", &self.path)(error.into()))?;
        writeln!(self.file, "{text}").map_err(failed("write", &self.path))
    }

    /// Brings every line to the disk, so that a checkpoint never knows more than the journal.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn flush(&mut self) -> Result<(), Error> {
        self.file.flush().and_then(|()| self.file.get_ref().sync_data()).map_err(failed("write", &self.path))
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

    #[test]
    fn a_torn_and_overlong_journal_resumes_at_its_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        std::fs::write(&path, "{\"step\":1}\n{\"step\":2}\n{\"step\":3}\n{\"st").unwrap();
        let mut journal = Journal::resume(&path, 2).unwrap();
        journal.write(&json!({"step": 3, "again": true})).unwrap();
        journal.flush().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "{\"step\":1}\n{\"step\":2}\n{\"step\":3,\"again\":true}\n");
    }
}
