//! The run directory: what a run leaves on disk, and who may write there.
//!
//! ```text
//! config.toml      the resolved configuration
//! metrics.jsonl    a line per outer step and per validation; the same bits for the same run
//! clock.jsonl      when each step was over and read, in seconds of training; differs from machine to machine
//! checkpoints/     step-00000100.safetensors …, best.safetensors
//! divergence/      step-00000101.json …, and the checkpoint before each: outer steps that were not finite
//! events.out.tfevents.…metaburn   for TensorBoard, if records.tensorboard asks for it
//! results/         test.json …: evaluations
//! sessions.jsonl   who trained here: when, on what, by which command
//! run.lock         held while somebody trains here
//! ```

use super::Error;
use super::checkpoint::Saved;
use crate::config::Config;
use crate::whole;
use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};

/// Bytes of a process's number in the lock.
const LONGEST_ID: u64 = 20;

/// A run's directory.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
}

/// Held while a run is written; the system releases it when the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl RunDir {
    /// Creates the directory for a new run and writes its configuration.
    ///
    /// # Errors
    /// If it holds a run already, or cannot be written.
    pub fn create(path: &Path, config: &Config) -> Result<(Self, Lock), Error> {
        let run = Self { path: path.into() };
        fs::create_dir_all(run.checkpoints()).map_err(failed("create", path))?;
        let lock = run.lock()?;
        if run.config_file().exists() {
            return Err(Error::Occupied { path: path.into() });
        }
        let text = config.to_toml()?;
        let file = run.config_file();
        whole::write(&file, &[text.as_bytes()]).map_err(failed("write", &file))?;
        Ok((run, lock))
    }

    /// A directory that holds a run, and the run's configuration.
    ///
    /// # Errors
    /// If there is no run, or its configuration cannot be read.
    pub fn open(path: &Path) -> Result<(Self, Config), Error> {
        let run = Self { path: path.into() };
        if !run.config_file().is_file() {
            return Err(Error::NoRun { path: path.into() });
        }
        let config = Config::load(Some(&run.config_file()), &[])?;
        Ok((run, config))
    }

    /// Takes the directory for writing, and sweeps up what a killed process left unfinished.
    ///
    /// # Errors
    /// If another process has it.
    pub fn lock(&self) -> Result<Lock, Error> {
        let path = self.path.join("run.lock");
        let open = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = open.map_err(failed("open", &path))?;
        match file.try_lock() {
            Ok(()) => {
                let id = format!("{}\n", std::process::id());
                let note =
                    file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(id.as_bytes()));
                note.map_err(failed("write", &path))?;
                for folder in [&self.path, &self.checkpoints()] {
                    whole::sweep(folder).map_err(failed("sweep", folder))?;
                }
                Ok(Lock { _file: file })
            }
            Err(TryLockError::WouldBlock) => {
                let mut id = String::new();
                let holder = match file.take(LONGEST_ID).read_to_string(&mut id) {
                    Ok(_) if !id.trim().is_empty() => format!(" (process {})", id.trim()),
                    _ => String::new(),
                };
                Err(Error::InUse { path: self.path.clone(), holder })
            }
            Err(TryLockError::Error(source)) => Err(failed("lock", &path)(source)),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A line per outer step and per validation.
    pub fn metrics_file(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }

    /// When each step was over and read.
    pub fn clock_file(&self) -> PathBuf {
        self.path.join("clock.jsonl")
    }

    /// The checkpoint after outer step `step`.
    pub fn checkpoint_file(&self, step: u64) -> PathBuf {
        self.checkpoints().join(format!("step-{step:08}.safetensors"))
    }

    /// The checkpoint with the best validation.
    pub fn best_file(&self) -> PathBuf {
        self.checkpoints().join("best.safetensors")
    }

    /// What is written of outer step `step`, which diverged, and the checkpoint from which it can be taken again.
    pub fn divergence_files(&self, step: u64) -> [PathBuf; 2] {
        let name = |ending| self.path.join("divergence").join(format!("step-{step:08}.{ending}"));
        [name("json"), name("safetensors")]
    }

    /// The checkpoints by step, latest first.
    ///
    /// # Errors
    /// If the directory cannot be listed.
    pub fn checkpoint_steps(&self) -> Result<Vec<u64>, Error> {
        let folder = self.checkpoints();
        let mut steps = Vec::new();
        for entry in fs::read_dir(&folder).map_err(failed("list", &folder))? {
            let name = entry.map_err(failed("list", &folder))?.file_name();
            let step =
                name.to_str().and_then(|name| name.strip_prefix("step-")?.strip_suffix(".safetensors"));
            steps.extend(step.and_then(|step| step.parse::<u64>().ok()));
        }
        steps.sort_unstable_by(|a, b| b.cmp(a));
        Ok(steps)
    }

    /// The latest sound checkpoint, and a warning for each later one that is damaged; `None` if
    /// there are no checkpoints at all.
    ///
    /// # Errors
    /// If there are checkpoints, but none is sound.
    pub fn latest(&self) -> Result<Option<(Saved, Vec<String>)>, Error> {
        let mut faults = Vec::new();
        for step in self.checkpoint_steps()? {
            let path = self.checkpoint_file(step);
            match Saved::read(&path) {
                Ok(saved) if saved.standing.step == step => return Ok(Some((saved, faults))),
                Ok(saved) => {
                    let reason = format!("it stands at outer step {}, not {step}", saved.standing.step);
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

    /// Deletes all but the latest `keep` checkpoints.
    ///
    /// # Errors
    /// If one cannot be deleted.
    pub fn prune(&self, keep: usize) -> Result<(), Error> {
        for step in self.checkpoint_steps()?.into_iter().skip(keep) {
            let file = self.checkpoint_file(step);
            fs::remove_file(&file).map_err(failed("delete", &file))?;
        }
        Ok(())
    }

    /// Writes `results/NAME.json`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_result(&self, name: &str, result: &serde_json::Value) -> Result<(), Error> {
        let folder = self.path.join("results");
        fs::create_dir_all(&folder).map_err(failed("create", &folder))?;
        let file = folder.join(format!("{name}.json"));
        whole::write(&file, &[format!("{result:#}\n").as_bytes()]).map_err(failed("write", &file))
    }

    /// What [`RunDir::write_result`] wrote as `name`; `None` if there is nothing that is whole.
    ///
    /// # Errors
    /// If it is there and cannot be read.
    pub fn result(&self, name: &str) -> Result<Option<serde_json::Value>, Error> {
        let file = self.path.join("results").join(format!("{name}.json"));
        match fs::read(&file) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("read", &file)(error)),
        }
    }

    fn config_file(&self) -> PathBuf {
        self.path.join("config.toml")
    }

    fn checkpoints(&self) -> PathBuf {
        self.path.join("checkpoints")
    }
}

/// `path` as a shell takes it: in quotes where it has unusual characters.
pub fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let usual = |letter: char| letter.is_alphanumeric() || "/._-+=:@%,".contains(letter);
    let plain = !text.is_empty() && text.chars().all(usual);
    if plain { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// For `map_err`: what the file system said, with what was tried and where.
pub(super) fn failed(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    move |source| Error::Io { action, path: path.into(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_a_quoted_path_as_one_word() {
        assert_eq!(quoted(Path::new("checkpoints/run-001")), "checkpoints/run-001");
        assert_eq!(quoted(Path::new("my runs/it's")), r"'my runs/it'\''s'");
    }
}
