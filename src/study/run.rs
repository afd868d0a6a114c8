//! Runs a study: the pieces without a record, one after the other, then the conclusion and the report.

use super::folder::{Folder, StoredRecord, failed};
use super::report_page::{self, Finished};
use super::{Completed, Error, Study};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Receives a study's progress and messages.
pub trait Observer {
    /// The piece called `key` is running; `done` is the share of all work done, 0 to 1.
    fn progress(&mut self, _key: &str, _done: f64) {}
    /// A message that stops nothing.
    fn note(&mut self, _text: &str) {}
}

/// What a running piece can use: a folder for intermediate files, progress and messages.
pub struct Workspace<'a> {
    key: &'a str,
    folder: PathBuf,
    observer: &'a mut dyn Observer,
    /// Share of all work that was done before this piece.
    before: f64,
    /// Share of this piece in all work.
    share: f64,
}

impl Workspace<'_> {
    /// A folder for files that must survive an interruption, shared by all pieces.
    ///
    /// # Errors
    /// Returns an error if it cannot be created.
    pub fn folder(&self) -> Result<&Path, Error> {
        std::fs::create_dir_all(&self.folder).map_err(failed("create", &self.folder))?;
        Ok(&self.folder)
    }

    /// Reports that the share `done` of this piece is done, 0 to 1.
    pub fn progress(&mut self, done: f64) {
        self.observer.progress(self.key, self.before + self.share * done.clamp(0.0, 1.0));
    }

    /// Reports a message that stops nothing.
    pub fn note(&mut self, text: &str) {
        self.observer.note(text);
    }
}

/// Runs the pieces of `study` that have no record in the folder `path` yet, and writes the report, which quotes
/// `command` as its origin.
///
/// # Errors
/// Returns an error if the folder holds records of other settings, a piece fails, or a file cannot be written.
pub fn run<S: Study>(
    study: &S,
    path: &Path,
    command: &str,
    observer: &mut dyn Observer,
) -> Result<Finished, Error> {
    let settings = study.settings();
    let folder = Folder::open(path, S::ABOUT.name, &settings)?;
    let pieces = study.pieces();
    let total: f64 = pieces.iter().map(|piece| study.weight(piece)).sum();
    let (mut results, mut seconds, mut before) = (Vec::new(), 0.0, 0.0);
    for piece in pieces {
        let (key, share) = (study.key(&piece), study.weight(&piece) / total);
        let stored = match folder.record::<S::Record>(&key)? {
            Some(stored) => stored,
            None => {
                observer.progress(&key, before);
                let started = Instant::now();
                let work = folder.path().join("work");
                let mut workspace = Workspace { key: &key, folder: work, observer, before, share };
                let record = study.run(&piece, &mut workspace)?;
                let stored = StoredRecord { seconds: started.elapsed().as_secs_f64(), record };
                folder.store(&key, &stored)?;
                stored
            }
        };
        results.push(Completed { piece, record: stored.record });
        seconds += stored.seconds;
        before += share;
    }
    observer.progress("the report", 1.0);
    report_page::write(&folder, S::ABOUT, &settings, study.conclude(results), seconds, command)
}
