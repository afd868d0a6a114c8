//! One event file for a run, made of its journals, which alone are the truth.

use super::Error;
use super::event::Event;
use super::record::append;
use super::scalars::scalars;
use crate::report::{clock, each_line};
use crate::whole;
use serde_json::Value;
use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What names begin and end with: TensorBoard looks for the first, we for both.
const BEGINS: &str = "events.out.tfevents.";
const ENDS: &str = ".metaburn";
/// How soon others may read an event.
const SHOWN_EVERY: Duration = Duration::from_secs(1);
/// The most bytes that wait in memory for a disk that takes none.
const MOST_WAITING: usize = 64 << 20;

/// An event file that grows with its run.
pub struct EventFile {
    path: PathBuf,
    /// Bytes of whole records in the file.
    kept: u64,
    /// The records after these.
    waiting: Vec<u8>,
    shown: Instant,
    /// The last outer step.
    step: u64,
}

impl EventFile {
    /// Writes anew what the journals of the run in `run` say, which replaces what earlier event files of
    /// ours say; the latest of these stays for readers that are at it. It is
    /// for whoever trains the run, or holds its lock.
    ///
    /// # Errors
    /// If the journals cannot be read, or the file not be written.
    pub fn derive(run: &Path) -> Result<Self, Error> {
        let clock = clock(run)?;
        let metrics = run.join("metrics.jsonl");
        let ended = fs::metadata(&metrics).and_then(|metadata| metadata.modified()).unwrap_or(UNIX_EPOCH);
        let began = since_1970(ended) - clock.values().next_back().copied().unwrap_or_default();

        let earlier = event_files(run)?;
        let number = earlier.iter().map(|(number, _)| number + 1).max().unwrap_or_default();
        // Readers go on with the file that comes next by name.
        let number = number.max(since_1970(SystemTime::now()) as u64);
        let path = run.join(format!("{BEGINS}{number:010}{ENDS}"));
        let mut file = Self { path, kept: 0, waiting: Vec::new(), shown: Instant::now(), step: 0 };
        file.push(began, 0, &Event::Version);
        // A reader that has seen an earlier file forgets it.
        file.push(began, 0, &Event::Start);
        each_line(&metrics, |line| {
            let Some(step) = line["step"].as_u64() else { return };
            // A validation comes at its step's time.
            let seconds = clock.range(..=step).next_back().map_or(0.0, |(_, seconds)| *seconds);
            file.push(began + seconds, step, &Event::Scalars(&scalars(&line)));
            file.step = step;
        })?;
        whole::write(&file.path, &[&file.waiting]).map_err(Error::writing(&file.path))?;
        file.kept = file.waiting.len() as u64;
        file.waiting.clear();
        // What a file says is forgotten at the next one's `Start`, so that one more does no harm. And the latest has
        // to stay: a reader that is at it would not find its way on.
        let latest = earlier.iter().map(|(number, _)| *number).max();
        let older = earlier.iter().filter(|(number, _)| Some(*number) < latest);
        older.for_each(|(_, path)| drop(fs::remove_file(path)));
        Ok(file)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a line of the metrics, an outer step's or a validation's, as of now. Others see it within a second or
    /// so.
    ///
    /// # Errors
    /// If the disk takes no more; what was added then waits and is tried again with what comes next.
    pub fn add(&mut self, step: u64, line: &Value) -> Result<(), Error> {
        let now = since_1970(SystemTime::now());
        let is_step = line.get("validation_accuracy").is_none();
        if is_step && step <= self.step {
            // The run went back.
            self.push(now, step, &Event::Start);
        }
        self.step = step;
        self.push(now, step, &Event::Scalars(&scalars(line)));
        if self.shown.elapsed() < SHOWN_EVERY {
            return Ok(());
        }
        self.flush()
    }

    /// Hands over all that waits.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub fn flush(&mut self) -> Result<(), Error> {
        self.shown = Instant::now();
        self.hand_over().map_err(Error::writing(&self.path))
    }

    /// Whether more waits than is worth the memory.
    pub fn is_overfull(&self) -> bool {
        self.waiting.len() > MOST_WAITING
    }

    fn push(&mut self, wall_time: f64, step: u64, event: &Event) {
        append(&mut self.waiting, &event.encoded(wall_time, step));
    }

    fn hand_over(&mut self) -> io::Result<()> {
        let mut file = File::options().write(true).open(&self.path)?;
        let length = file.metadata()?.len();
        if length < self.kept {
            return Err(io::Error::other(format!("it lost {} bytes", self.kept - length)));
        }
        // A write that failed halfway left a torn record.
        if length > self.kept {
            file.set_len(self.kept)?;
        }
        file.seek(SeekFrom::Start(self.kept))?;
        file.write_all(&self.waiting)?;
        self.kept += self.waiting.len() as u64;
        self.waiting.clear();
        Ok(())
    }
}

/// Our event files in `run`, each with the number in its name.
fn event_files(run: &Path) -> Result<Vec<(u64, PathBuf)>, Error> {
    let unreadable = |source| Error::Read { path: run.into(), source };
    let mut files = Vec::new();
    for entry in fs::read_dir(run).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(BEGINS)?.strip_suffix(ENDS));
        files.extend(number.and_then(|number| Some((number.parse().ok()?, entry.path()))));
    }
    Ok(files)
}

fn since_1970(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::super::record::records;
    use super::*;
    use serde_json::json;

    /// A run with these journals.
    fn run(metrics: &str, clock: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("metrics.jsonl"), metrics).unwrap();
        fs::write(folder.path().join("clock.jsonl"), clock).unwrap();
        folder
    }

    #[test]
    fn the_file_has_what_the_journal_has_and_all_but_the_one_before_go() {
        let folder = run(
            "{\"step\":1,\"loss\":2.5}\n{\"step\":2,\"loss\":1.5}\n{\"st",
            "{\"step\":1,\"seconds\":0.5}\n{\"step\":2,\"seconds\":1.0}\n",
        );
        let first = EventFile::derive(folder.path()).unwrap();
        let mut second = EventFile::derive(folder.path()).unwrap();
        assert!(first.path().exists() && second.path() > first.path());
        let third = EventFile::derive(folder.path()).unwrap();
        assert!(!first.path().exists() && second.path().exists() && third.path() > second.path());
        // Version, start, two steps.
        let bytes = fs::read(second.path()).unwrap();
        assert_eq!(records(&bytes).unwrap().len(), 4);
        second.add(3, &json!({"step": 3, "loss": 1.0})).unwrap();
        second.add(3, &json!({"step": 3, "validation_accuracy": 50.0, "ci95": 1.0})).unwrap();
        second.add(2, &json!({"step": 2, "loss": 1.2})).unwrap();
        second.flush().unwrap();
        let bytes = fs::read(second.path()).unwrap();
        let records = records(&bytes).unwrap();
        assert_eq!(records.len(), 8);
        // The way back is said before the step that is taken again.
        assert!(records[6].ends_with(&[0x10, 2, 0x3a, 2, 8, 1]));
    }

    #[test]
    fn what_the_disk_does_not_take_waits() {
        let folder = run("", "");
        let mut file = EventFile::derive(folder.path()).unwrap();
        let away = folder.path().join("away");
        fs::rename(file.path(), &away).unwrap();
        file.add(1, &json!({"step": 1, "loss": 1.0})).unwrap();
        assert!(file.flush().unwrap_err().to_string().contains("tfevents"));
        fs::rename(&away, file.path()).unwrap();
        // As a write leaves it that failed halfway.
        File::options().append(true).open(file.path()).unwrap().write_all(b"torn").unwrap();
        file.flush().unwrap();
        assert_eq!(records(&fs::read(file.path()).unwrap()).unwrap().len(), 3);
        assert!(!file.is_overfull());
    }
}
