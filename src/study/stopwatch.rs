//! The seconds that a piece takes, over all sessions that work on it.

use super::folder::{read, write_json};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How often the time is written, so that little of it is lost if the process is killed.
const EVERY: Duration = Duration::from_secs(10);

/// Measures the time of a piece. It is kept in a file, if the piece keeps intermediate files beside it.
pub struct Stopwatch {
    file: PathBuf,
    /// Seconds of earlier sessions.
    earlier: f64,
    began: Instant,
    written: Instant,
}

impl Stopwatch {
    /// Starts at the time in `file`, or at 0.
    pub fn start(file: PathBuf) -> Self {
        // Without the time, the piece is as good.
        let earlier = read::<f64>(&file).ok().flatten().unwrap_or(0.0);
        let now = Instant::now();
        Self { file, earlier, began: now, written: now }
    }

    /// Seconds so far.
    pub fn seconds(&self) -> f64 {
        self.earlier + self.began.elapsed().as_secs_f64()
    }

    /// Writes the time if it was not written lately.
    pub fn tick(&mut self) {
        if self.written.elapsed() >= EVERY {
            self.write();
        }
    }

    /// Writes the time, if the folder of the file exists.
    pub fn write(&mut self) {
        if self.file.parent().is_some_and(|folder| folder.is_dir()) {
            let _ = write_json(&self.file, &self.seconds());
        }
        self.written = Instant::now();
    }

    /// Removes the file: the piece is finished.
    pub fn end(self) {
        let _ = fs::remove_file(self.file);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_of_an_interrupted_session_counts_where_files_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (file, absent) = (folder.path().join("a.json"), folder.path().join("absent/a.json"));
        fs::write(&file, "3600.0").unwrap();
        let mut watch = Stopwatch::start(file.clone());
        assert!(watch.seconds() >= 3600.0);
        watch.write();
        let again = Stopwatch::start(file.clone());
        assert!(again.seconds() >= watch.seconds() - 1.0 && again.seconds() < 4000.0);
        again.end();
        assert!(!file.exists());
        Stopwatch::start(absent.clone()).write();
        assert!(!absent.exists());
        fs::write(&file, "not a number").unwrap();
        assert!(Stopwatch::start(file).seconds() < 3600.0);
    }
}
