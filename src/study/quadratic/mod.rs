//! The quadratic family: where first-order steps settle, what reaching stationarity costs, and the best q.
//!
//! Three studies of METHOD, "The quadratic family" (Likhosherstov et al. 2021, section 5), on plain float64
//! numbers: the problem has one parameter. `tests/studies.rs` holds these numbers against the engine's.

mod best;
mod cost;
pub mod descent;
pub mod family;
mod settles;
mod trace;

use super::{About, Conclusion, Desk, Error, Piece, Study};
use descent::logarithmic;
use family::{Family, Task};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use trace::Trace;

/// What a person reads before it is run.
pub const ABOUT: About = About {
    name: "quadratic",
    title: "The quadratic family: debiasing a first-order method",
    shows: "On a family of one-dimensional problems first-order steps settle where ∇M is not 0, by a margin \
            that a formula gives; UFOM's do not, reach a given accuracy with fewer gradient evaluations \
            than exact steps do, and fewest at the q that theory calls best.",
    takes: ["1 minute", "5 seconds"],
};

/// a_1 and a_2.
const CURVATURES: [f64; 2] = [0.5, 1.5];
/// r.
const INNER_STEPS: usize = 10;
/// How often ∇M is looked at while a descent is followed.
const LOOKS: usize = 61;
const SEED: u64 = 0;

/// The study at one size.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Quadratic {
    /// Descents behind every mean, ≥ 2.
    pub starts: usize,
    /// Outer steps of the descents that show where methods settle.
    pub settling_steps: u64,
    /// Outer steps of those that show what accuracy costs.
    pub cost_steps: u64,
    /// Outer steps of those that look for the best q.
    pub search_steps: u64,
    /// Inner rates that it is looked for at.
    pub rates: usize,
    /// Values of q that are tried.
    pub values: usize,
}

/// What a piece yields.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Record {
    /// A method followed.
    Trace(Trace),
    /// Every q at one inner rate.
    Rate(best::Rate),
}

impl Quadratic {
    /// The paper's settings; where these have 5 starts and 10 000 steps, more of both.
    pub fn full() -> Self {
        let (settling_steps, cost_steps, search_steps) = (100_000, 20_000, 4000);
        Self { starts: 1000, settling_steps, cost_steps, search_steps, rates: 10, values: 20 }
    }

    /// The same with fewer starts and inner rates.
    pub fn quick() -> Self {
        Self { starts: 200, rates: 4, values: 10, ..Self::full() }
    }

    /// The family that costs are studied on, at inner rate `rate`.
    fn wide(rate: f64) -> Family {
        let [low, high] = CURVATURES;
        let task = |curvature, offset| Task { curvature, offset, radius: 400.0 };
        Family { tasks: [task(low, 0.0), task(high, 10.0)], rate, steps: INNER_STEPS }
    }
}

/// Gradient evaluations of an outer step with q: C_det + q·C_rnd, with the trajectory stored.
fn evaluations(q: f64) -> f64 {
    let steps = INNER_STEPS as f64;
    steps + 1.0 + q * steps
}

impl Study for Quadratic {
    type Record = Record;

    fn about(&self) -> About {
        ABOUT
    }

    fn settings(&self) -> Value {
        let mut settings = json!(self);
        settings["curvatures"] = json!(CURVATURES);
        settings["inner_steps"] = json!(INNER_STEPS);
        settings["step_size"] = json!(format!("{}/(k + 1)", descent::STEP));
        settings["seed"] = json!(SEED);
        settings
    }

    fn pieces(&self) -> Vec<Piece> {
        let piece = |key: String, steps: u64| Piece { key, weight: self.starts as f64 * steps as f64 };
        let settling = settles::METHODS.map(|(key, _)| piece(format!("settling-{key}"), self.settling_steps));
        let cost = cost::METHODS.map(|key| piece(format!("cost-{key}"), self.cost_steps));
        let search =
            (0..self.rates).map(|at| piece(format!("rate-{at:02}"), self.values as u64 * self.search_steps));
        settling.into_iter().chain(cost).chain(search).collect()
    }

    fn work(&self, key: &str, _desk: &mut Desk) -> Result<Record, Error> {
        let unknown = || Error::Unfit(format!("the study of the quadratic family has no piece called {key}"));
        match key.split_once('-') {
            Some(("settling", method)) => settles::follow(self, method).map(Record::Trace),
            Some(("cost", method)) => cost::follow(self, method).map(Record::Trace),
            Some(("rate", at)) => at.parse().ok().map(|at| Record::Rate(best::search(self, at))),
            _ => None,
        }
        .ok_or_else(unknown)
    }

    fn conclude(&self, records: &[Record]) -> Conclusion {
        let (mut traces, mut rates) = (Vec::new(), Vec::new());
        for record in records {
            match record {
                Record::Trace(trace) => traces.push(trace),
                Record::Rate(rate) => rates.push(rate),
            }
        }
        let (settling, cost) = traces.split_at(settles::METHODS.len().min(traces.len()));
        let mut conclusion = Conclusion::default();
        settles::conclude(settling, &mut conclusion);
        cost::conclude(cost, &mut conclusion);
        best::conclude(&rates, &mut conclusion);
        conclusion
    }
}

/// When ∇M is looked at in `steps` steps.
fn looks(steps: u64) -> Vec<u64> {
    logarithmic(1, steps, LOOKS)
}
