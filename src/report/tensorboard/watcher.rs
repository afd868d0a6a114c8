//! Writes an event file while a run trains.

use super::EventFile;
use crate::run::{Record, RunDir, StepRecord, ValidationRecord};
use crate::train::Watcher;

/// Forwards every call to another watcher, and adds each record to an event file. If the file cannot be written,
/// the other watcher gets one warning and the run continues.
pub struct EventWatcher<'a> {
    watcher: &'a mut dyn Watcher,
    file: Option<EventFile>,
    warned: bool,
}

impl<'a> EventWatcher<'a> {
    /// Derives an event file from the metrics of `run` so far, and forwards to `watcher`.
    pub fn new(run: &RunDir, watcher: &'a mut dyn Watcher) -> Self {
        let mut events = Self { watcher, file: None, warned: false };
        match EventFile::derive(run) {
            Ok(file) => events.file = Some(file),
            Err(error) => events.warn(&error),
        }
        events
    }

    /// Writes the records that still wait in memory.
    pub fn finish(mut self) {
        if let Some(Err(error)) = self.file.as_mut().map(EventFile::flush) {
            self.warn(&error);
        }
    }

    fn add(&mut self, record: &Record) {
        let Some(file) = &mut self.file else { return };
        let added = file.add(record);
        if file.is_overfull() {
            self.file = None;
        }
        if let Err(error) = added {
            self.warn(&error);
        }
    }

    fn warn(&mut self, error: &super::Error) {
        if !std::mem::replace(&mut self.warned, true) {
            self.watcher.warning(&format!(
                "{error}; training continues, and `metaburn tensorboard` writes the file again after the run has ended"
            ));
        }
    }
}

impl Watcher for EventWatcher<'_> {
    fn loading(&mut self, done: usize, all: usize) {
        self.watcher.loading(done, all);
    }

    fn step(&mut self, record: &StepRecord, progress: f64) {
        self.add(&Record::Step(record.clone()));
        self.watcher.step(record, progress);
    }

    fn validation(&mut self, record: &ValidationRecord) {
        self.add(&Record::Validation(record.clone()));
        self.watcher.validation(record);
    }

    fn note(&mut self, text: &str) {
        self.watcher.note(text);
    }

    fn warning(&mut self, text: &str) {
        self.watcher.warning(text);
    }

    fn stops(&self) -> bool {
        self.watcher.stops()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Remembers what it is told in words.
    #[derive(Default)]
    struct Told(Vec<String>);

    impl Watcher for Told {
        fn loading(&mut self, done: usize, all: usize) {
            self.0.push(format!("{done} of {all}"));
        }

        fn note(&mut self, text: &str) {
            self.0.push(text.into());
        }

        fn warning(&mut self, text: &str) {
            self.0.push(format!("warning: {text}"));
        }
    }

    #[test]
    fn what_is_no_record_is_forwarded() {
        let mut told = Told::default();
        let mut events = EventWatcher { watcher: &mut told, file: None, warned: false };
        events.loading(1, 2);
        events.note("a note");
        events.warning("a warning");
        assert!(!events.stops());
        assert_eq!(told.0, ["1 of 2", "a note", "warning: a warning"]);
    }
}
