//! What a person sees of a run: Burn's dashboard or a bar on a terminal, now and then a line elsewhere. All of it
//! but the dashboard goes to standard error; results alone go to standard output.

#[cfg(all(unix, feature = "dashboard"))]
mod dashboard;
#[cfg(not(all(unix, feature = "dashboard")))]
#[path = "no_dashboard.rs"]
mod dashboard;
mod signals;
#[cfg(all(unix, feature = "dashboard"))]
mod whole_screen;

use clap::{Args, ValueEnum};
use dashboard::Dashboard;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use metaburn::config::{Budget, Config};
use metaburn::trainer::{StepRecord, ValidationRecord, Watcher};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Time between lines where there is no terminal.
pub const BETWEEN_LINES: Duration = Duration::from_secs(10);
/// A bar's resolution: shares of a budget, whatever its unit.
pub const PARTS: u64 = 10_000;
/// Weight of the past in the loss that is shown.
const SMOOTHING: f64 = 0.95;

/// How progress is shown.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Progress {
    /// Burn's training dashboard: every number as a curve
    Dashboard,
    /// One line with a bar, and time left
    Bar,
    /// A line every ten seconds
    Plain,
    /// Nothing but warnings
    None,
}

/// The flag of commands that train.
#[derive(Args)]
pub struct Shown {
    /// How to show progress; without it, the dashboard on a terminal that is large enough and not told NO_COLOR, a bar
    /// on another, plain lines elsewhere
    #[arg(long, value_enum, value_name = "HOW")]
    progress: Option<Progress>,
}

impl Shown {
    /// Standard error, showing progress as asked.
    ///
    /// # Errors
    /// If a dashboard was asked for where none can be.
    pub fn terminal(&self) -> Result<Terminal, String> {
        match (self.progress, dashboard::hindrance()) {
            (Some(Progress::Dashboard), Some(hindrance)) => {
                Err(format!("--progress dashboard {hindrance}; choose --progress bar or plain"))
            }
            (progress, _) => Ok(Terminal::showing(progress.unwrap_or_else(usual))),
        }
    }
}

impl Progress {
    /// In a sentence of its own.
    pub fn described(self) -> &'static str {
        match self {
            Self::Dashboard => "training is shown as a dashboard",
            Self::Bar => "training is shown as a bar",
            Self::Plain => "training is told in lines",
            Self::None => "training is not shown",
        }
    }
}

/// How training is shown here, where nobody said. The dashboard tells its curves apart by colour.
pub fn usual() -> Progress {
    match bar_or_lines() {
        Progress::Bar if !told("NO_COLOR") && dashboard::hindrance().is_none() => Progress::Dashboard,
        other => other,
    }
}

/// The same for what has no curves.
fn bar_or_lines() -> Progress {
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    if std::io::stderr().is_terminal() && !is_dumb { Progress::Bar } else { Progress::Plain }
}

/// Whether an environment variable is there and not empty.
fn told(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| !value.is_empty())
}

/// Standard error, as a watcher of runs.
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
    /// What could not be said while a dashboard had the screen.
    unsaid: Vec<String>,
}

/// What shows a run that is trained.
enum View {
    Nothing,
    /// When the last line was written.
    Lines(Instant),
    Bar(ProgressBar),
    Dashboard(Box<Dashboard>),
}

impl Terminal {
    /// Takes over Ctrl-C, and shows what becomes of standard error: a bar on a terminal, lines elsewhere.
    pub fn new() -> Self {
        Self::showing(bar_or_lines())
    }

    fn showing(progress: Progress) -> Self {
        signals::take_over();
        Self {
            progress,
            view: View::Nothing,
            began: Instant::now(),
            from: 0.0,
            loss: None,
            accuracy: String::new(),
            unit: String::new(),
            step: 0,
            unsaid: Vec::new(),
        }
    }

    /// A line about what is done, for whoever wants to know.
    pub fn note(&mut self, text: &str) {
        if self.progress != Progress::None {
            self.say(text.into());
        }
    }

    /// A line that does not disturb what is shown.
    fn say(&mut self, text: String) {
        match &self.view {
            View::Bar(bar) => bar.suspend(|| eprintln!("{text}")),
            View::Dashboard(_) => self.unsaid.push(text),
            View::Lines(_) | View::Nothing => eprintln!("{text}"),
        }
    }

    /// Shows the run of `config`, which begins at `from` of its budget and is resumed by `command`.
    pub fn begin(&mut self, config: &Config, from: f64, command: &str) {
        signals::training(command);
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

    /// Training has ended: what was shown goes, and the line about where the run stands is left.
    pub fn end(&mut self) {
        signals::trained();
        match std::mem::replace(&mut self.view, View::Nothing) {
            View::Nothing => return,
            View::Bar(bar) => bar.finish_and_clear(),
            // Dropped, it gives the screen back.
            View::Lines(_) | View::Dashboard(_) => {}
        }
        self.unsaid.drain(..).for_each(|text| eprintln!("{text}"));
        if self.step > 0 {
            eprintln!("{}", self.stands());
        }
    }

    /// Where the run stands, in a line.
    fn stands(&self) -> String {
        let loss = self.loss.unwrap_or(f64::NAN);
        format!("step {}{}, loss {loss:.3}{}", self.step, self.unit, self.accuracy)
    }

    /// A bar that counts to `length`.
    pub fn counter(&self, length: usize, what: &str) -> ProgressBar {
        if matches!(self.progress, Progress::Plain | Progress::None) {
            return ProgressBar::hidden();
        }
        styled(ProgressBar::new(length as u64), "{bar:24} {pos}/{len} {wide_msg}")
            .with_message(what.to_string())
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

/// A bar of shares, whose message is cut off where the terminal ends.
pub fn share_bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(PARTS), ProgressDrawTarget::stderr());
    styled(bar, "{bar:24} {percent}% {wide_msg}")
}

/// A bar for a run that stands at `from` of its budget.
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
        self.step = record.step;
        let (stands, left) = (self.stands(), self.time_left(progress));
        match &mut self.view {
            View::Nothing => {}
            View::Lines(last) => {
                if last.elapsed() >= BETWEEN_LINES {
                    *last = Instant::now();
                    eprintln!("{stands}, {left} left");
                }
            }
            View::Bar(bar) => {
                bar.set_position((progress * PARTS as f64) as u64);
                bar.set_message(format!("{left} left, {stands}"));
            }
            View::Dashboard(dashboard) => dashboard.step(record),
        }
    }

    fn validation(&mut self, record: &ValidationRecord) {
        self.accuracy = format!(
            ", validation {:.1} % ± {:.1} (batch norm {})",
            record.validation_accuracy, record.ci95, record.batch_norm
        );
        match &mut self.view {
            View::Nothing | View::Bar(_) => {}
            View::Lines(_) => eprintln!(
                "step {}: validation accuracy {:.2} % ± {:.2} (batch norm {})",
                record.step, record.validation_accuracy, record.ci95, record.batch_norm
            ),
            View::Dashboard(dashboard) => dashboard.validation(record),
        }
    }

    fn warning(&mut self, text: &str) {
        if let View::Dashboard(dashboard) = &mut self.view {
            dashboard.warned();
        }
        self.say(format!("warning: {text}"));
    }

    fn stops(&self) -> bool {
        let asked = match &self.view {
            View::Dashboard(dashboard) if dashboard.is_killed() => signals::stop_at_once(),
            View::Dashboard(dashboard) => dashboard.stops(),
            _ => false,
        };
        asked || signals::interrupted()
    }
}
