//! A study's folder: records of finished pieces, data, figures and the report.
//!
//! ```text
//! study.json       the study's name, and the settings that its records depend on
//! images.json      the digests of the images that its runs are trained on, if they are read from files
//! records/         KEY.json: the record of a finished piece, written atomically
//! work/            intermediate files of long pieces
//! data/            NAME.csv
//! figures/         NAME.svg, NAME.png
//! report.md        claims (expected, measured, verdict), figures and settings
//! study.lock       locked while a study runs here; shared by processes that run one piece each
//! ```

use super::Error;
use crate::config::PLACE_OF_DATA;
use crate::support::atomic_file;
use crate::support::lock::{Lock, Refused};
use crate::support::settings::{self, Difference};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Upper bound of the bytes read from a record; no study writes as many.
const MAX_BYTES: u64 = 256 << 20;

/// A study's folder, locked for writing.
pub struct Folder {
    path: PathBuf,
    _lock: Lock,
}

/// What the records in a folder depend on.
#[derive(Clone, Copy)]
pub struct Basis<'a> {
    /// Name of the study.
    pub study: &'a str,
    /// Its settings, a JSON object.
    pub settings: &'a Value,
    /// Key of an object in the settings to which entries can be added later.
    pub growing: Option<&'a str>,
    /// Whether records compare times, so that all must be made with the same [`SPEED`] settings.
    pub timed: bool,
}

/// Settings that change how long a record takes, and nothing else in it. They may differ between the machines that share a folder.
const SPEED: [&str; 2] = ["threads", "graphs"];

/// A record, and how many seconds its computation took.
#[derive(Serialize, Deserialize)]
pub struct StoredRecord<R> {
    pub seconds: f64,
    pub record: R,
}

impl Folder {
    /// Opens and locks `path` for the study that `basis` describes.
    ///
    /// # Errors
    /// Returns an error if it cannot be written, is in use, or holds records of another study or of other settings.
    pub fn open(path: &Path, basis: Basis) -> Result<Self, Error> {
        let folder = Self::locked(path, Lock::take)?;
        for folder in folders(path) {
            atomic_file::sweep(&folder).map_err(failed("sweep", &folder))?;
        }
        let list = |name| fs::read_dir(folder.path.join(name));
        let has_files =
            ["records", "work"].iter().any(|name| list(name).is_ok_and(|mut files| files.next().is_some()));
        folder.check_settings(basis, has_files)?;
        Ok(folder)
    }

    /// The same for one piece: other processes can open the folder for theirs at the same time.
    ///
    /// # Errors
    /// Returns an error in the cases of [`Self::open`].
    pub fn open_for_a_piece(path: &Path, basis: Basis) -> Result<Self, Error> {
        let folder = Self::locked(path, Lock::share)?;
        // Another process may be computing the first piece with the settings that it wrote.
        folder.check_settings(basis, true)?;
        Ok(folder)
    }

    fn locked(path: &Path, lock: fn(&Path) -> Result<Lock, Refused>) -> Result<Self, Error> {
        for folder in folders(path) {
            fs::create_dir_all(&folder).map_err(failed("create", &folder))?;
        }
        let lock = lock(&path.join("study.lock")).map_err(|refused| match refused {
            Refused::Held(holder) => Error::InUse { path: path.into(), holder },
            Refused::Io(action, path, source) => Error::Io { action, path, source },
        })?;
        Ok(Self { path: path.into(), _lock: lock })
    }

    /// Writes `study.json`, or checks it if there is one that `binds`, and adds the entries that it lacks.
    fn check_settings(&self, basis: Basis, binds: bool) -> Result<(), Error> {
        let mut wanted = basis.settings.clone();
        wanted["study"] = json!(basis.study);
        let found = if binds { read::<Value>(&self.path.join("study.json"))? } else { None };
        if let Some(mut found) = found {
            if !found.is_object() {
                let path = self.path.join("study.json");
                return Err(Error::Record { path, reason: "it is not an object".into() });
            }
            let before = found.clone();
            if let Some(key) = basis.growing {
                add_entries(&mut wanted[key], &found[key]);
                add_entries(&mut found[key], &wanted[key]);
            }
            let differences = settings::differences(&found, &wanted).into_iter();
            let differences = differences.filter(|difference| matters(difference, basis.timed));
            let differences: Vec<String> = differences.map(shown).collect();
            if !differences.is_empty() {
                return Err(Error::OtherSettings { path: self.path.clone(), differences });
            }
            if found == before {
                return Ok(());
            }
        }
        self.write("study.json", format!("{wanted:#}\n").as_bytes())
    }

    /// The record of the piece called `key`, if there is one.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read or is not such a record.
    pub fn record<R: DeserializeOwned>(&self, key: &str) -> Result<Option<StoredRecord<R>>, Error> {
        read(&self.path.join(record_name(key)))
    }

    /// Stores the record of the piece called `key`.
    ///
    /// # Errors
    /// Returns an error if it cannot be written.
    pub fn store<R: Serialize>(&self, key: &str, stored: &StoredRecord<R>) -> Result<(), Error> {
        write_json(&self.path.join(record_name(key)), stored)
    }

    /// Writes the file `name` in the folder atomically.
    ///
    /// # Errors
    /// Returns an error if it cannot be written.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let path = self.path.join(name);
        atomic_file::write(&path, &[bytes]).map_err(failed("write", &path))
    }

    /// The folder's path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Whether the folder at `path` has a record of the piece called `key`.
pub fn has_record(path: &Path, key: &str) -> bool {
    path.join(record_name(key)).is_file()
}

fn folders(path: &Path) -> [PathBuf; 4] {
    ["", "records", "data", "figures"].map(|name| path.join(name))
}

/// Whether a difference of settings changes records, which compare times if they are `timed`. A study moves with its folder to
/// another machine, where the data are elsewhere.
fn matters(difference: &Difference, timed: bool) -> bool {
    let is = |key: &&str| {
        difference.key.strip_suffix(key).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    !PLACE_OF_DATA.iter().any(&is) && (timed || !SPEED.iter().any(&is))
}

fn record_name(key: &str) -> String {
    format!("records/{key}.json")
}

/// Reads a JSON file; `None` if it does not exist.
///
/// # Errors
/// Returns an error if it cannot be read or does not parse.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    match atomic_file::read(path, MAX_BYTES) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| Error::Record { path: path.into(), reason: error.to_string() }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", path)(error)),
    }
}

/// Writes a JSON file atomically.
///
/// # Errors
/// Returns an error if it cannot be written.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<(), Error> {
    let text = serde_json::to_string(value)
        .map_err(|error| Error::Record { path: path.into(), reason: error.to_string() })?;
    atomic_file::write(path, &[text.as_bytes()]).map_err(failed("write", path))
}

/// Adds to the object `to` the entries of `from` that it lacks.
fn add_entries(to: &mut Value, from: &Value) {
    if let (Value::Object(to), Value::Object(from)) = (to, from) {
        for (key, value) in from {
            to.entry(key).or_insert_with(|| value.clone());
        }
    }
}

/// Messages for the settings in which the folder (`there`) and this study (`here`) differ.
pub fn differences(there: &Value, here: &Value) -> Vec<String> {
    settings::differences(there, here).into_iter().map(shown).collect()
}

/// A difference between the folder and this study as a message.
fn shown(Difference { key, first, second }: Difference) -> String {
    format!("{key} is {first} there and {second} here")
}

/// For `map_err`: an I/O error with the action and the path.
pub fn failed(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    move |source| Error::Io { action, path: path.into(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basis(settings: &Value) -> Basis<'_> {
        Basis { study: "quadratic", settings, growing: Some("methods"), timed: false }
    }

    #[test]
    fn entries_of_a_growing_object_are_added_and_not_changed() {
        let folder = tempfile::tempdir().unwrap();
        let open = |methods| {
            let settings = json!({ "starts": 4, "threads": 1, "methods": methods });
            Folder::open(folder.path(), basis(&settings))
        };
        open(json!({ "a": { "q": 1 } }))
            .unwrap()
            .store("one", &StoredRecord { seconds: 1.0, record: 1 })
            .unwrap();
        open(json!({ "b": { "q": 2 } })).unwrap();
        let stored: Value = read(&folder.path().join("study.json")).unwrap().unwrap();
        assert_eq!(stored["methods"], json!({ "a": { "q": 1 }, "b": { "q": 2 } }));
        let error = open(json!({ "a": { "q": 3 } })).err().unwrap().to_string();
        assert!(
            error.contains("methods.a.q is 1 there and 3 here") && !error.contains("methods.b"),
            "{error}"
        );
        // Threads change no record, unless it compares times.
        let settings = json!({ "starts": 4, "threads": 8, "methods": {} });
        Folder::open(folder.path(), basis(&settings)).unwrap();
        let timed = Folder::open(folder.path(), Basis { timed: true, ..basis(&settings) });
        assert!(timed.err().unwrap().to_string().contains("threads is 1 there and 8 here"));
        fs::write(folder.path().join("study.json"), "[]").unwrap();
        assert!(matches!(Folder::open(folder.path(), basis(&settings)), Err(Error::Record { .. })));
    }

    #[test]
    fn a_study_continues_where_its_data_are_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let open = |data: Value| {
            let settings = json!({ "config": { "data": data } });
            Folder::open(folder.path(), Basis { timed: true, ..basis(&settings) })
        };
        let first = open(json!({ "source": "omniglot", "path": "here", "cache": "here/.cache" })).unwrap();
        first.store("one", &StoredRecord { seconds: 1.0, record: 1 }).unwrap();
        drop(first);
        open(json!({ "source": "omniglot", "path": "there", "list": "there/list.csv" })).unwrap();
        let other = open(json!({ "source": "folder", "path": "there" })).err().unwrap().to_string();
        assert!(other.contains("config.data.source") && !other.contains("config.data.path"), "{other}");
    }

    #[test]
    fn open_refuses_other_settings_and_names_them() {
        let folder = tempfile::tempdir().unwrap();
        let open = |settings| Folder::open(folder.path(), basis(&settings));
        // Without records other settings replace the old ones.
        open(json!({ "starts": 4, "rates": [0.1] })).unwrap();
        let first = open(json!({ "starts": 5, "rates": [0.1] })).unwrap();
        first.store("one", &StoredRecord { seconds: 1.0, record: 1 }).unwrap();
        drop(first);
        open(json!({ "starts": 5, "rates": [0.1] })).unwrap();
        let error = open(json!({ "starts": 7, "rates": [0.1], "seed": 1 })).err().unwrap().to_string();
        for words in ["starts is 5 there and 7 here", "seed is not set there and 1 here", "--out"] {
            assert!(error.contains(words), "{error}");
        }
        assert!(!error.contains("rates"));
    }

    #[test]
    fn pieces_that_run_at_the_same_time_have_the_same_settings() {
        let folder = tempfile::tempdir().unwrap();
        let open = |starts| Folder::open_for_a_piece(folder.path(), basis(&json!({ "starts": starts })));
        let first = open(4).unwrap();
        open(4).unwrap();
        assert!(matches!(open(5), Err(Error::OtherSettings { .. })));
        drop(first);
        // Nothing was recorded.
        Folder::open(folder.path(), basis(&json!({ "starts": 5 }))).unwrap();
    }

    #[test]
    fn open_refuses_a_folder_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let held = Folder::open(folder.path(), basis(&json!({}))).unwrap();
        let second = Folder::open(folder.path(), basis(&json!({})));
        assert!(matches!(second, Err(Error::InUse { .. })));
        held.store("one", &StoredRecord { seconds: 1.0, record: 2_u32 }).unwrap();
        assert_eq!(held.record::<u32>("one").unwrap().unwrap().record, 2);
        assert!(held.record::<u32>("two").unwrap().is_none());
        assert!(matches!(held.record::<String>("one"), Err(Error::Record { .. })));
    }
}
