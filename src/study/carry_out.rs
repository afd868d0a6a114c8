//! From a study to its report: the pieces not done yet, one after the other, then the conclusion.

use super::folder::{Folder, Kept, failed};
use super::write_up::{self, Finished};
use super::{Error, Study};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What a study tells whoever watches it.
pub trait Observer {
    /// The piece named `key` is under way; `done` is the share of all work done, 0 to 1.
    fn progress(&mut self, _key: &str, _done: f64) {}
    /// Something to know that stops nothing.
    fn note(&mut self, _text: &str) {}
}

/// Where a piece of work is done.
pub struct Desk<'a> {
    key: &'a str,
    folder: PathBuf,
    observer: &'a mut dyn Observer,
    /// Of all work: done before this piece, and this piece.
    before: f64,
    share: f64,
}

impl Desk<'_> {
    /// A folder for what has to outlast an interruption, all pieces' own.
    ///
    /// # Errors
    /// If it cannot be created.
    pub fn folder(&self) -> Result<&Path, Error> {
        std::fs::create_dir_all(&self.folder).map_err(failed("create", &self.folder))?;
        Ok(&self.folder)
    }

    /// `done` of this piece is done, 0 to 1.
    pub fn progress(&mut self, done: f64) {
        self.observer.progress(self.key, self.before + self.share * done.clamp(0.0, 1.0));
    }

    /// Something to know that stops nothing.
    pub fn note(&mut self, text: &str) {
        self.observer.note(text);
    }
}

/// Does what is left of `study` in `path`, and writes it up; `command` is what the report says it came from.
///
/// # Errors
/// If the folder holds something else, a piece fails, or something cannot be written.
pub fn carry_out<S: Study>(
    study: &S,
    path: &Path,
    command: &str,
    observer: &mut dyn Observer,
) -> Result<Finished, Error> {
    let (about, settings) = (study.about(), study.settings());
    let folder = Folder::open(path, about.name, &settings)?;
    let pieces = study.pieces();
    let all: f64 = pieces.iter().map(|piece| piece.weight).sum();
    let (mut records, mut seconds, mut before) = (Vec::new(), 0.0, 0.0);
    for piece in &pieces {
        let share = piece.weight / all;
        let kept = match folder.record::<S::Record>(&piece.key)? {
            Some(kept) => kept,
            None => {
                observer.progress(&piece.key, before);
                let began = Instant::now();
                let work = folder.path().join("work");
                let mut desk = Desk { key: &piece.key, folder: work, observer, before, share };
                let record = study.work(&piece.key, &mut desk)?;
                let kept = Kept { seconds: began.elapsed().as_secs_f64(), record };
                folder.keep(&piece.key, &kept)?;
                kept
            }
        };
        records.push(kept.record);
        seconds += kept.seconds;
        before += share;
    }
    observer.progress("the report", 1.0);
    write_up::write(&folder, about, &settings, study.conclude(&records), seconds, command)
}
