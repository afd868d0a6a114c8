//! What a person sees of a run: a bar on a terminal, now and then a line elsewhere. All of it goes
//! to standard error; results alone go to standard output.

use super::exit;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use metaburn::config::{Budget, Config};
use metaburn::trainer::{StepRecord, ValidationRecord, Watcher};
use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Time between lines where there is no terminal.
pub const BETWEEN_LINES: Duration = Duration::from_secs(10);
/// A bar's resolution: shares of a budget, whatever its unit.
pub const PARTS: u64 = 10_000;
/// Weight of the past in the loss that is shown.
const SMOOTHING: f64 = 0.95;

/// Whether a run is being trained, whose step at hand should end before the program does.
static TRAINING: AtomicBool = AtomicBool::new(false);
/// Set by the first Ctrl-C of a run in training.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);
/// The command that takes up the run at hand.
static COMMAND: Mutex<String> = Mutex::new(String::new());

/// Standard error, as a watcher of runs.
pub struct Terminal {
    bar: ProgressBar,
    began: Instant,
    from: f64,
    last_line: Instant,
    loss: Option<f64>,
    accuracy: String,
    unit: String,
}

impl Terminal {
    /// Takes over Ctrl-C: in training the first asks the run to stop, and a second, or any at another
    /// time, ends the program at once.
    pub fn new() -> Self {
        // Fails only where a handler is set already, which is then this one.
        let _ = ctrlc::set_handler(|| {
            if !TRAINING.load(Ordering::SeqCst) || INTERRUPTED.swap(true, Ordering::SeqCst) {
                let command = COMMAND.lock().unwrap_or_else(PoisonError::into_inner);
                if !command.is_empty() {
                    eprintln!("\nthe run is kept; to go on from its latest checkpoint:\n  {command}");
                }
                std::process::exit(i32::from(exit::INTERRUPTED));
            }
            eprintln!("\nfinishing this step; press Ctrl-C again to stop at once and lose it");
        });
        let now = Instant::now();
        Self {
            bar: ProgressBar::hidden(),
            began: now,
            from: 0.0,
            last_line: now,
            loss: None,
            accuracy: String::new(),
            unit: String::new(),
        }
    }

    /// A line that does not disturb the bar.
    pub fn note(&self, text: &str) {
        self.bar.suspend(|| eprintln!("{text}"));
    }

    /// Shows the run of `config`, which begins at `from` of its budget and is resumed by `command`.
    pub fn begin(&mut self, config: &Config, from: f64, command: &str) {
        *COMMAND.lock().unwrap_or_else(PoisonError::into_inner) = command.into();
        TRAINING.store(true, Ordering::SeqCst);
        self.began = Instant::now();
        self.from = from;
        self.unit = match config.outer.budget {
            Budget::Steps(steps) => format!("/{steps}"),
            Budget::Evaluations(evaluations) => format!(" of {evaluations} gradient evaluations"),
        };
        if std::io::stderr().is_terminal() {
            self.bar = ProgressBar::with_draw_target(Some(PARTS), ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("{bar:24} {percent}% {msg}") {
                self.bar.set_style(style);
            }
            self.bar.set_position((from * PARTS as f64) as u64);
        }
    }

    /// Training has ended: takes the bar away.
    pub fn end(&mut self) {
        TRAINING.store(false, Ordering::SeqCst);
        self.bar.finish_and_clear();
        self.bar = ProgressBar::hidden();
    }

    /// A bar that counts to `length`.
    pub fn counter(&self, length: usize, what: &str) -> ProgressBar {
        if !std::io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::new(length as u64);
        if let Ok(style) = ProgressStyle::with_template("{bar:24} {pos}/{len} {msg}, {eta} left") {
            bar.set_style(style);
        }
        bar.with_message(what.to_string())
    }

    /// Seconds until the budget is used up, from the pace so far.
    fn time_left(&self, progress: f64) -> String {
        let done = progress - self.from;
        if done <= 0.0 {
            return "?".into();
        }
        let left = self.began.elapsed().as_secs_f64() * (1.0 - progress).max(0.0) / done;
        duration(left)
    }
}

/// `seconds` as people say it.
pub fn duration(seconds: f64) -> String {
    let (minutes, seconds) = (seconds as u64 / 60, seconds as u64 % 60);
    if minutes > 0 { format!("{minutes} min {seconds:02} s") } else { format!("{seconds} s") }
}

impl Watcher for Terminal {
    fn step(&mut self, record: &StepRecord, progress: f64) {
        // A step that diverged and was skipped has no loss that counts.
        if record.loss.is_finite() {
            let smoothed = |past| SMOOTHING * past + (1.0 - SMOOTHING) * record.loss;
            self.loss = Some(self.loss.map_or(record.loss, smoothed));
        }
        let loss = self.loss.unwrap_or(f64::NAN);
        let left = self.time_left(progress);
        let text = format!("step {}{}, loss {loss:.3}{}, {left} left", record.step, self.unit, self.accuracy);
        if !self.bar.is_hidden() {
            self.bar.set_position((progress * PARTS as f64) as u64);
            self.bar.set_message(text);
        } else if self.last_line.elapsed() >= BETWEEN_LINES {
            self.last_line = Instant::now();
            eprintln!("{text}");
        }
    }

    fn validation(&mut self, record: &ValidationRecord) {
        self.accuracy = format!(
            ", validation {:.1} % ± {:.1} (batch norm {})",
            record.validation_accuracy, record.ci95, record.batch_norm
        );
        if self.bar.is_hidden() {
            eprintln!(
                "step {}: validation accuracy {:.2} % ± {:.2} (batch norm {})",
                record.step, record.validation_accuracy, record.ci95, record.batch_norm
            );
        }
    }

    fn warning(&mut self, text: &str) {
        self.note(&format!("warning: {text}"));
    }

    fn stops(&self) -> bool {
        INTERRUPTED.load(Ordering::SeqCst)
    }
}
