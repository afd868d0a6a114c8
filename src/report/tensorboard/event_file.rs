//! A run's event file.

use super::Error;
use super::event::Event;
use super::scalars::scalars;
use super::tfrecord::append;
use crate::run::{Record, RunDir};
use crate::support::atomic_file;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How often events are written to the file, for readers.
const SHOWN_EVERY: Duration = Duration::from_secs(1);
/// Largest number of bytes held in memory while the disk is full.
const MOST_WAITING: usize = 64 << 20;

/// An event file that grows with its run.
pub struct EventFile {
    path: PathBuf,
    /// Bytes of complete TFRecords in the file.
    written: u64,
    /// TFRecords not written yet.
    waiting: Vec<u8>,
    shown: Instant,
    /// The last outer step.
    step: u64,
}

impl EventFile {
    /// Writes a new event file from the metrics and clock of `run`. Older event files of ours are deleted, except
    /// for the latest, which readers may have open. Call it only while holding the run's lock.
    ///
    /// # Errors
    /// Returns an error if the run cannot be read or the file cannot be written.
    pub fn derive(run: &RunDir) -> Result<Self, Error> {
        let clock: BTreeMap<u64, f64> = run.clock()?.map(|record| (record.step, record.seconds)).collect();
        let modified = fs::metadata(run.metrics_file()).and_then(|metadata| metadata.modified());
        let ended = modified.unwrap_or(UNIX_EPOCH);
        let began = since_1970(ended) - clock.values().next_back().copied().unwrap_or_default();

        let earlier = run.event_files()?;
        let number = earlier.iter().map(|(number, _)| number + 1).max().unwrap_or_default();
        let number = number.max(since_1970(SystemTime::now()) as u64);
        let path = run.event_file(number);
        let mut file = Self { path, written: 0, waiting: Vec::new(), shown: Instant::now(), step: 0 };
        file.push(began, 0, &Event::Version);
        // Makes readers discard what they read from an earlier file.
        file.push(began, 0, &Event::Start);
        for record in run.metrics()? {
            let step = record.step();
            // A validation has the time of its step.
            let seconds = clock.range(..=step).next_back().map_or(0.0, |(_, seconds)| *seconds);
            file.push(began + seconds, step, &Event::Scalars(&scalars(&record)));
            file.step = step;
        }
        atomic_file::write(&file.path, &[&file.waiting]).map_err(Error::writing(&file.path))?;
        file.written = file.waiting.len() as u64;
        file.waiting.clear();
        // Readers discard earlier files at the new file's `Start`, so keeping one is harmless. The latest must stay:
        // a reader that has it open would not find the next file otherwise.
        let latest = earlier.iter().map(|(number, _)| *number).max();
        let older = earlier.iter().filter(|(number, _)| Some(*number) < latest);
        older.for_each(|(_, path)| drop(fs::remove_file(path)));
        Ok(file)
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a record with the current time. It is written to the file within about a second.
    ///
    /// # Errors
    /// Returns an error if the file cannot be written; the next call then tries the same records again.
    pub fn add(&mut self, record: &Record) -> Result<(), Error> {
        let (now, step) = (since_1970(SystemTime::now()), record.step());
        if matches!(record, Record::Step(_)) && step <= self.step {
            // The run went back to a checkpoint.
            self.push(now, step, &Event::Start);
        }
        self.step = step;
        self.push(now, step, &Event::Scalars(&scalars(record)));
        if self.shown.elapsed() < SHOWN_EVERY {
            return Ok(());
        }
        self.flush()
    }

    /// Writes the records held in memory.
    ///
    /// # Errors
    /// Returns the same errors as [`Self::add`].
    pub fn flush(&mut self) -> Result<(), Error> {
        self.shown = Instant::now();
        self.write_waiting().map_err(Error::writing(&self.path))
    }

    /// Whether too many bytes are held in memory.
    pub fn is_overfull(&self) -> bool {
        self.waiting.len() > MOST_WAITING
    }

    fn push(&mut self, wall_time: f64, step: u64, event: &Event) {
        append(&mut self.waiting, &event.encoded(wall_time, step));
    }

    fn write_waiting(&mut self) -> io::Result<()> {
        let mut file = File::options().write(true).open(&self.path)?;
        let length = file.metadata()?.len();
        if length < self.written {
            return Err(io::Error::other(format!("it lost {} bytes", self.written - length)));
        }
        // Cuts off the torn record of a write that failed halfway.
        if length > self.written {
            file.set_len(self.written)?;
        }
        file.seek(SeekFrom::Start(self.written))?;
        file.write_all(&self.waiting)?;
        self.written += self.waiting.len() as u64;
        self.waiting.clear();
        Ok(())
    }
}

fn since_1970(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::super::tfrecord::records;
    use super::*;
    use crate::run::{StepRecord, ValidationRecord};
    use crate::task::BatchNorm;

    fn step(step: u64, loss: f64) -> StepRecord {
        StepRecord { step, loss, ..StepRecord::default() }
    }

    /// A run with this clock and these metrics.
    fn run(metrics: &str, clock: &str) -> (tempfile::TempDir, RunDir) {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDir::at(folder.path());
        fs::write(run.metrics_file(), metrics).unwrap();
        fs::write(run.clock_file(), clock).unwrap();
        (folder, run)
    }

    #[test]
    fn an_event_file_has_the_metrics_and_replaces_all_but_the_latest() {
        let lines = [step(1, 2.5), step(2, 1.5)].map(|record| serde_json::to_string(&record).unwrap() + "\n");
        let (_folder, run) =
            run(&(lines.concat() + "{\"st"), "{\"step\":1,\"seconds\":0.5}\n{\"step\":2,\"seconds\":1.0}\n");
        let first = EventFile::derive(&run).unwrap();
        let mut second = EventFile::derive(&run).unwrap();
        assert!(first.path().exists() && second.path() > first.path());
        let third = EventFile::derive(&run).unwrap();
        assert!(!first.path().exists() && second.path().exists() && third.path() > second.path());
        // Version, start, two steps.
        let bytes = fs::read(second.path()).unwrap();
        assert_eq!(records(&bytes).unwrap().len(), 4);
        let validation = ValidationRecord {
            diverged_episodes: 0,
            step: 3,
            validation_accuracy: Some(50.0),
            ci95: 1.0,
            validation_loss: 1.0,
            episodes: 5,
            batch_norm: BatchNorm::Support,
            gradient_evaluations: 60,
        };
        second.add(&Record::Step(step(3, 1.0))).unwrap();
        second.add(&Record::Validation(validation)).unwrap();
        second.add(&Record::Step(step(2, 1.2))).unwrap();
        second.flush().unwrap();
        let bytes = fs::read(second.path()).unwrap();
        let records = records(&bytes).unwrap();
        assert_eq!(records.len(), 8);
        // A `Start` comes before a step that is taken again.
        assert!(records[6].ends_with(&[0x10, 2, 0x3a, 2, 8, 1]));
    }

    #[test]
    fn events_wait_while_the_file_cannot_be_written() {
        let (folder, run) = run("", "");
        let mut file = EventFile::derive(&run).unwrap();
        let away = folder.path().join("away");
        fs::rename(file.path(), &away).unwrap();
        file.add(&Record::Step(step(1, 1.0))).unwrap();
        assert!(file.flush().unwrap_err().to_string().contains("tfevents"));
        fs::rename(&away, file.path()).unwrap();
        // The rest of a write that failed halfway.
        File::options().append(true).open(file.path()).unwrap().write_all(b"torn").unwrap();
        file.flush().unwrap();
        assert_eq!(records(&fs::read(file.path()).unwrap()).unwrap().len(), 3);
        assert!(!file.is_overfull());
    }
}
