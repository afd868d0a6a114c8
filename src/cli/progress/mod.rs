//! Shows the progress of a run: Burn's dashboard or a bar on a terminal, otherwise a line every ten seconds. All of it
//! but the dashboard goes to standard error; standard output is for results.

mod counter;
#[cfg(all(unix, feature = "dashboard"))]
mod dashboard;
#[cfg(not(all(unix, feature = "dashboard")))]
#[path = "no_dashboard.rs"]
mod dashboard;
mod pace;
mod signals;
#[cfg(all(unix, feature = "dashboard"))]
mod whole_screen;

pub use counter::Counter;
pub use pace::Pace;

use super::output::say;
use bilevel::Budget;
use bilevel::ranks::Ranks;
use clap::{Args, ValueEnum};
use dashboard::Dashboard;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use metaburn::config::Config;
use metaburn::run::{StepRecord, ValidationRecord};
use metaburn::train::Watcher;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Time between lines without a terminal.
pub const BETWEEN_LINES: Duration = Duration::from_secs(10);
/// Resolution of a bar, in parts of the budget.
pub const PARTS: u64 = 10_000;
/// Decay of the moving average of the loss that is shown.
const SMOOTHING: f64 = 0.95;

/// How progress is shown.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Progress {
    /// Burn's training dashboard, with a curve for every metric
    Dashboard,
    /// A progress bar with the time left
    Bar,
    /// A line every ten seconds
    Plain,
    /// Warnings only
    None,
}

/// The progress flag of the commands that train.
#[derive(Args)]
pub struct ProgressOption {
    /// How to show progress [default: a dashboard on a large enough terminal unless NO_COLOR is set, a bar on any other
    /// terminal, plain lines otherwise]
    #[arg(long, value_enum, value_name = "HOW")]
    progress: Option<Progress>,
}

impl ProgressOption {
    /// The terminal, showing progress as chosen.
    ///
    /// # Errors
    /// Returns an error if the dashboard was chosen but cannot be shown.
    pub fn terminal(&self) -> Result<Terminal, String> {
        match (self.progress, dashboard::obstacle()) {
            (Some(Progress::Dashboard), Some(obstacle)) => {
                Err(format!("--progress dashboard {obstacle}; choose --progress bar or plain"))
            }
            (progress, _) => Ok(Terminal::showing(progress.unwrap_or_else(default_progress))),
        }
    }
}

impl ProgressOption {
    /// The same for one of several ranks: rank 0 shows progress for all.
    ///
    /// # Errors
    /// Returns an error in the cases of [`Self::terminal`].
    pub fn terminal_of(&self, ranks: &dyn Ranks) -> Result<Terminal, String> {
        if ranks.rank() == 0 { self.terminal() } else { Ok(Terminal::showing(Progress::None)) }
    }
}

impl Progress {
    /// A sentence that describes it.
    pub fn description(self) -> &'static str {
        match self {
            Self::Dashboard => "training is shown as a dashboard",
            Self::Bar => "training is shown as a bar",
            Self::Plain => "training is shown as plain lines",
            Self::None => "training is not shown",
        }
    }
}

/// How training is shown by default. The dashboard needs colours to distinguish its curves.
pub fn default_progress() -> Progress {
    match bar_or_lines() {
        Progress::Bar if !is_set("NO_COLOR") && dashboard::obstacle().is_none() => Progress::Dashboard,
        other => other,
    }
}

/// A bar on a terminal, otherwise plain lines.
fn bar_or_lines() -> Progress {
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    if std::io::stderr().is_terminal() && !is_dumb { Progress::Bar } else { Progress::Plain }
}

/// Whether an environment variable is set and not empty.
fn is_set(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| !value.is_empty())
}

/// Shows a run on standard error.
pub struct Terminal {
    progress: Progress,
    view: View,
    began: Instant,
    from: f64,
    loss: Option<f64>,
    accuracy: String,
    unit: String,
    /// The last outer step that was shown.
    step: u64,
    /// Messages held back while the dashboard is shown.
    held_back: Vec<String>,
    /// Counts image files while they are decoded.
    decoding: Option<Counter>,
}

/// The progress display.
enum View {
    Nothing,
    /// Lines, with the time of the last one.
    Lines(Instant),
    Bar(ProgressBar),
    Dashboard(Box<Dashboard>),
}

impl Terminal {
    /// Installs the Ctrl-C handler, and shows progress as a bar on a terminal, otherwise as lines.
    pub fn new() -> Self {
        Self::showing(bar_or_lines())
    }

    fn showing(progress: Progress) -> Self {
        signals::install();
        Self {
            progress,
            view: View::Nothing,
            began: Instant::now(),
            from: 0.0,
            loss: None,
            accuracy: String::new(),
            unit: String::new(),
            step: 0,
            held_back: Vec::new(),
            decoding: None,
        }
    }

    /// Prints a line, unless progress is not shown.
    pub fn note(&mut self, text: &str) {
        if self.progress != Progress::None {
            self.print(text.into());
        }
    }

    /// Prints a line without disturbing the display.
    fn print(&mut self, text: String) {
        match &self.view {
            View::Bar(bar) => bar.suspend(|| say(text)),
            View::Dashboard(_) => self.held_back.push(text),
            View::Lines(_) | View::Nothing => say(text),
        }
    }

    /// Starts to show the run of `config`, which starts at the share `from` of its budget and is resumed by `command`.
    pub fn begin(&mut self, config: &Config, from: f64, command: &str) {
        signals::begin_training(command);
        self.began = Instant::now();
        self.from = from;
        self.unit = match config.outer.budget {
            Budget::Steps(steps) => format!("/{steps}"),
            Budget::Evaluations(evaluations) => format!(" of {evaluations} gradient evaluations"),
        };
        self.view = match self.progress {
            Progress::None => View::Nothing,
            Progress::Plain => View::Lines(self.began),
            Progress::Bar => bar(from),
            Progress::Dashboard => Dashboard::open(config)
                .map_or_else(|| bar(from), |dashboard| View::Dashboard(Box::new(dashboard))),
        };
    }

    /// Ends the display, leaving a line with the state of the run.
    pub fn end(&mut self) {
        signals::end_training();
        match std::mem::replace(&mut self.view, View::Nothing) {
            View::Nothing => return,
            View::Bar(bar) => bar.finish_and_clear(),
            // Dropping the dashboard restores the screen.
            View::Lines(_) | View::Dashboard(_) => {}
        }
        self.held_back.drain(..).for_each(say);
        if self.step > 0 {
            say(self.status());
        }
    }

    /// The state of the run in one line.
    fn status(&self) -> String {
        let loss = self.loss.unwrap_or(f64::NAN);
        format!("step {}{}, loss {loss:.3}{}", self.step, self.unit, self.accuracy)
    }

    /// Counts to `length` of `what`.
    pub fn counter(&self, length: usize, what: &'static str) -> Counter {
        Counter::new(self.progress, length, what)
    }

    /// Time until the budget is used up, at the pace so far.
    fn time_left(&self, progress: f64) -> String {
        let done = progress - self.from;
        if done <= 0.0 {
            return "?".into();
        }
        time_left(self.began, (1.0 - progress).max(0.0) / done)
    }
}

/// Time left if `ratio` of what was done since `began` remains.
fn time_left(began: Instant, ratio: f64) -> String {
    duration(began.elapsed().as_secs_f64() * ratio)
}

/// A bar in parts of the budget, whose message is cut off at the edge of the terminal.
pub fn share_bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(PARTS), ProgressDrawTarget::stderr());
    styled(bar, "{bar:24} {percent}% {wide_msg}")
}

/// A bar for a run that starts at the share `from` of its budget.
fn bar(from: f64) -> View {
    let bar = share_bar();
    bar.set_position((from * PARTS as f64) as u64);
    View::Bar(bar)
}

fn styled(bar: ProgressBar, template: &str) -> ProgressBar {
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// `seconds` as text, in the two largest units that it reaches.
pub fn duration(seconds: f64) -> String {
    let all = seconds as u64;
    let (days, hours, minutes, seconds) = (all / 86_400, all / 3600 % 24, all / 60 % 60, all % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {seconds:02} s"),
        (0, _, _) => format!("{hours} h {minutes:02} min"),
        _ => format!("{days} d {hours:02} h"),
    }
}

impl Watcher for Terminal {
    fn note(&mut self, text: &str) {
        Self::note(self, text);
    }

    fn loading(&mut self, done: usize, all: usize) {
        let progress = self.progress;
        let counter = self.decoding.get_or_insert_with(|| Counter::new(progress, all, "images decoded"));
        counter.set(done);
        if done == all
            && let Some(counter) = self.decoding.take()
        {
            counter.finish();
        }
    }

    fn step(&mut self, record: &StepRecord, progress: f64) {
        // The loss of a diverged, skipped step is not averaged.
        if record.loss.is_finite() {
            let smoothed = |past| SMOOTHING * past + (1.0 - SMOOTHING) * record.loss;
            self.loss = Some(self.loss.map_or(record.loss, smoothed));
        }
        self.step = record.step;
        let (status, left) = (self.status(), self.time_left(progress));
        match &mut self.view {
            View::Nothing => {}
            View::Lines(last) => {
                if last.elapsed() >= BETWEEN_LINES {
                    *last = Instant::now();
                    say(format_args!("{status}, {left} left"));
                }
            }
            View::Bar(bar) => {
                bar.set_position((progress * PARTS as f64) as u64);
                bar.set_message(format!("{left} left, {status}"));
            }
            View::Dashboard(dashboard) => dashboard.step(record),
        }
    }

    fn validation(&mut self, record: &ValidationRecord) {
        let ValidationRecord { step, validation_loss: loss, ci95, .. } = record;
        let diverged = match record.diverged_episodes {
            0 => None,
            some => Some(format!("{some} of {} episodes diverged", record.episodes)),
        };
        let (what, value, unit, places, how) = match record.validation_accuracy {
            Some(accuracy) => {
                ("accuracy", accuracy, " %", [1, 2], Some(format!("batch norm {}", record.batch_norm)))
            }
            None => ("error", *loss, "", [3, 4], None),
        };
        let how: Vec<String> = how.into_iter().chain(diverged).collect();
        let how = if how.is_empty() { String::new() } else { format!(" ({})", how.join("; ")) };
        let [short, long] = places.map(|places| format!("{value:.places$}{unit} ± {ci95:.places$}{how}"));
        self.accuracy = match value.is_finite() {
            true => format!(", validation {short}"),
            false => format!(", no validation {what}{how}"),
        };
        match &mut self.view {
            View::Nothing | View::Bar(_) => {}
            View::Lines(_) if value.is_finite() => say(format_args!("step {step}: validation {what} {long}")),
            View::Lines(_) => say(format_args!("step {step}: no validation {what}{how}")),
            View::Dashboard(dashboard) => dashboard.validation(record),
        }
    }

    fn warning(&mut self, text: &str) {
        if let View::Dashboard(dashboard) = &mut self.view {
            dashboard.warned();
        }
        self.print(format!("warning: {text}"));
    }

    fn stops(&self) -> bool {
        let requested = match &self.view {
            View::Dashboard(dashboard) if dashboard.is_killed() => signals::stop_at_once(),
            View::Dashboard(dashboard) => dashboard.stops(),
            _ => false,
        };
        requested || signals::interrupted()
    }
}

#[cfg(test)]
mod tests {
    use super::duration;

    #[test]
    fn durations_have_the_two_largest_units() {
        for (seconds, text) in [
            (0.4, "0 s"),
            (59.9, "59 s"),
            (60.0, "1 min 00 s"),
            (3599.0, "59 min 59 s"),
            (11_100.0, "3 h 05 min"),
            (86_399.0, "23 h 59 min"),
            (93_600.0, "1 d 02 h"),
            (1e6, "11 d 13 h"),
        ] {
            assert_eq!(duration(seconds), text, "{seconds}");
        }
    }
}
