//! Handling of outer steps that are not finite.
//!
//! Such a step is undone. If only some tasks are not finite, it is repeated without them. Otherwise it is skipped, or
//! the run returns to a checkpoint and continues with other draws, or the run stops.
//!
//! A diverging inner loop makes the loss or gradient of its task infinite, and so the mean over the meta-batch. Leaving
//! the task out changes the estimated quantity to the mean over the finite tasks. So the metrics list all tasks left out.

use super::episode_loader::episode_numbers;
use super::ranks::latest;
use super::{Error, Trainer, Watcher};
use crate::config::OnDivergence;
use crate::run::{self, failed};
use crate::support::atomic_file;
use bilevel::CompletedStep;
use bilevel::readback::read_all;
use bilevel::stats::mean;
use serde_json::{Value, json};
use std::ops::Range;
use std::path::PathBuf;

/// How a run continues after a step that was not finite.
pub enum Recovery {
    /// With the next step. Batches drawn in advance are invalid.
    NextStep,
    /// From an earlier checkpoint.
    Rewound,
}

impl Trainer {
    /// Undoes `step`, whose `what` is not finite, and handles it as configured.
    ///
    /// # Errors
    /// Returns [`Error::Diverged`] if the run must stop, or an error if there is no checkpoint to return to.
    pub(super) fn recover(
        &mut self,
        mut step: CompletedStep,
        what: &'static str,
        watcher: &mut dyn Watcher,
    ) -> Result<Recovery, Error> {
        let (number, spent) = (step.pending.step, step.pending.spent);
        self.outer.restore(&step.pending.before);
        let norms = step.pending.squared_norms();
        if self.config.divergence.drop_tasks
            && let Some(dropped) = self.drop_tasks(&mut step, &norms)
        {
            self.outer.count(spent);
            self.warn_of_dropped(&step, dropped.len(), watcher);
            self.record(&step, dropped, watcher)?;
            return Ok(Recovery::NextStep);
        }
        let report = if self.is_first() { self.report(&step, what, &norms, watcher) } else { None };
        match self.config.divergence.action {
            OnDivergence::Skip { most } if self.progress.skipped_steps < most as u64 => {
                self.outer.count(spent);
                self.progress.skipped_steps += 1;
                watcher.warning(&format!("outer step {number} is skipped, because {what} is not finite"));
                self.record(&step, Vec::new(), watcher)?;
                Ok(Recovery::NextStep)
            }
            OnDivergence::Rewind { most } if self.progress.rewinds < most as u64 => {
                self.rewind(&step, watcher)?;
                let from = self.outer.steps();
                watcher.warning(&format!(
                    "outer step {number} diverged: {what} is not finite; continuing after outer step {from} with other \
                     episodes"
                ));
                Ok(Recovery::Rewound)
            }
            _ => Err(Error::Diverged { step: number, what, path: self.run.path().into(), report }),
        }
    }

    /// Repeats the step with only those tasks whose loss and gradient are finite. Returns the numbers of the episodes left
    /// out. Returns `None`, without changes, if no or all tasks are finite, or if the repeated step is not finite.
    fn drop_tasks(&mut self, step: &mut CompletedStep, norms: &[f64]) -> Option<Vec<u64>> {
        let tasks = step.losses.len();
        let (finite, dropped): (Vec<usize>, Vec<usize>) =
            (0..tasks).partition(|task| step.losses[*task].is_finite() && norms[*task].is_finite());
        if finite.is_empty() || dropped.is_empty() {
            return None;
        }
        let pending = &step.pending;
        let own = Some(pending.share.places(&finite)).filter(|places| !places.is_empty());
        let own = own.map(|places| pending.estimates.select(&places));
        let gradient = pending.share.mean(&finite, own, self.outer.theta());
        let squares = read_all(self.outer.apply(gradient, pending.rate).to_vec()).concat();
        let losses: Vec<f64> = finite.iter().map(|task| step.losses[*task]).collect();
        (step.loss, step.gradient_norm, step.weights) = (mean(&losses), squares[0].sqrt(), squares[1]);
        // The observation includes the tasks left out, so it is not finite.
        step.pending.observation = None;
        if step.fault().is_some() {
            self.outer.restore(&step.pending.before);
            return None;
        }
        let first = self.episode_numbers(step.pending.draw).start;
        Some(dropped.into_iter().map(|task| first + task as u64).collect())
    }

    /// Warns the first time that tasks are left out. The metrics list them every time.
    fn warn_of_dropped(&mut self, step: &CompletedStep, dropped: usize, watcher: &mut dyn Watcher) {
        if std::mem::replace(&mut self.warned_of_dropped, true) {
            return;
        }
        watcher.warning(&format!(
            "outer step {}: {dropped} of {} tasks left out because their loss or gradient is not finite; metrics.jsonl lists \
             all such tasks as dropped_episodes. A lower inner.rate makes them rarer",
            step.pending.step,
            step.losses.len(),
        ));
    }

    /// Resumes at the latest intact checkpoint, with draws that the run has not used before. The cost of `step` remains
    /// counted.
    fn rewind(&mut self, step: &CompletedStep, watcher: &mut dyn Watcher) -> Result<(), Error> {
        self.outer.count(step.pending.spent);
        let (spent, seconds, rewinds) =
            (self.outer.evaluations(), self.progress.seconds, self.progress.rewinds + 1);
        let none = || run::Error::NoCheckpoint { path: self.run.path().to_path_buf() };
        let (mut saved, faults) = latest(&self.run, &*self.learner.ranks)?.ok_or_else(none)?;
        faults.iter().for_each(|fault| watcher.warning(fault));
        (saved.training_state.evaluations, saved.training_state.seconds) = (spent, seconds);
        saved.training_state.rewinds = rewinds;
        self.restore(&saved)?;
        self.metrics.rewind(self.outer.steps())?;
        self.clock.rewind(self.outer.steps())?;
        self.save(watcher)
    }

    /// Writes a report and a checkpoint with which the step can be repeated. Returns the path of the report.
    fn report(
        &self,
        step: &CompletedStep,
        what: &str,
        norms: &[f64],
        watcher: &mut dyn Watcher,
    ) -> Option<PathBuf> {
        let pending = &step.pending;
        let [report, checkpoint] = self.run.divergence_files(pending.step);
        let number = |value: &f64| if value.is_finite() { json!(value) } else { json!(value.to_string()) };
        let content = json!({
            "step": pending.step,
            "not_finite": what,
            "seed": self.config.seed,
            "episodes": self.episode_numbers(pending.draw).collect::<Vec<u64>>(),
            "coins": pending.draw,
            "losses": step.losses.iter().map(number).collect::<Vec<Value>>(),
            "squared_gradient_norms": norms.iter().map(number).collect::<Vec<Value>>(),
            "rate": pending.rate,
            "estimator": self.outer.estimator().state().values,
            "again": format!(
                "to repeat this step, create a directory with this run's config.toml, its split.json if it has one, and {} as \
                 checkpoints/step-{:08}.safetensors: `metaburn resume` then takes this step next",
                checkpoint.file_name().unwrap_or_default().display(),
                self.outer.steps(),
            ),
        });
        let write = || -> Result<(), Error> {
            let folder = report.parent().unwrap_or(self.run.path());
            std::fs::create_dir_all(folder).map_err(failed("create", folder))?;
            self.write_checkpoint(&checkpoint)?;
            let written = atomic_file::write(&report, &[format!("{content:#}\n").as_bytes()]);
            Ok(written.map_err(failed("write", &report))?)
        };
        match write() {
            Ok(()) => Some(report),
            Err(error) => {
                watcher.warning(&format!("{error}; the diverged step cannot be repeated"));
                None
            }
        }
    }

    /// The numbers of the training episodes of draw `draw`.
    fn episode_numbers(&self, draw: u64) -> Range<u64> {
        episode_numbers(draw, self.config.outer.meta_batch as u64)
    }
}
