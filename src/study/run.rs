//! Runs a study: the pieces without a record, one after the other, then the conclusion and the report.

use super::folder::{Basis, Folder, StoredRecord, failed, has_record};
use super::report_page::{self, Finished};
use super::stopwatch::Stopwatch;
use super::{Completed, Error, Listed, Study, index};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Receives a study's progress and messages.
pub trait Observer {
    /// The piece called `key` starts, or continues where an earlier session left it; `done` is the share of all work done, 0 to 1. What
    /// is new in it was not done by this session.
    fn starts(&mut self, key: &str, done: f64) {
        self.progress(key, done);
    }
    /// The piece called `key` is running; `done` is the share of all work done, 0 to 1.
    fn progress(&mut self, _key: &str, _done: f64) {}
    /// Image files are being decoded: `done` of `all` are.
    fn loading(&mut self, _done: usize, _all: usize) {}
    /// A message that stops nothing.
    fn note(&mut self, _text: &str) {}
}

/// What a running piece can use: a folder for intermediate files, progress and messages.
pub struct Workspace<'a> {
    key: &'a str,
    folder: PathBuf,
    observer: &'a mut dyn Observer,
    stopwatch: Stopwatch,
    /// Share of all work that is done without this piece.
    before: f64,
    /// Share of this piece in all work.
    share: f64,
}

impl<'a> Workspace<'a> {
    /// For the piece called `key` in the study's folder `study`.
    fn new(key: &'a str, study: &Path, observer: &'a mut dyn Observer, before: f64, share: f64) -> Self {
        let folder = study.join("work");
        let stopwatch = Stopwatch::start(folder.join(format!("{key}.seconds.json")));
        Self { key, folder, observer, stopwatch, before, share }
    }

    /// A folder for files that must survive an interruption, shared by all pieces.
    ///
    /// # Errors
    /// Returns an error if it cannot be created.
    pub fn folder(&self) -> Result<&Path, Error> {
        std::fs::create_dir_all(&self.folder).map_err(failed("create", &self.folder))?;
        Ok(&self.folder)
    }

    /// The file that says which images the study's runs are trained on: see [`RunImages`](super::RunImages).
    pub fn images_file(&self) -> PathBuf {
        self.folder.with_file_name("images.json")
    }

    /// Reports that the work starts at the share `done` of this piece, 0 to 1: what is new in it was done before this session.
    pub fn starts_at(&mut self, done: f64) {
        let done = self.of_all_work(done);
        self.observer.starts(self.key, done);
    }

    /// Reports that the share `done` of this piece is done, 0 to 1.
    pub fn progress(&mut self, done: f64) {
        self.stopwatch.tick();
        let done = self.of_all_work(done);
        self.observer.progress(self.key, done);
    }

    /// The share of all work that is done with the share `done` of this piece.
    fn of_all_work(&self, done: f64) -> f64 {
        self.before + self.share * done.clamp(0.0, 1.0)
    }

    /// Reports that `done` of `all` image files are decoded.
    pub fn loading(&mut self, done: usize, all: usize) {
        self.observer.loading(done, all);
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
    let folder = Folder::open(path, basis::<S>(&settings))?;
    let pieces = study.pieces();
    let total: f64 = pieces.iter().map(|piece| study.weight(piece)).sum();
    let share = |piece: &S::Piece| study.weight(piece) / total;
    let known = |piece: &S::Piece| folder.record::<S::Record>(&study.key(piece));
    let known = pieces.iter().map(known).collect::<Result<Vec<_>, _>>()?;
    // A seed or an estimator that was added comes before pieces that are done.
    let done = pieces.iter().zip(&known).filter(|(_, record)| record.is_some());
    let mut before: f64 = done.map(|(piece, _)| share(piece)).sum();
    let (mut results, mut seconds) = (Vec::new(), 0.0);
    for (piece, known) in pieces.into_iter().zip(known) {
        let stored = match known {
            Some(stored) => stored,
            None => {
                let (key, share) = (study.key(&piece), share(&piece));
                let workspace = Workspace::new(&key, path, observer, before, share);
                before += share;
                compute(study, &piece, &folder, workspace)?
            }
        };
        results.push(Completed { piece, record: stored.record });
        seconds += stored.seconds;
    }
    observer.progress("the report", 1.0);
    report_page::write(&folder, S::ABOUT, &settings, study.conclude(results), seconds, command)
}

/// What the records of `S` with `settings` depend on.
fn basis<S: Study>(settings: &serde_json::Value) -> Basis<'_> {
    Basis { study: S::ABOUT.name, settings, growing: S::GROWING, timed: S::TIMED }
}

/// Computes `piece` and stores its record in `folder`.
fn compute<S: Study>(
    study: &S,
    piece: &S::Piece,
    folder: &Folder,
    mut workspace: Workspace,
) -> Result<StoredRecord<S::Record>, Error> {
    workspace.starts_at(0.0);
    let ran = study.run(piece, &mut workspace);
    if ran.is_err() {
        workspace.stopwatch.write();
    }
    let stored = StoredRecord { record: ran?, seconds: workspace.stopwatch.seconds() };
    workspace.progress(1.0);
    folder.store(workspace.key, &stored)?;
    workspace.stopwatch.end();
    Ok(stored)
}

/// Whether a piece of a study is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PieceState {
    /// Whether the folder has its record.
    pub done: bool,
}

/// The pieces of `study`, and which of them have a record in the folder `path`.
pub fn pieces<S: Study>(study: &S, path: &Path) -> Vec<Listed<PieceState>> {
    let keys = study.pieces().iter().map(|piece| study.key(piece)).collect::<Vec<_>>();
    let listed = |(index, name): (usize, String)| Listed {
        index,
        state: PieceState { done: has_record(path, &name) },
        name,
    };
    keys.into_iter().enumerate().map(listed).collect()
}

/// Runs the piece of `study` that `chosen` names, by its name or number, unless it has a record in the folder `path`. Other processes
/// can run other pieces at the same time; [`run`] then writes the report.
///
/// # Errors
/// Returns an error if there is no such piece, or in the cases of [`run`].
pub fn run_piece<S: Study>(
    study: &S,
    path: &Path,
    chosen: &str,
    observer: &mut dyn Observer,
) -> Result<(), Error> {
    let mut pieces = study.pieces();
    let keys: Vec<String> = pieces.iter().map(|piece| study.key(piece)).collect();
    let at = index(chosen, &keys)?;
    let (piece, key) = (pieces.swap_remove(at), &keys[at]);
    let settings = study.settings();
    let folder = Folder::open_for_a_piece(path, basis::<S>(&settings))?;
    if folder.record::<S::Record>(key)?.is_some() {
        observer.note(&format!("{key} is done already"));
        return Ok(());
    }
    let workspace = Workspace::new(key, path, observer, 0.0, 1.0);
    compute(study, &piece, &folder, workspace).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::{About, Conclusion};
    use serde_json::{Value, json};

    /// A study whose pieces are these numbers; a record is the number.
    struct Numbers(Vec<u32>);

    impl Study for Numbers {
        type Piece = u32;
        type Record = u32;
        const ABOUT: About = About {
            name: "numbers",
            title: "",
            description: "",
            usage: "",
            example: "",
            durations: ["", ""],
        };
        fn settings(&self) -> Value {
            json!({})
        }
        fn pieces(&self) -> Vec<u32> {
            self.0.clone()
        }
        fn key(&self, piece: &u32) -> String {
            piece.to_string()
        }
        fn weight(&self, _piece: &u32) -> f64 {
            1.0
        }
        fn run(&self, piece: &u32, workspace: &mut Workspace) -> Result<u32, Error> {
            workspace.progress(0.5);
            Ok(*piece)
        }
        fn conclude(&self, results: Vec<Completed<u32, u32>>) -> Conclusion {
            assert!(results.iter().all(|result| result.piece == result.record));
            let remarks = results.iter().map(|result| result.record.to_string()).collect();
            Conclusion { remarks, ..Conclusion::default() }
        }
    }

    #[derive(Default)]
    struct Progress(Vec<(String, f64)>);

    impl Observer for Progress {
        fn progress(&mut self, key: &str, done: f64) {
            self.0.push((key.into(), done));
        }
    }

    #[test]
    fn pieces_that_are_done_count_wherever_they_are_in_the_order() {
        let folder = tempfile::tempdir().unwrap();
        let run = |numbers: &[u32]| {
            let mut progress = Progress::default();
            run(&Numbers(numbers.to_vec()), folder.path(), "", &mut progress).unwrap();
            let report = std::fs::read_to_string(folder.path().join("report.md")).unwrap();
            assert!(report.contains(&numbers.iter().map(u32::to_string).collect::<Vec<_>>().join("\n\n")));
            progress.0.into_iter().map(|(key, done)| format!("{key} {done}")).collect::<Vec<_>>()
        };
        assert_eq!(run(&[2, 4]), ["2 0", "2 0.25", "2 0.5", "4 0.5", "4 0.75", "4 1", "the report 1"]);
        let added = ["1 0.5", "1 0.625", "1 0.75", "3 0.75", "3 0.875", "3 1", "the report 1"];
        assert_eq!(run(&[1, 2, 3, 4]), added);
        assert_eq!(run(&[1, 2, 3, 4]), ["the report 1"]);
    }
}
