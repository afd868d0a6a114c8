//! Burn's training dashboard, fed by the outer loop: time left and a curve per metric, drawn by a separate thread on the
//! terminal's alternate screen.

use super::whole_screen::{self, ScreenGuard};
use bilevel::Budget;
use bilevel::panics::catch;
use bilevel::stats::mean;
use burn_train::Interrupter;
use burn_train::logger::TrainingProgressLogger;
use burn_train::metric::{
    MetricDefinition, MetricEntry, MetricId, NumericAttributes, NumericEntry, SerializedEntry,
};
use burn_train::renderer::tui::TuiMetricsRendererWrapper;
use burn_train::renderer::{MetricState, MetricsRenderer, MetricsRendererTraining};
use metaburn::config::Config;
use metaburn::run::{StepRecord, ValidationRecord};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Shortest time between two points of a curve.
const BETWEEN_POINTS: Duration = Duration::from_millis(20);
/// Time over which the pace is measured.
const PACE_INTERVAL: Duration = Duration::from_secs(1);
/// Columns and rows below which the panes overlap.
const SMALLEST: (u16, u16) = (80, 24);

pub use whole_screen::{is_shown, leave};

/// Why the dashboard cannot be shown here, as the end of a sentence; `None` if it can.
pub fn obstacle() -> Option<String> {
    let (columns, rows) = SMALLEST;
    match whole_screen::size() {
        None => Some("requires a terminal as standard input, output and error".into()),
        Some((wide, high)) if wide < columns || high < rows => Some(format!(
            "requires a terminal of at least {columns} × {rows} characters; this one has {wide} × {high}"
        )),
        Some(_) => None,
    }
}

/// The dashboard, shown until dropped.
pub struct Dashboard {
    renderer: TuiMetricsRendererWrapper,
    interrupter: Interrupter,
    budget: Budget,
    known: BTreeSet<String>,
    tasks: usize,
    is_killed: bool,
    drawn: Option<Instant>,
    /// When the pace was last measured, and the outer step at that time.
    paced: Option<(Instant, u64)>,
    /// Declared last, so that the screen is restored after the renderer is dropped.
    _screen: ScreenGuard,
}

/// A metric for the dashboard.
struct Metric<'a> {
    name: &'a str,
    value: f64,
    text: String,
    unit: Option<&'a str>,
    more_is_better: bool,
}

impl<'a> Metric<'a> {
    fn new(name: &'a str, value: f64, text: String) -> Self {
        Self { name, value, text, unit: None, more_is_better: false }
    }

    fn accuracy(value: f64, text: String) -> Self {
        Self { unit: Some("%"), more_is_better: true, ..Self::new("Accuracy", value, text) }
    }

    /// What a run with or without images is validated by, before its first validation.
    fn of_validation(has_images: bool) -> Self {
        let text = "none yet".into();
        if has_images { Self::accuracy(f64::NAN, text) } else { Self::new("Error", f64::NAN, text) }
    }
}

/// The value of a number, or the mean of a list of numbers, such as one for each inner step.
fn number(value: &Value) -> Option<f64> {
    let Some(values) = value.as_array() else { return value.as_f64() };
    let values: Option<Vec<f64>> = values.iter().map(Value::as_f64).collect();
    values.filter(|values| !values.is_empty()).map(|values| mean(&values))
}

impl Dashboard {
    /// Shows the dashboard for the run of `config`.
    pub fn open(config: &Config) -> Option<Self> {
        let screen = ScreenGuard::enter();
        let interrupter = Interrupter::new();
        let mut renderer = TuiMetricsRendererWrapper::new(interrupter.clone(), None);
        let (Budget::Steps(items) | Budget::Evaluations(items)) = config.outer.budget;
        // A run is one epoch.
        renderer.start(1, 0, Some(items as usize), Some(&config.estimator.to_string()));
        renderer.update_epoch(0);
        renderer.start_split("train", items as usize);
        screen.keep_ctrl_c();
        let mut dashboard = Self {
            renderer,
            interrupter,
            budget: config.outer.budget,
            known: BTreeSet::new(),
            tasks: config.outer.meta_batch,
            is_killed: false,
            drawn: None,
            paced: None,
            _screen: screen,
        };
        // Metrics are listed in the order of their first values, and a small terminal cuts off the last.
        dashboard.draw(|dashboard| {
            let loss = dashboard.state(Metric::new("Loss", f64::NAN, "none yet".into()));
            dashboard.renderer.update_train(loss);
            let validation = dashboard.state(Metric::of_validation(config.data.is_some()));
            dashboard.renderer.update_valid(validation);
        });
        Some(dashboard)
    }

    /// Shows an outer step.
    pub fn step(&mut self, record: &StepRecord) {
        let now = Instant::now();
        if self.drawn.is_some_and(|drawn| now - drawn < BETWEEN_POINTS) {
            return;
        }
        self.drawn = Some(now);
        let done = match self.budget {
            Budget::Steps(_) => record.step,
            Budget::Evaluations(most) => record.gradient_evaluations.min(most),
        };
        let plain = |name, value: f64| Metric::new(name, value, format!("{value:.4}"));
        let evaluations = record.gradient_evaluations;
        let mut numbers = vec![plain("Loss", record.loss)];
        if let Some(pace) = self.pace(now, record.step) {
            let text = if pace.is_nan() { "none yet".into() } else { format!("{pace:.0}") };
            numbers.push(Metric { more_is_better: true, ..Metric::new("Episodes per second", pace, text) });
        }
        numbers.push(Metric::new("Gradient evaluations", evaluations as f64, evaluations.to_string()));
        numbers.push(plain("Gradient norm", record.gradient_norm));
        // An estimator's first metric is its main one, such as q, so it comes first; there may be many others.
        let own = record.estimator.iter().filter_map(|(name, value)| Some(plain(name, number(value)?)));
        let mut own: Vec<Metric> = own.collect();
        if !own.is_empty() {
            numbers.insert(1, own.remove(0));
        }
        numbers.append(&mut own);
        self.draw(|dashboard| {
            dashboard.renderer.update_split(done as usize);
            for number in numbers {
                let state = dashboard.state(number);
                dashboard.renderer.update_train(state);
            }
        });
    }

    /// Shows a validation.
    pub fn validation(&mut self, record: &ValidationRecord) {
        let (loss, ci95) = (record.validation_loss, record.ci95);
        let metric = match record.validation_accuracy {
            Some(value) => Metric::accuracy(value, format!("{value:.2} % ± {ci95:.2}")),
            None => Metric::new("Error", loss, format!("{loss:.4} ± {ci95:.4}")),
        };
        if !metric.value.is_finite() {
            return;
        }
        self.draw(|dashboard| {
            let state = dashboard.state(metric);
            dashboard.renderer.update_valid(state);
        });
    }

    /// Counts a warning, which is printed after the dashboard is closed.
    pub fn warned(&mut self) {
        self.draw(|dashboard| dashboard.renderer.log_event_training("Warnings".into()));
    }

    /// Whether the user pressed q and chose to stop.
    pub fn stops(&self) -> bool {
        self.interrupter.should_stop()
    }

    /// Episodes per second, at most once per [`PACE_INTERVAL`]; NaN the first time.
    fn pace(&mut self, now: Instant, step: u64) -> Option<f64> {
        let Some((then, before)) = self.paced else {
            self.paced = Some((now, step));
            return Some(f64::NAN);
        };
        let seconds = (now - then).as_secs_f64();
        if now - then < PACE_INTERVAL {
            return None;
        }
        self.paced = Some((now, step));
        Some(step.saturating_sub(before) as f64 * self.tasks as f64 / seconds)
    }

    /// Whether the user pressed q and chose to stop at once.
    pub fn is_killed(&self) -> bool {
        self.is_killed
    }

    /// Calls `drawing`. The renderer panics if the user chose to stop at once; the panic is caught and recorded.
    fn draw(&mut self, drawing: impl FnOnce(&mut Self)) {
        self.is_killed |= catch(|| drawing(self)).is_err();
    }

    fn state(&mut self, number: Metric) -> MetricState {
        let name = Arc::new(number.name.to_string());
        let id = MetricId::new(name.clone());
        if self.known.insert(number.name.into()) {
            let unit = number.unit.map(String::from);
            self.renderer.register_metric(MetricDefinition {
                metric_id: id.clone(),
                name,
                description: None,
                attributes: NumericAttributes { unit, higher_is_better: number.more_is_better }.into(),
            });
        }
        let entry = MetricEntry::new(id, SerializedEntry::new(number.text, number.value.to_string()));
        MetricState::Numeric(entry, number.value.is_finite().then_some(NumericEntry::Value(number.value)))
    }
}
