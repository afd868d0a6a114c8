//! The training loop: outer steps, their records, and validations.

use super::divergence::Recovery;
use super::{Batches, Ended, Error, Trainer, Watcher, training_shape};
use crate::data::Part;
use crate::run::{Best, ClockRecord, StepRecord, ValidationRecord};
use bilevel::panics::catch;
use bilevel::{Budget, CompletedStep, PendingStep, resolve_all};
use std::time::Instant;

/// The most outer steps that are pending at the same time: enough to keep a GPU busy, few enough to stop soon.
pub(super) const MOST_PENDING: usize = 8;
/// Each rewind adds 2 to this power to the numbers of draws, so that no draw is used twice.
const DRAWS_BITS: u32 = 32;

impl Trainer {
    /// Trains until the budget is used up or the watcher stops it. In both cases the last step is saved in a checkpoint,
    /// unless saving fails; see [`Self::check_saved`].
    ///
    /// # Errors
    /// Returns an error if training diverges or the device fails. The latest checkpoint is kept; do not use this trainer
    /// afterwards.
    pub fn run(&mut self, watcher: &mut dyn Watcher) -> Result<Ended, Error> {
        self.run_until(self.config.outer.budget, watcher)
    }

    /// Like [`Self::run`], but stops when `target` is reached.
    ///
    /// # Errors
    /// As for [`Self::run`].
    pub fn run_until(&mut self, target: Budget, watcher: &mut dyn Watcher) -> Result<Ended, Error> {
        let ended = catch(|| self.train(target, watcher)).unwrap_or_else(|reason| {
            let (step, path) = (self.outer.steps(), self.run.path().to_path_buf());
            Err(Error::Computing { step, path, reason })
        });
        if ended.is_err() {
            // The last lines help to find the cause. They are cut off when the run is resumed.
            let _ = self.metrics.flush().and_then(|()| self.clock.flush());
        }
        ended
    }

    fn train(&mut self, target: Budget, watcher: &mut dyn Watcher) -> Result<Ended, Error> {
        let mut batches = self.batches();
        let mut pending = Vec::new();
        while self.progress() < 1.0 {
            if self.any_stops(watcher) || self.reached(target) {
                // If this undoes a step, the step is repeated when the run is resumed.
                self.resolve(pending, watcher)?;
                self.save(watcher)?;
                return Ok(Ended::Stopped);
            }
            pending.push(self.launch(&mut batches));
            self.note_graphs(watcher);
            if self.may_wait(&pending, target) {
                continue;
            }
            match self.resolve(std::mem::take(&mut pending), watcher)? {
                None => {}
                Some(Recovery::NextStep) => batches = self.batches(),
                Some(Recovery::Rewound) => {
                    batches = self.batches();
                    continue;
                }
            }
            let improved = self.validates() && self.validate(watcher)?;
            if improved || self.saves() || self.retries {
                self.save(watcher)?;
            }
        }
        if self.unsaved.is_some() {
            self.save(watcher)?;
        }
        Ok(Ended::Finished)
    }

    /// Says once if launches are not recorded as graphs although they should be.
    fn note_graphs(&mut self, watcher: &mut dyn Watcher) {
        if self.outer.graphs_refused() && !self.noted_graphs {
            watcher.note("recording graphs failed on this device: kernels are launched one by one");
            self.noted_graphs = true;
        }
    }

    /// The meta-batches, starting with the next step's.
    pub(super) fn batches(&self) -> Batches {
        let share = self.outer.share(self.config.outer.meta_batch);
        self.episodes.batches(training_shape(&self.config), share, self.next_draw())
    }

    /// The number of the next step's draw. After a rewind, it is one that has not been used.
    pub(super) fn next_draw(&self) -> u64 {
        self.outer.steps() + (self.progress.rewinds << DRAWS_BITS)
    }

    /// Whether the run has reached `target`.
    fn reached(&self, target: Budget) -> bool {
        target.progress(self.outer.steps(), self.outer.evaluations().total()) >= 1.0
    }

    /// Whether it is time to validate.
    pub(super) fn validates(&self) -> bool {
        let every = self.config.eval.every;
        every > 0 && self.outer.steps().is_multiple_of(every)
    }

    /// Whether it is time for a checkpoint.
    pub(super) fn saves(&self) -> bool {
        self.outer.steps().is_multiple_of(self.config.checkpoint.every) || self.progress() >= 1.0
    }

    /// Launches an outer step on the next meta-batch of `batches`.
    pub(super) fn launch(&mut self, batches: &mut Batches) -> PendingStep {
        let began = Instant::now();
        let draw = self.next_draw();
        // Variances, curvatures and costs of the head alone are not those of all weights.
        if self.config.inner.head_only_until == Some(self.outer.steps()) {
            self.outer.renew_estimator();
        }
        let problem = self.learner.at_step(batches.take(&self.learner), self.outer.steps());
        let share = self.outer.share(self.config.outer.meta_batch);
        let pending = self.outer.launch_share(&problem, share, draw);
        self.progress.seconds += began.elapsed().as_secs_f64();
        pending
    }

    /// Whether another step may be launched before `pending` are resolved.
    fn may_wait(&self, pending: &[PendingStep], target: Budget) -> bool {
        let learns = pending.iter().any(|step| step.observation.is_some());
        let due = self.validates() || self.saves() || self.retries || self.reached(target);
        self.learner.opened.is_gpu && !learns && !due && pending.len() < MOST_PENDING
    }

    /// Reads the results of `pending` from the device in one transfer, updates the estimator with them, and records them. A
    /// step that is not finite is undone, with all later ones; the return value then says how the run continues.
    pub(super) fn resolve(
        &mut self,
        pending: Vec<PendingStep>,
        watcher: &mut dyn Watcher,
    ) -> Result<Option<Recovery>, Error> {
        let began = Instant::now();
        let completed = resolve_all(pending);
        self.progress.seconds += began.elapsed().as_secs_f64();
        for mut step in completed {
            if let Some(what) = step.fault() {
                return self.recover(step, what, watcher).map(Some);
            }
            self.outer.learn(&mut step);
            self.record(&step, Vec::new(), watcher)?;
        }
        Ok(None)
    }

    /// Writes an outer step to the journals; the episodes `dropped` were left out of it.
    pub(super) fn record(
        &mut self,
        step: &CompletedStep,
        dropped: Vec<u64>,
        watcher: &mut dyn Watcher,
    ) -> Result<(), Error> {
        let pending = &step.pending;
        let mut evaluations = pending.before.evaluations;
        evaluations += pending.spent;
        let record = StepRecord {
            step: pending.step,
            loss: step.loss,
            gradient_norm: step.gradient_norm,
            clipped: step.was_clipped(),
            rate: pending.rate,
            products: pending.spent.products,
            recomputed: pending.spent.recomputed,
            iterate_bytes: pending.iterate_bytes,
            gradient_evaluations: evaluations.total(),
            dropped_episodes: dropped,
            skipped_steps: self.progress.skipped_steps,
            rewinds: self.progress.rewinds,
            estimator: pending.metrics.clone(),
        };
        self.metrics.write(&record)?;
        self.clock.write(&ClockRecord { step: record.step, seconds: self.progress.seconds })?;
        watcher.step(&record, pending.progress);
        Ok(())
    }

    /// Validates, and saves a checkpoint if the accuracy or error is among the best so far. Returns whether it did.
    fn validate(&mut self, watcher: &mut dyn Watcher) -> Result<bool, Error> {
        let episodes = self.config.eval.episodes;
        let measured = self.evaluate(Part::Validation, episodes, |_| {});
        let record = ValidationRecord {
            step: self.outer.steps(),
            validation_accuracy: measured.accuracy().map(|accuracy| accuracy.mean),
            ci95: measured.ci95(),
            validation_loss: measured.loss(),
            episodes,
            diverged_episodes: measured.diverged(),
            batch_norm: self.config.model.batch_norm,
            gradient_evaluations: self.outer.evaluations().total(),
        };
        self.metrics.write(&record)?;
        watcher.validation(&record);
        if let Err(reason) = measured.known() {
            let diverged = match record.diverged_episodes {
                all if all == episodes => format!("all {episodes}"),
                some => format!("{some} of {episodes}"),
            };
            watcher.warning(&format!(
                "{diverged} validation episodes diverged after outer step {}: their outputs after {} inner steps are not finite, \
                 so {reason}",
                record.step, self.config.inner.eval_steps
            ));
            return Ok(false);
        }
        let best = Best { step: record.step, score: measured.score() };
        let Some(ranking) = self.progress.ranking.with(best, self.config.checkpoint.keep_best) else {
            return Ok(false);
        };
        let before = std::mem::replace(&mut self.progress.ranking, ranking);
        let kept = self.save_best(best, watcher);
        if !kept {
            // The files still hold the previous best checkpoints.
            self.progress.ranking = before;
        }
        Ok(kept)
    }
}
