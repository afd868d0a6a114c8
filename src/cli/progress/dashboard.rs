//! Burn's training dashboard, fed by our outer loop: time left and a curve for every number, drawn by a thread of its
//! own on the terminal's other screen.

use super::whole_screen::{self, WholeScreen};
use burn_train::Interrupter;
use burn_train::logger::TrainingProgressLogger;
use burn_train::metric::{
    MetricDefinition, MetricEntry, MetricId, NumericAttributes, NumericEntry, SerializedEntry,
};
use burn_train::renderer::tui::TuiMetricsRendererWrapper;
use burn_train::renderer::{MetricState, MetricsRenderer, MetricsRendererTraining};
use metaburn::caught::caught;
use metaburn::config::{Budget, Config};
use metaburn::interval::mean;
use metaburn::trainer::{StepRecord, ValidationRecord};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Between two points of a curve: more would only be drawn over each other.
const BETWEEN_POINTS: Duration = Duration::from_millis(20);
/// Over which a pace is measured.
const PACE: Duration = Duration::from_secs(1);
/// Columns and rows below which its panes overlap.
const SMALLEST: (u16, u16) = (80, 24);

pub use whole_screen::{is_shown, leave};

/// Why no dashboard can be shown here, if so, to be said after its name.
pub fn hindrance() -> Option<String> {
    let (columns, rows) = SMALLEST;
    match whole_screen::size() {
        None => Some("needs a terminal as standard input, output and error".into()),
        Some((wide, high)) if wide < columns || high < rows => Some(format!(
            "needs a terminal of {columns} × {rows} characters, and this one has {wide} × {high}"
        )),
        Some(_) => None,
    }
}

/// The dashboard, as long as it is shown.
pub struct Dashboard {
    renderer: TuiMetricsRendererWrapper,
    interrupter: Interrupter,
    budget: Budget,
    known: BTreeSet<String>,
    tasks: usize,
    is_killed: bool,
    drawn: Option<Instant>,
    /// When the pace was last measured, and after which step.
    paced: Option<(Instant, u64)>,
    /// Last, so that it is put back after the renderer is gone.
    _screen: WholeScreen,
}

/// A number as the dashboard has it.
struct Number<'a> {
    name: &'a str,
    value: f64,
    text: String,
    unit: Option<&'a str>,
    more_is_better: bool,
}

impl<'a> Number<'a> {
    fn new(name: &'a str, value: f64, text: String) -> Self {
        Self { name, value, text, unit: None, more_is_better: false }
    }

    fn accuracy(value: f64, text: String) -> Self {
        Self { unit: Some("%"), more_is_better: true, ..Self::new("Accuracy", value, text) }
    }
}

/// A number, or the mean of a list of them, as over inner steps.
fn number(value: &Value) -> Option<f64> {
    let Some(values) = value.as_array() else { return value.as_f64() };
    let values: Option<Vec<f64>> = values.iter().map(Value::as_f64).collect();
    values.filter(|values| !values.is_empty()).map(|values| mean(&values))
}

impl Dashboard {
    /// Takes the terminal over for the run of `config`.
    pub fn open(config: &Config) -> Option<Self> {
        let screen = WholeScreen::enter();
        let interrupter = Interrupter::new();
        let mut renderer = TuiMetricsRendererWrapper::new(interrupter.clone(), None);
        let (Budget::Steps(items) | Budget::Evaluations(items)) = config.outer.budget;
        // One epoch: a run is one walk through its budget.
        renderer.start(1, 0, Some(items as usize), Some(config.estimator.name()));
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
        // Numbers stand in the order in which they come first, and on a small terminal the last are cut off.
        dashboard.draw(|dashboard| {
            let loss = dashboard.state(Number::new("Loss", f64::NAN, "none yet".into()));
            dashboard.renderer.update_train(loss);
            let accuracy = dashboard.state(Number::accuracy(f64::NAN, "none yet".into()));
            dashboard.renderer.update_valid(accuracy);
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
        let plain = |name, value: f64| Number::new(name, value, format!("{value:.4}"));
        let evaluations = record.gradient_evaluations;
        let mut numbers = vec![plain("Loss", record.loss)];
        if let Some(pace) = self.pace(now, record.step) {
            let text = if pace.is_nan() { "none yet".into() } else { format!("{pace:.0}") };
            numbers.push(Number { more_is_better: true, ..Number::new("Episodes per second", pace, text) });
        }
        numbers.push(Number::new("Gradient evaluations", evaluations as f64, evaluations.to_string()));
        numbers.push(plain("Gradient norm", record.gradient_norm));
        // What an estimator says of itself begins with what it is known by, such as q; the rest may be long.
        let own = record.estimator.iter().filter_map(|(name, value)| Some(plain(name, number(value)?)));
        let mut own: Vec<Number> = own.collect();
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
        let (value, ci95) = (record.validation_accuracy, record.ci95);
        let accuracy = Number::accuracy(value, format!("{value:.2} % ± {ci95:.2}"));
        self.draw(|dashboard| {
            let state = dashboard.state(accuracy);
            dashboard.renderer.update_valid(state);
        });
    }

    /// Counts a warning, which is read when the screen is given back.
    pub fn warned(&mut self) {
        self.draw(|dashboard| dashboard.renderer.log_event_training("Warnings".into()));
    }

    /// Whether somebody pressed q and chose to stop.
    pub fn stops(&self) -> bool {
        self.interrupter.should_stop()
    }

    /// Episodes per second, once in a while; at first no number.
    fn pace(&mut self, now: Instant, step: u64) -> Option<f64> {
        let Some((then, before)) = self.paced else {
            self.paced = Some((now, step));
            return Some(f64::NAN);
        };
        let seconds = (now - then).as_secs_f64();
        if now - then < PACE {
            return None;
        }
        self.paced = Some((now, step));
        Some(step.saturating_sub(before) as f64 * self.tasks as f64 / seconds)
    }

    /// Whether somebody pressed q and chose to stop at once.
    pub fn is_killed(&self) -> bool {
        self.is_killed
    }

    /// Draws, unless somebody chose to stop at once: the renderer panics then.
    fn draw(&mut self, drawing: impl FnOnce(&mut Self)) {
        self.is_killed |= caught(|| drawing(self)).is_err();
    }

    fn state(&mut self, number: Number) -> MetricState {
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
