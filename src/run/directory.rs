//! The run directory: paths of its files, and the lock that protects it.
//!
//! ```text
//! config.toml      the resolved configuration, with what was decided from the images
//! split.json       which class is in which part
//! metrics.jsonl    a line per outer step and per validation; the same bits for the same run
//! clock.jsonl      training time at each step; differs from machine to machine
//! checkpoints/     step-00000100.safetensors …, best.safetensors; best-step-00000100.safetensors … if several best are kept
//! divergence/      step-00000101.json …: outer steps that were not finite, each with the checkpoint before it
//! events.out.tfevents.…metaburn   for TensorBoard, if records.tensorboard is true
//! results/         test.json …: evaluations
//! sessions.jsonl   when, where and by which command the run was trained
//! run.lock         held while a process trains the run; also run.owner where the file system has no locks
//! report.html, learner.safetensors   written by `metaburn report` and `metaburn export`
//! ```

use super::error::failed;
use super::record::{ClockRecord, Record, Records};
use super::{Error, Saved};
use crate::config::{Config, RawConfig};
use crate::data::{Channels, KeptSplit};
use crate::support::atomic_file;
use crate::support::lock::{Lock, Refused};
use std::fs;
use std::io::{Error as IoError, ErrorKind};
use std::path::{Path, PathBuf};
use toml::Table;

/// The largest configuration and the largest journal that are read, in bytes.
const MAX_CONFIG: u64 = 1 << 20;
/// The largest split that is read, in bytes: of a million classes.
const MAX_SPLIT: u64 = 256 << 20;
const MAX_JOURNAL: u64 = 1 << 30;
/// Event files have the name `EVENTS_BEGIN` NUMBER `EVENTS_END`. TensorBoard looks for the prefix; the suffix marks files
/// written by metaburn.
const EVENTS_BEGIN: &str = "events.out.tfevents.";
const EVENTS_END: &str = ".metaburn";

/// A run's directory.
#[derive(Clone, Debug)]
pub struct RunDir {
    path: PathBuf,
}

impl RunDir {
    /// The directory at `path`, whether or not it holds a run.
    pub fn at(path: &Path) -> Self {
        Self { path: path.into() }
    }

    /// The directory at `path`, which holds a run.
    ///
    /// # Errors
    /// Returns an error if there is no run.
    pub fn find(path: &Path) -> Result<Self, Error> {
        let run = Self::at(path);
        if run.config_file().is_file() { Ok(run) } else { Err(Error::NoRun { path: path.into() }) }
    }

    /// Creates the directory for a new run and locks it. The caller then writes whatever the run needs, and last its configuration
    /// ([`Self::write_config`]), which makes the directory a run.
    ///
    /// # Errors
    /// Returns an error if the directory holds a run or checkpoints already, or cannot be written.
    pub fn create(path: &Path) -> Result<(Self, Lock), Error> {
        let run = Self::at(path);
        fs::create_dir_all(run.checkpoints()).map_err(failed("create", path))?;
        let lock = run.lock()?;
        if run.config_file().exists() {
            return Err(Error::Occupied { path: path.into() });
        }
        // New checkpoints would be mixed with these.
        if !run.checkpoint_steps()?.is_empty() {
            return Err(Error::Leftovers { path: path.into() });
        }
        // A run that was killed before it had a configuration may have left a split.
        match fs::remove_file(run.split_file()) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(failed("delete", &run.split_file())(error))
            }
            _ => Ok((run, lock)),
        }
    }

    /// Writes or replaces the configuration. The caller holds the lock.
    ///
    /// # Errors
    /// Returns an error if it cannot be written.
    pub fn write_config(&self, config: &Config) -> Result<(), Error> {
        let (text, file) = (config.to_toml()?, self.config_file());
        atomic_file::write(&file, &[text.as_bytes()]).map_err(failed("write", &file))
    }

    /// The directory at `path`, which holds a run, and the run's configuration.
    ///
    /// # Errors
    /// Returns an error if there is no run or its configuration is invalid.
    pub fn open(path: &Path) -> Result<(Self, Config), Error> {
        let run = Self::find(path)?;
        // Weights that were imported without their images can be used.
        let mut config = RawConfig::read(Some(&run.config_file()))?.without_data().check()?;
        // A run writes down the channels of its images, unless it began when all images were made grey.
        if let Some(data) = &mut config.data {
            data.channels.get_or_insert(Channels::Grey);
        }
        Ok((run, config))
    }

    /// Writes the split of the run's data.
    ///
    /// # Errors
    /// Returns an error if the file cannot be written.
    pub fn write_split(&self, split: &KeptSplit) -> Result<(), Error> {
        let path = self.split_file();
        let text = serde_json::to_string_pretty(split).map_err(std::io::Error::other);
        let written = text.and_then(|text| atomic_file::write(&path, &[text.as_bytes(), b"\n"]));
        written.map_err(failed("write", &path))
    }

    /// The split of the run's data; `None` for a run without one.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read or is damaged.
    pub fn split(&self) -> Result<Option<KeptSplit>, Error> {
        let path = self.split_file();
        let Some(text) = read_text(&path, MAX_SPLIT)? else { return Ok(None) };
        let split = serde_json::from_str(&text);
        split.map(Some).map_err(|error| Error::Split { path, reason: error.to_string() })
    }

    /// The configuration as it was written, unchecked, so that a run of another version can be read too.
    ///
    /// # Errors
    /// Returns an error if there is no run, or its configuration cannot be read or is not TOML.
    pub fn settings(&self) -> Result<Table, Error> {
        let path = self.config_file();
        let text = read_text(&path, MAX_CONFIG)?.ok_or_else(|| Error::NoRun { path: self.path.clone() })?;
        text.parse().map_err(|source| Error::Settings { path, source: Box::new(source) })
    }

    /// The records of `metrics.jsonl`; none if there is no such file.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read.
    pub fn metrics(&self) -> Result<Records<Record>, Error> {
        Ok(Records::new(read_text(&self.metrics_file(), MAX_JOURNAL)?.unwrap_or_default()))
    }

    /// The records of `clock.jsonl`; none if there is no such file.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read.
    pub fn clock(&self) -> Result<Records<ClockRecord>, Error> {
        Ok(Records::new(read_text(&self.clock_file(), MAX_JOURNAL)?.unwrap_or_default()))
    }

    /// Locks the directory for writing, and deletes unfinished files that a killed process left behind.
    ///
    /// # Errors
    /// Returns an error if another process holds the lock.
    pub fn lock(&self) -> Result<Lock, Error> {
        let lock = Lock::take(&self.lock_file()).map_err(|refused| match refused {
            Refused::Held(holder) => Error::InUse { path: self.path.clone(), holder },
            Refused::Io(action, path, source) => Error::Io { action, path, source },
        })?;
        for folder in [&self.path, &self.checkpoints()] {
            atomic_file::sweep(folder).map_err(failed("sweep", folder))?;
        }
        Ok(lock)
    }

    /// The directory's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The resolved configuration.
    pub fn config_file(&self) -> PathBuf {
        self.path.join("config.toml")
    }

    /// The split of the run's data.
    pub fn split_file(&self) -> PathBuf {
        self.path.join("split.json")
    }

    /// The record of outer steps and validations.
    pub fn metrics_file(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }

    /// The record of training time.
    pub fn clock_file(&self) -> PathBuf {
        self.path.join("clock.jsonl")
    }

    /// The record of sessions.
    pub fn sessions_file(&self) -> PathBuf {
        self.path.join("sessions.jsonl")
    }

    /// The page that `metaburn report` writes by default.
    pub fn report_file(&self) -> PathBuf {
        self.path.join("report.html")
    }

    /// The weights that `metaburn export` writes by default.
    pub fn weights_file(&self) -> PathBuf {
        self.path.join("learner.safetensors")
    }

    /// The TensorBoard event file numbered `number`. Readers follow event files in order of name.
    pub fn event_file(&self, number: u64) -> PathBuf {
        self.path.join(format!("{EVENTS_BEGIN}{number:010}{EVENTS_END}"))
    }

    /// The TensorBoard event files, each with its number.
    ///
    /// # Errors
    /// Returns an error if the directory cannot be listed.
    pub fn event_files(&self) -> Result<Vec<(u64, PathBuf)>, Error> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(failed("list", &self.path))? {
            let entry = entry.map_err(failed("list", &self.path))?;
            let name = entry.file_name();
            let number =
                name.to_str().and_then(|name| name.strip_prefix(EVENTS_BEGIN)?.strip_suffix(EVENTS_END));
            files.extend(number.and_then(|number| Some((number.parse().ok()?, entry.path()))));
        }
        Ok(files)
    }

    /// The checkpoint after outer step `step`.
    pub fn checkpoint_file(&self, step: u64) -> PathBuf {
        self.checkpoints().join(format!("step-{step:08}.safetensors"))
    }

    /// The report of outer step `step`, which diverged, and the checkpoint from which it can be repeated.
    pub fn divergence_files(&self, step: u64) -> [PathBuf; 2] {
        let name = |ending| self.path.join("divergence").join(format!("step-{step:08}.{ending}"));
        [name("json"), name("safetensors")]
    }

    /// The checkpoints by step, latest first.
    ///
    /// # Errors
    /// Returns an error if the directory cannot be listed.
    pub fn checkpoint_steps(&self) -> Result<Vec<u64>, Error> {
        self.steps_of_files("step-")
    }

    /// The steps of the checkpoints whose names begin with `prefix`, latest first.
    pub(super) fn steps_of_files(&self, prefix: &str) -> Result<Vec<u64>, Error> {
        let folder = self.checkpoints();
        let mut steps = Vec::new();
        for entry in fs::read_dir(&folder).map_err(failed("list", &folder))? {
            let name = entry.map_err(failed("list", &folder))?.file_name();
            let step = name.to_str().and_then(|name| name.strip_prefix(prefix)?.strip_suffix(".safetensors"));
            steps.extend(step.and_then(|step| step.parse::<u64>().ok()));
        }
        steps.sort_unstable_by(|a, b| b.cmp(a));
        Ok(steps)
    }

    /// The latest intact checkpoint, and a warning for each later one that is damaged; `None` if there are no
    /// checkpoints.
    ///
    /// # Errors
    /// Returns an error if there are checkpoints but all are damaged.
    pub fn latest(&self) -> Result<Option<(Saved, Vec<String>)>, Error> {
        let mut faults = Vec::new();
        for step in self.checkpoint_steps()? {
            let path = self.checkpoint_file(step);
            match Saved::read(&path) {
                Ok(saved) if saved.training_state.step == step => return Ok(Some((saved, faults))),
                Ok(saved) => {
                    let reason = format!("it is from outer step {}, not {step}", saved.training_state.step);
                    faults.push(Error::Checkpoint { path, reason }.to_string());
                }
                Err(error) => faults.push(error.to_string()),
            }
        }
        if faults.is_empty() {
            return Ok(None);
        }
        Err(Error::NoSoundCheckpoint { path: self.path.clone(), faults })
    }

    /// Deletes all but the latest `keep` checkpoints of a run that has taken `step` outer steps. Those of later steps are
    /// damaged, because the run was resumed from an earlier one: they do not count and are not deleted.
    ///
    /// # Errors
    /// Returns an error if one cannot be deleted.
    pub fn prune(&self, keep: usize, step: u64) -> Result<(), Error> {
        for old in self.steps_until(step)?.into_iter().skip(keep) {
            let file = self.checkpoint_file(old);
            fs::remove_file(&file).map_err(failed("delete", &file))?;
        }
        Ok(())
    }

    /// Makes room for one more checkpoint on a full disk: deletes the oldest of a run that has taken `step` outer steps, and those
    /// that exceed `keep`. The latest intact one is never deleted.
    ///
    /// # Errors
    /// Returns an error if one cannot be deleted.
    pub fn make_room(&self, keep: usize, step: u64) -> Result<(), Error> {
        let found = self.steps_until(step)?;
        let is_intact = |step: &u64| Saved::read(&self.checkpoint_file(*step)).is_ok();
        let Some(intact) = found.iter().position(is_intact) else { return Ok(()) };
        let fewer = keep.min(found.len()).saturating_sub(1);
        self.prune(fewer.max(intact + 1), step)
    }

    /// The checkpoints of steps up to `step`, latest first.
    fn steps_until(&self, step: u64) -> Result<Vec<u64>, Error> {
        Ok(self.checkpoint_steps()?.into_iter().filter(|saved| *saved <= step).collect())
    }

    pub(super) fn results(&self) -> PathBuf {
        self.path.join("results")
    }

    pub(super) fn result_file(&self, name: &str) -> PathBuf {
        self.results().join(format!("{name}.json"))
    }

    fn lock_file(&self) -> PathBuf {
        self.path.join("run.lock")
    }

    pub(super) fn checkpoints(&self) -> PathBuf {
        self.path.join("checkpoints")
    }
}

/// The text of a file; `None` if there is no such file.
fn read_text(path: &Path, most: u64) -> Result<Option<String>, Error> {
    let text = |bytes| String::from_utf8(bytes).map_err(|error| IoError::new(ErrorKind::InvalidData, error));
    match atomic_file::read(path, most).and_then(text) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(failed("read", path)(source)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::checkpoint::save_example;

    #[test]
    fn pruning_counts_only_checkpoints_up_to_the_step_of_the_run() {
        let folder = tempfile::tempdir().unwrap();
        let (run, _lock) = RunDir::create(folder.path()).unwrap();
        // That of step 500 is damaged, and the run was resumed from step 400.
        for step in [300, 400, 450, 500] {
            fs::write(run.checkpoint_file(step), "").unwrap();
        }
        run.prune(2, 450).unwrap();
        assert_eq!(run.checkpoint_steps().unwrap(), [500, 450, 400]);
        run.prune(1, 450).unwrap();
        assert_eq!(run.checkpoint_steps().unwrap(), [500, 450]);
    }

    #[test]
    fn a_full_disk_costs_the_oldest_checkpoint_but_never_the_only_intact_one() {
        let folder = tempfile::tempdir().unwrap();
        let (run, _lock) = RunDir::create(folder.path()).unwrap();
        let left_by = |keep, step| {
            run.make_room(keep, step).unwrap();
            run.checkpoint_steps().unwrap()
        };
        assert_eq!(left_by(3, 0), [0; 0]);
        for step in [100, 200, 300] {
            save_example(&run.checkpoint_file(step), step, &[]);
        }
        assert_eq!(left_by(5, 350), [300, 200], "fewer than the run keeps");
        assert_eq!(left_by(5, 350), [300]);
        assert_eq!(left_by(5, 350), [300]);
        for damaged in [400, 500] {
            fs::write(run.checkpoint_file(damaged), "").unwrap();
        }
        for keep in [1, 2] {
            assert_eq!(left_by(keep, 450), [500, 400, 300], "that of step 300 alone is intact");
        }
    }

    #[test]
    fn a_run_begins_only_where_there_is_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let (run, lock) = RunDir::create(folder.path()).unwrap();
        fs::write(run.split_file(), "{}").unwrap();
        drop(lock);
        // Ended before it had a configuration.
        let (_, lock) = RunDir::create(folder.path()).unwrap();
        assert!(!run.split_file().exists());
        run.write_config(&Config::load(None, &[]).unwrap()).unwrap();
        drop(lock);
        assert!(matches!(RunDir::create(folder.path()), Err(Error::Occupied { .. })));
        fs::write(run.checkpoint_file(3), "").unwrap();
        fs::remove_file(run.config_file()).unwrap();
        assert!(matches!(RunDir::create(folder.path()), Err(Error::Leftovers { .. })));
    }
}
