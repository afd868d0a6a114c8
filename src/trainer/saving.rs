//! Saving, by a run that goes on where it cannot save: it says so, tries again, and its last good checkpoint
//! stays.

use super::{Error, State, Trainer, Watcher, checkpoint, checkpoint::Standing};
use std::path::Path;
use std::time::{Duration, Instant};

/// How soon a run that could not save tries again, unless a checkpoint is due before.
const AGAIN_AFTER: Duration = Duration::from_secs(30);

/// Why a run could not save, and since when.
pub struct Unsaved {
    reason: String,
    tried: Instant,
}

impl Trainer {
    /// Saves where the run stands. A failure is said once, and kept for [`Trainer::kept`].
    pub(super) fn save(&mut self, watcher: &mut dyn Watcher) {
        let before = self.unsaved.take();
        match self.try_save() {
            Ok(()) => {
                if before.is_some() {
                    let step = self.standing.step;
                    watcher.warning(&format!("outer step {step} is saved: saving works again"));
                }
                if let Err(error) = self.run.prune(self.config.checkpoint.keep) {
                    watcher.warning(&error.to_string());
                }
            }
            Err(error) => self.could_not_save(&error, before, watcher),
        }
    }

    /// Keeps a checkpoint as the best so far; whether it could.
    pub(super) fn save_best(&mut self, watcher: &mut dyn Watcher) -> bool {
        let written = self.write_checkpoint(&self.run.best_file());
        if let Err(error) = &written {
            let before = self.unsaved.take();
            self.could_not_save(error, before, watcher);
        }
        written.is_ok()
    }

    fn could_not_save(&mut self, error: &Error, before: Option<Unsaved>, watcher: &mut dyn Watcher) {
        let reason = error.to_string();
        if before.is_none_or(|before| before.reason != reason) {
            watcher.warning(&format!("not saved: {reason}; training goes on, and saving is tried again"));
        }
        self.unsaved = Some(Unsaved { reason, tried: Instant::now() });
    }

    /// Whether it is time to try again what could not be saved.
    pub(super) fn tries_again(&self) -> bool {
        self.unsaved.as_ref().is_some_and(|unsaved| unsaved.tried.elapsed() >= AGAIN_AFTER)
    }

    /// That where the run stands is on the disk.
    ///
    /// # Errors
    /// [`Error::Unsaved`] if it could not be saved.
    pub fn kept(&self) -> Result<(), Error> {
        let Some(Unsaved { reason, .. }) = &self.unsaved else { return Ok(()) };
        let (step, path) = (self.standing.step, self.run.path().to_path_buf());
        let latest = self.run.checkpoint_steps().ok().and_then(|steps| steps.first().copied());
        Err(Error::Unsaved { step, path, latest, reason: reason.clone() })
    }

    /// Writes a checkpoint, after the journals, so that it never knows more than they do.
    ///
    /// # Errors
    /// If something cannot be written; no checkpoint that was there has gone then, but for one that would
    /// have gone anyway.
    pub(super) fn try_save(&mut self) -> Result<(), Error> {
        let keep = self.config.checkpoint.keep;
        self.metrics.flush()?;
        self.clock.flush()?;
        let file = self.run.checkpoint_file(self.standing.step);
        match self.write_checkpoint(&file) {
            Err(error) if error.is_full() && keep > 1 => {
                self.run.prune(keep - 1)?;
                self.write_checkpoint(&file)
            }
            written => written,
        }
    }

    pub(super) fn write_checkpoint(&self, path: &Path) -> Result<(), Error> {
        let (leaves, State { values, vector }) = (self.learner.leaves(), self.estimator.state());
        let standing = Standing { estimator: values, ..self.standing.clone() };
        checkpoint::save(path, &leaves, &self.theta, &*self.optimizer, vector.as_ref(), &standing)
    }
}
