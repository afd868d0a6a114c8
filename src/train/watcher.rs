//! Observing a run while it trains.

use crate::run::{StepRecord, ValidationRecord};

/// Receives the events of a run. Every method has a default that does nothing.
pub trait Watcher {
    /// Called while image files are decoded: `done` of `all` are.
    fn loading(&mut self, _done: usize, _all: usize) {}
    /// Called after an outer step; `progress` is the share of the budget used, 0 to 1.
    fn step(&mut self, _record: &StepRecord, _progress: f64) {}
    /// Called after a validation.
    fn validation(&mut self, _record: &ValidationRecord) {}
    /// Called with an informational message.
    fn note(&mut self, _text: &str) {}
    /// Called with a problem that does not stop the run.
    fn warning(&mut self, _text: &str) {}
    /// Whether training should stop after the current step.
    fn stops(&self) -> bool {
        false
    }
}
