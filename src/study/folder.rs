//! A study's folder: what is done stays done.
//!
//! ```text
//! study.json       which study, and the settings that its records depend on
//! records/         KEY.json: a finished piece of work each, written whole or not at all
//! work/            what long pieces keep while they are under way
//! data/            NAME.csv
//! figures/         NAME.svg, NAME.png
//! report.md        what was expected, what was measured, whether it held
//! study.lock       held while somebody works here
//! ```

use super::Error;
use crate::whole;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The most bytes of a record that are read: more than any study keeps.
const MOST_BYTES: u64 = 256 << 20;

/// A study's folder, held for writing.
pub struct Folder {
    path: PathBuf,
    /// The system releases it when the process ends, however it ends.
    _lock: File,
}

/// A record with how long its work took.
#[derive(Serialize, Deserialize)]
pub struct Kept<R> {
    pub seconds: f64,
    pub record: R,
}

impl Folder {
    /// Takes `path` for the study named `name` with `settings`, a JSON object.
    ///
    /// # Errors
    /// If it cannot be written, is in use, or holds work of another study or of other settings.
    pub fn open(path: &Path, name: &str, settings: &Value) -> Result<Self, Error> {
        let parts = [path.to_path_buf(), path.join("records"), path.join("data"), path.join("figures")];
        for part in &parts {
            fs::create_dir_all(part).map_err(failed("create", part))?;
        }
        let lock_path = path.join("study.lock");
        let open = File::options().write(true).create(true).truncate(false).open(&lock_path);
        let lock = open.map_err(failed("open", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::InUse { path: path.into() }),
            Err(TryLockError::Error(source)) => return Err(failed("lock", &lock_path)(source)),
        }
        for part in &parts {
            whole::sweep(part).map_err(failed("sweep", part))?;
        }
        let folder = Self { path: path.into(), _lock: lock };
        let mut wanted = settings.clone();
        wanted["study"] = json!(name);
        folder.settle(&wanted)?;
        Ok(folder)
    }

    /// Writes down what the folder is for; once there is work in it, sees that it is for just that.
    fn settle(&self, wanted: &Value) -> Result<(), Error> {
        let list = |name| fs::read_dir(self.path.join(name));
        let begun =
            ["records", "work"].iter().any(|name| list(name).is_ok_and(|mut files| files.next().is_some()));
        let found = if begun { read::<Value>(&self.path.join("study.json"))? } else { None };
        match found.map(|found| differences(&found, wanted)) {
            None => self.write("study.json", format!("{wanted:#}\n").as_bytes()),
            Some(none) if none.is_empty() => Ok(()),
            Some(differences) => Err(Error::OtherSettings { path: self.path.clone(), differences }),
        }
    }

    /// The record of the piece named `key`, if it is done.
    ///
    /// # Errors
    /// If what is there is no such record.
    pub fn record<R: DeserializeOwned>(&self, key: &str) -> Result<Option<Kept<R>>, Error> {
        read(&self.path.join(record_name(key)))
    }

    /// Keeps the record of the piece named `key`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn keep<R: Serialize>(&self, key: &str, kept: &Kept<R>) -> Result<(), Error> {
        let path = self.path.join(record_name(key));
        let text = serde_json::to_string(kept)
            .map_err(|error| Error::Record { path: path.clone(), reason: error.to_string() })?;
        self.write(&record_name(key), text.as_bytes())
    }

    /// Writes the file called `name` in here, whole or not at all.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let path = self.path.join(name);
        whole::write(&path, &[bytes]).map_err(failed("write", &path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn record_name(key: &str) -> String {
    format!("records/{key}.json")
}

/// The JSON in a file; `None` if there is no such file.
///
/// # Errors
/// If it cannot be read, or is something else.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    match whole::read(path, MOST_BYTES) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| Error::Record { path: path.into(), reason: error.to_string() }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", path)(error)),
    }
}

/// Where two sets of settings differ, in words.
pub fn differences(there: &Value, here: &Value) -> Vec<String> {
    let (theirs, ours) = (flat(there), flat(here));
    let keys: BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
    let said = |value: Option<&Value>| value.map_or("not set".into(), Value::to_string);
    let differing = keys.into_iter().filter(|key| theirs.get(*key) != ours.get(*key));
    differing
        .map(|key| format!("{key} is {} there and {} here", said(theirs.get(key)), said(ours.get(key))))
        .collect()
}

/// `settings` with dotted keys.
pub fn flat(settings: &Value) -> BTreeMap<String, Value> {
    let Value::Object(entries) = settings else { return BTreeMap::new() };
    let mut all = BTreeMap::new();
    for (key, value) in entries {
        match value {
            Value::Object(_) => {
                all.extend(flat(value).into_iter().map(|(inner, value)| (format!("{key}.{inner}"), value)))
            }
            _ => drop(all.insert(key.clone(), value.clone())),
        }
    }
    all
}

/// For `map_err`: what the file system said, with what was tried and where.
pub fn failed(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    move |source| Error::Io { action, path: path.into(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_settings_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let open = |settings| Folder::open(folder.path(), "quadratic", &settings);
        // Without any work there is nothing to lose.
        open(json!({ "starts": 4, "rates": [0.1] })).unwrap();
        let first = open(json!({ "starts": 5, "rates": [0.1] })).unwrap();
        first.keep("one", &Kept { seconds: 1.0, record: 1 }).unwrap();
        drop(first);
        open(json!({ "starts": 5, "rates": [0.1] })).unwrap();
        let error = open(json!({ "starts": 7, "rates": [0.1], "seed": 1 })).err().unwrap().to_string();
        for words in ["starts is 5 there and 7 here", "seed is not set there and 1 here", "--out"] {
            assert!(error.contains(words), "{error}");
        }
        assert!(!error.contains("rates"));
    }

    #[test]
    fn only_one_works_here_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let held = Folder::open(folder.path(), "bias", &json!({})).unwrap();
        let second = Folder::open(folder.path(), "bias", &json!({}));
        assert!(matches!(second, Err(Error::InUse { .. })));
        held.keep("one", &Kept { seconds: 1.0, record: 2_u32 }).unwrap();
        assert_eq!(held.record::<u32>("one").unwrap().unwrap().record, 2);
        assert!(held.record::<u32>("two").unwrap().is_none());
        assert!(matches!(held.record::<String>("one"), Err(Error::Record { .. })));
    }
}
