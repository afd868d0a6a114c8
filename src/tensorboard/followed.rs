//! A run that is watched, with an event file beside it.

use super::EventFile;
use crate::trainer::{StepRecord, ValidationRecord, Watcher};
use serde::Serialize;
use std::path::Path;

/// Passes all on to another watcher, and writes it to an event file. Where that cannot be written, the watcher is
/// warned once and the run goes on.
pub struct Followed<'a> {
    watcher: &'a mut dyn Watcher,
    file: Option<EventFile>,
    told: bool,
}

impl<'a> Followed<'a> {
    /// Of the run in `run`, whose journals stand where it goes on from.
    pub fn new(run: &Path, watcher: &'a mut dyn Watcher) -> Self {
        let file = EventFile::derive(run);
        let mut followed = Self { watcher, file: None, told: false };
        match file {
            Ok(file) => followed.file = Some(file),
            Err(error) => followed.tell(&error),
        }
        followed
    }

    /// Writes what still waits.
    pub fn end(mut self) {
        if let Some(Err(error)) = self.file.as_mut().map(EventFile::flush) {
            self.tell(&error);
        }
    }

    fn note(&mut self, step: u64, record: &impl Serialize) {
        let Some(file) = &mut self.file else { return };
        let Ok(line) = serde_json::to_value(record) else { return };
        let added = file.add(step, &line);
        if file.is_overfull() {
            self.file = None;
        }
        if let Err(error) = added {
            self.tell(&error);
        }
    }

    fn tell(&mut self, error: &super::Error) {
        if !std::mem::replace(&mut self.told, true) {
            self.watcher.warning(&format!(
                "{error}; training goes on, and `metaburn tensorboard` makes the file anew once the run has ended"
            ));
        }
    }
}

impl Watcher for Followed<'_> {
    fn step(&mut self, record: &StepRecord, progress: f64) {
        self.note(record.step, record);
        self.watcher.step(record, progress);
    }

    fn validation(&mut self, record: &ValidationRecord) {
        self.note(record.step, record);
        self.watcher.validation(record);
    }

    fn warning(&mut self, text: &str) {
        self.watcher.warning(text);
    }

    fn stops(&self) -> bool {
        self.watcher.stops()
    }
}
