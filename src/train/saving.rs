//! Saving checkpoints. A run that cannot save warns, continues, and tries again later; its last checkpoint remains.

use super::{Error, Trainer, Watcher};
use crate::run::{self, Best};
use std::path::Path;
use std::time::{Duration, Instant};

/// Time after which a failed save is tried again, unless a checkpoint is due before.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// A failed save: its reason, and the time of the last attempt.
pub struct Unsaved {
    reason: String,
    tried: Instant,
}

impl Trainer {
    /// Saves a checkpoint. A failure is reported once, and stored for [`Trainer::check_saved`].
    ///
    /// # Errors
    /// Returns an error if the ranks have come to different weights.
    pub(super) fn save(&mut self, watcher: &mut dyn Watcher) -> Result<(), Error> {
        self.check_weights()?;
        let written = if self.is_first() { self.try_save() } else { Ok(()) };
        let before = self.unsaved.take();
        if let Err(reason) = self.outcome_of_first(written) {
            self.could_not_save(reason, before, watcher);
            return Ok(());
        }
        if before.is_some() {
            let step = self.outer.steps();
            watcher.warning(&format!("outer step {step} is saved: saving works again"));
        }
        if self.is_first() {
            let pruned = self.run.prune(self.config.checkpoint.keep, self.outer.steps());
            let pruned = pruned.and_then(|()| self.run.prune_best(&self.progress.ranking));
            if let Err(error) = pruned {
                watcher.warning(&error.to_string());
            }
        }
        Ok(())
    }

    /// Saves the checkpoint of `best`, which is in the ranking. Returns whether this succeeded.
    pub(super) fn save_best(&mut self, best: Best, watcher: &mut dyn Watcher) -> bool {
        let written = if self.is_first() { self.try_save_best(best) } else { Ok(()) };
        match self.outcome_of_first(written) {
            Ok(()) => true,
            Err(reason) => {
                watcher.warning(&format!(
                    "the checkpoint after outer step {} could not be kept as one of the best: {reason}; the best of earlier \
                     validations stay until a later one is better",
                    best.step
                ));
                false
            }
        }
    }

    fn try_save_best(&self, best: Best) -> Result<(), Error> {
        if self.config.checkpoint.keep_best > 1 {
            self.write_checkpoint(&self.run.best_step_file(best.step))?;
        }
        if self.progress.ranking.first() == Some(best) {
            self.write_checkpoint(&self.run.best_file())?;
        }
        Ok(())
    }

    fn could_not_save(&mut self, reason: String, before: Option<Unsaved>, watcher: &mut dyn Watcher) {
        if before.is_none_or(|before| before.reason != reason) {
            watcher.warning(&format!("not saved: {reason}; training continues, and saving will be retried"));
        }
        self.unsaved = Some(Unsaved { reason, tried: Instant::now() });
    }

    /// Whether it is time to repeat a failed save.
    pub(super) fn retry_is_due(&self) -> bool {
        self.unsaved.as_ref().is_some_and(|unsaved| unsaved.tried.elapsed() >= RETRY_AFTER)
    }

    /// Checks that the latest save succeeded.
    ///
    /// # Errors
    /// Returns [`Error::Unsaved`] if it failed.
    pub fn check_saved(&self) -> Result<(), Error> {
        let Some(Unsaved { reason, .. }) = &self.unsaved else { return Ok(()) };
        let (step, path) = (self.outer.steps(), self.run.path().to_path_buf());
        let latest = self.run.checkpoint_steps().ok().and_then(|steps| steps.first().copied());
        Err(Error::Unsaved { step, path, latest, reason: reason.clone() })
    }

    /// Writes the journals and then a checkpoint, so that a checkpoint is never ahead of the journals.
    ///
    /// # Errors
    /// Returns an error if something cannot be written. Earlier checkpoints remain, except that a full disk costs the oldest
    /// of several, once: not again while saving fails.
    pub(super) fn try_save(&mut self) -> Result<(), Error> {
        let (keep, step) = (self.config.checkpoint.keep, self.outer.steps());
        self.metrics.flush()?;
        self.clock.flush()?;
        let file = self.run.checkpoint_file(step);
        match self.write_checkpoint(&file) {
            Err(Error::Run(error)) if error.is_full() && self.unsaved.is_none() => {
                self.run.make_room(keep, step)?;
                self.write_checkpoint(&file)
            }
            written => written,
        }
    }

    pub(super) fn write_checkpoint(&self, path: &Path) -> Result<(), Error> {
        let (leaves, vector) = (self.learner.leaves(), self.outer.estimator().state().vector);
        let optimizer = self.outer.optimizer().state();
        Ok(run::save(path, &leaves, self.outer.theta(), optimizer, vector.as_ref(), &self.training_state())?)
    }
}
