//! The checkpoints with the best validation accuracies.
//!
//! `best.safetensors` is the best. A run that keeps several (`checkpoint.keep_best` > 1) has each of them, the best too, in a
//! file with the number of its step, `best-step-00000100.safetensors`. Such a file never changes, so a change in ranking
//! moves no file. The files of replaced checkpoints are deleted only once a checkpoint that lists the new ones is saved, so
//! the files that the latest checkpoint lists exist at any time.

use super::error::failed;
use super::{Error, Ranking, RunDir, Saved, Score};
use crate::support::atomic_file;
use std::fs;
use std::path::{Path, PathBuf};

/// The start of the names of the best checkpoints of a run that keeps several.
const PREFIX: &str = "best-step-";

impl RunDir {
    /// The checkpoint with the best validation accuracy.
    pub fn best_file(&self) -> PathBuf {
        self.checkpoints().join("best.safetensors")
    }

    /// The checkpoint after outer step `step`, one of the best of a run that keeps several.
    pub fn best_step_file(&self, step: u64) -> PathBuf {
        self.checkpoints().join(format!("{PREFIX}{step:08}.safetensors"))
    }

    /// The steps of the best checkpoints of a run that keeps several, latest first; none if it keeps one.
    ///
    /// # Errors
    /// Returns an error if the directory cannot be listed.
    pub fn best_steps(&self) -> Result<Vec<u64>, Error> {
        self.steps_of_files(PREFIX)
    }

    /// The `count` best checkpoints, best first, of a run that keeps at most `keep_best`.
    ///
    /// # Errors
    /// Returns an error if the run kept fewer, or one is damaged.
    pub fn best_checkpoints(&self, count: usize, keep_best: usize) -> Result<Vec<Saved>, Error> {
        let files: Vec<PathBuf> = if keep_best > 1 {
            self.best_steps()?.into_iter().map(|step| self.best_step_file(step)).collect()
        } else {
            Some(self.best_file()).into_iter().filter(|file| file.exists()).collect()
        };
        let mut best = files.iter().map(|file| ranked(file)).collect::<Result<Vec<_>, _>>()?;
        best.sort_by(|(a, a_saved), (b, b_saved)| {
            a.order(*b).then(a_saved.training_state.step.cmp(&b_saved.training_state.step))
        });
        // A run that was killed may have left one more than it keeps.
        best.truncate(count.min(keep_best));
        if best.len() < count {
            return Err(Error::FewBest {
                path: self.path().into(),
                wanted: count,
                kept: best.len(),
                keep_best,
            });
        }
        Ok(best.into_iter().map(|(_, saved)| saved).collect())
    }

    /// Brings the best checkpoints into line with `ranking` after the run went back to an earlier step, where `ranking` was
    /// stored. Returns the ranking without the validations whose checkpoints no longer exist.
    ///
    /// # Errors
    /// Returns an error if a file cannot be written or deleted.
    pub fn return_to(&self, ranking: &Ranking, keep_best: usize) -> Result<Ranking, Error> {
        let kept = |step: u64| if keep_best > 1 { self.best_step_file(step) } else { self.best_file() };
        let validations = ranking.validations().iter().take(keep_best).copied();
        let left = Ranking::new(validations.filter(|best| is_of_step(&kept(best.step), best.step)));
        self.prune_best(&left)?;
        match left.first() {
            None => self.delete_later_best(ranking)?,
            Some(best) if is_of_step(&self.best_file(), best.step) => {}
            Some(best) => {
                let (from, to) = (kept(best.step), self.best_file());
                let bytes = fs::read(&from).map_err(failed("read", &from))?;
                atomic_file::write(&to, &[&bytes]).map_err(failed("write", &to))?;
            }
        }
        Ok(left)
    }

    /// Deletes `best.safetensors` if its step is not in `ranking`, and therefore later than the step at which `ranking` was
    /// stored. A damaged file does not say its step, and stays.
    fn delete_later_best(&self, ranking: &Ranking) -> Result<(), Error> {
        let file = self.best_file();
        let step = Saved::read(&file).ok().map(|saved| saved.training_state.step);
        if step.is_none_or(|step| ranking.validations().iter().any(|best| best.step == step)) {
            return Ok(());
        }
        fs::remove_file(&file).map_err(failed("delete", &file))
    }

    /// Deletes the numbered best checkpoints that are not in `ranking`.
    ///
    /// # Errors
    /// Returns an error if one cannot be deleted.
    pub fn prune_best(&self, ranking: &Ranking) -> Result<(), Error> {
        let is_ranked = |step: &u64| ranking.validations().iter().any(|best| best.step == *step);
        for step in self.best_steps()?.into_iter().filter(|step| !is_ranked(step)) {
            let file = self.best_step_file(step);
            fs::remove_file(&file).map_err(failed("delete", &file))?;
        }
        Ok(())
    }
}

/// One of the best checkpoints, and its score in validation, which it lists itself.
fn ranked(path: &Path) -> Result<(Score, Saved), Error> {
    let saved = Saved::read(path)?;
    let (ranking, step) = (saved.training_state.ranking(), saved.training_state.step);
    let own = ranking.validations().iter().find(|best| best.step == step);
    let reason = || format!("it does not list its own validation result, after outer step {step}");
    let best = own.ok_or_else(|| Error::Checkpoint { path: path.into(), reason: reason() })?;
    Ok((best.score, saved))
}

/// Whether the file at `path` is an intact checkpoint after outer step `step`.
fn is_of_step(path: &Path, step: u64) -> bool {
    Saved::read(path).is_ok_and(|saved| saved.training_state.step == step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Best;
    use crate::run::checkpoint::save_example;

    #[test]
    fn going_back_deletes_the_best_checkpoint_of_a_later_step_only() {
        let folder = tempfile::tempdir().unwrap();
        let (run, _lock) = RunDir::create(folder.path()).unwrap();
        let [early, late] = [3, 10].map(|step| Best { step, score: Score::Accuracy(step as f64) });
        let stored = Ranking::new([early]);
        save_example(&run.best_file(), early.step, &[early]);
        assert_eq!(run.return_to(&stored, 1).unwrap(), stored);
        assert!(run.best_file().exists());
        // A later validation was better; its checkpoint replaced the file, and the run went back to a step before it.
        save_example(&run.best_file(), late.step, &[late]);
        assert_eq!(run.return_to(&stored, 1).unwrap(), Ranking::default());
        assert!(!run.best_file().exists());
        assert_eq!(run.return_to(&stored, 1).unwrap(), Ranking::default());
    }
}
