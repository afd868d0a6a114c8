//! Outer steps that are not finite: taken back, taken again without the tasks at fault, or else skipped,
//! replayed from a checkpoint with other draws, or the end of the run.
//!
//! An inner loop that blows up makes one task's loss or gradient infinite, and with it the meta-batch's
//! mean. Leaving that task out changes what is estimated: the mean over tasks that stay finite. So each is
//! counted and named in the metrics.

use super::flight::Landed;
use super::gallery::members;
use super::optimizer::OuterOptimizer;
use super::run_dir::failed;
use super::{Error, Trainer, Watcher};
use crate::config::OnDivergence;
use crate::host::{host, host_together};
use crate::hypergradient::Evaluations;
use crate::interval::mean;
use crate::stack::Stack;
use crate::whole;
use serde_json::{Value, json};
use std::ops::Range;
use std::path::PathBuf;

/// Where a run stood before an outer step.
pub struct Before {
    pub theta: Stack,
    pub optimizer: Box<dyn OuterOptimizer>,
    pub evaluations: Evaluations,
}

/// How a run goes on after a step that was not finite.
pub enum Turn {
    /// With the next step; what was drawn ahead holds no more.
    Onward,
    /// From the checkpoint that it went back to.
    Back,
}

impl Trainer {
    /// Takes back the step in `landed`, of which `what` is not finite, and does about it what the
    /// configuration says.
    ///
    /// # Errors
    /// [`Error::Diverged`] if the run is to stop, or there is no checkpoint to go back to.
    pub(super) fn recover(
        &mut self,
        mut landed: Landed,
        what: &'static str,
        watcher: &mut dyn Watcher,
    ) -> Result<Turn, Error> {
        let step = landed.flight.record.step;
        let spent = landed.flight.spent;
        self.take_back(&landed);
        let norms = host(landed.flight.estimates.clone().squared_norm());
        if self.config.divergence.drop_tasks && self.leave_out(&mut landed, &norms) {
            self.standing.step = step;
            self.standing.evaluations += spent;
            self.warn_of_dropped(&landed, watcher);
            self.record(&landed, watcher)?;
            return Ok(Turn::Onward);
        }
        let report = self.report(&landed, what, &norms, watcher);
        let diverged = Error::Diverged { step, what, report };
        match self.config.divergence.action {
            OnDivergence::Skip { most } if self.standing.skipped_steps < most as u64 => {
                self.standing.step = step;
                self.standing.evaluations += spent;
                self.standing.skipped_steps += 1;
                landed.flight.record.skipped_steps = self.standing.skipped_steps;
                watcher.warning(&format!("outer step {step} is skipped: {what} is not finite"));
                self.record(&landed, watcher)?;
                Ok(Turn::Onward)
            }
            OnDivergence::Rewind { most } if self.standing.rewinds < most as u64 => {
                self.standing.evaluations += spent;
                self.rewind(watcher)?;
                let from = self.standing.step;
                watcher.warning(&format!(
                    "outer step {step} diverged: {what} is not finite; going on after outer step {from} with other \
                     episodes"
                ));
                Ok(Turn::Back)
            }
            _ => Err(diverged),
        }
    }

    /// θ, the optimiser and the count of steps as they were before the step.
    fn take_back(&mut self, landed: &Landed) {
        let before = &landed.flight.before;
        self.theta = before.theta.clone();
        self.optimizer = before.optimizer.duplicate();
        self.standing.step = landed.flight.record.step - 1;
        self.standing.evaluations = before.evaluations;
    }

    /// Takes the step again with the tasks alone whose loss and gradient are finite, if there are such tasks
    /// and others; whether that went well. If not, nothing has changed.
    fn leave_out(&mut self, landed: &mut Landed, norms: &[f64]) -> bool {
        let tasks = landed.losses.len();
        let sound: Vec<usize> =
            (0..tasks).filter(|task| landed.losses[*task].is_finite() && norms[*task].is_finite()).collect();
        if sound.is_empty() || sound.len() == tasks {
            return false;
        }
        let estimates = landed.flight.estimates.select(&sound);
        let gradient = self.descend(estimates, landed.flight.record.rate);
        let seen = host_together(vec![gradient, self.theta.clone().squared_norm()]).concat();
        let losses: Vec<f64> = sound.iter().map(|task| landed.losses[*task]).collect();
        landed.flight.fill_in(mean(&losses), seen[0]);
        landed.weights = seen[1];
        // What the law would learn of the others is not finite either.
        landed.flight.lesson = None;
        let first = self.episodes(landed.flight.draw).start;
        let dropped = (0..tasks).filter(|task| !sound.contains(task));
        landed.flight.record.dropped_episodes = dropped.map(|task| first + task as u64).collect();
        let went_well = landed.fault().is_none();
        if !went_well {
            self.take_back(landed);
        }
        went_well
    }

    /// Says so the first time; the metrics have them all.
    fn warn_of_dropped(&mut self, landed: &Landed, watcher: &mut dyn Watcher) {
        if std::mem::replace(&mut self.told_of_dropped, true) {
            return;
        }
        let record = &landed.flight.record;
        watcher.warning(&format!(
            "outer step {}: {} of {} tasks left out, since their loss or gradient is not finite; further ones are in \
             metrics.jsonl as dropped_episodes. A lower inner.rate makes them rarer",
            record.step,
            record.dropped_episodes.len(),
            landed.losses.len(),
        ));
    }

    /// Takes the run up at its latest sound checkpoint, with draws that it has not had yet.
    fn rewind(&mut self, watcher: &mut dyn Watcher) -> Result<(), Error> {
        let (spent, seconds, rewinds) =
            (self.standing.evaluations, self.standing.seconds, self.standing.rewinds + 1);
        let none = || Error::NoCheckpoint { path: self.run.path().to_path_buf() };
        let (saved, faults) = self.run.latest()?.ok_or_else(none)?;
        faults.iter().for_each(|fault| watcher.warning(fault));
        self.take_up(&saved)?;
        // What was spent is spent.
        (self.standing.evaluations, self.standing.seconds) = (spent, seconds);
        self.standing.rewinds = rewinds;
        self.metrics.rewind(self.standing.step)?;
        self.clock.rewind(self.standing.step)?;
        self.save(watcher);
        Ok(())
    }

    /// Writes what is needed to take the step again; where that was written.
    fn report(
        &self,
        landed: &Landed,
        what: &str,
        norms: &[f64],
        watcher: &mut dyn Watcher,
    ) -> Option<PathBuf> {
        let record = &landed.flight.record;
        let [report, checkpoint] = self.run.divergence_files(record.step);
        let number = |value: &f64| if value.is_finite() { json!(value) } else { json!(value.to_string()) };
        let told = json!({
            "step": record.step,
            "not_finite": what,
            "seed": self.config.seed,
            "episodes": self.episodes(landed.flight.draw).collect::<Vec<u64>>(),
            "coins": landed.flight.draw,
            "losses": landed.losses.iter().map(number).collect::<Vec<Value>>(),
            "squared_gradient_norms": norms.iter().map(number).collect::<Vec<Value>>(),
            "rate": record.rate,
            "estimator": self.estimator.state().values,
            "again": format!(
                "a directory with this run's config.toml, and with {} as checkpoints/step-{:08}.safetensors, is a \
                 run whose next step is this one: `metaburn resume` takes it",
                checkpoint.file_name().unwrap_or_default().display(),
                self.standing.step,
            ),
        });
        let write = || -> Result<(), Error> {
            let folder = report.parent().unwrap_or(self.run.path());
            std::fs::create_dir_all(folder).map_err(failed("create", folder))?;
            self.write_checkpoint(&checkpoint)?;
            whole::write(&report, &[format!("{told:#}\n").as_bytes()]).map_err(failed("write", &report))
        };
        match write() {
            Ok(()) => Some(report),
            Err(error) => {
                watcher.warning(&format!("{error}; so the step that diverged cannot be taken again"));
                None
            }
        }
    }

    /// The numbers of the training episodes of draw number `draw`.
    fn episodes(&self, draw: u64) -> Range<u64> {
        members(draw, self.config.outer.meta_batch as u64)
    }
}
