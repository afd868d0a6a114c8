//! Shows how many of a known number of things are done, and the time left: a bar on a terminal, otherwise a line every ten
//! seconds.

use super::super::output::say;
use super::{BETWEEN_LINES, Progress, styled, time_left};
use indicatif::ProgressBar;
use std::time::Instant;

/// How many of a known number of things are done.
pub struct Counter {
    view: View,
    length: usize,
    what: &'static str,
    began: Instant,
}

enum View {
    Nothing,
    /// Lines, with the time of the last one.
    Lines(Instant),
    Bar(ProgressBar),
}

impl Counter {
    pub(super) fn new(progress: Progress, length: usize, what: &'static str) -> Self {
        let began = Instant::now();
        let view = match progress {
            Progress::None => View::Nothing,
            Progress::Plain => View::Lines(began),
            Progress::Bar | Progress::Dashboard => {
                let bar = ProgressBar::new(length as u64);
                View::Bar(styled(bar, "{bar:24} {pos}/{len} {wide_msg}").with_message(what))
            }
        };
        Self { view, length, what, began }
    }

    /// Shows that `done` are done, at least one.
    pub fn set(&mut self, done: usize) {
        let Self { length, what, began, .. } = *self;
        let left = || time_left(began, length.saturating_sub(done) as f64 / done.max(1) as f64);
        match &mut self.view {
            View::Nothing => {}
            View::Lines(last) => {
                if last.elapsed() >= BETWEEN_LINES {
                    *last = Instant::now();
                    say(format_args!("{done}/{length} {what}, {} left", left()));
                }
            }
            View::Bar(bar) => {
                bar.set_position(done as u64);
                bar.set_message(format!("{what}, {} left", left()));
            }
        }
    }

    /// Removes the bar.
    pub fn finish(self) {
        if let View::Bar(bar) = self.view {
            bar.finish_and_clear();
        }
    }
}
