//! The quadratic family: where first-order steps converge, what reaching stationarity costs, and the best q.
//!
//! Three experiments of Likhosherstov et al. 2021, section 5 (`docs/mathematics.md`, "The quadratic family"), in plain
//! float64: the problem has one parameter. `tests/it/studies.rs` compares these gradients with the engine's.

mod best_q;
mod convergence;
mod cost;
pub mod descent;
pub mod family;
pub mod problem;
mod trace;

use super::{About, Completed, Conclusion, ConfigSource, Error, Scale, Study, StudyOptions, Workspace};
use descent::log_spaced;
use family::{Family, Task};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use trace::Trace;

/// Curvatures a_1 and a_2.
const CURVATURES: [f64; 2] = [0.5, 1.5];
/// Inner steps r.
const INNER_STEPS: usize = 10;
/// Number of outer steps at which ∇M is evaluated along a descent.
const SAMPLES: usize = 61;
const SEED: u64 = 0;

/// The study at one size.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Quadratic {
    /// Descents behind every mean, ≥ 2.
    pub starts: usize,
    /// Outer steps of the descents that show where estimators converge.
    #[serde(rename = "settling_steps")]
    pub convergence_steps: u64,
    /// Outer steps of the descents that show what stationarity costs.
    pub cost_steps: u64,
    /// Outer steps of the descents that search the best q.
    pub search_steps: u64,
    /// Inner rates at which the best q is searched.
    pub rates: usize,
    /// Values of q tried at each rate.
    pub values: usize,
}

/// Options of the study: none.
#[derive(Default)]
pub struct Options;

/// An estimator of ∇M.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Estimator {
    /// q = 0.
    FirstOrder,
    /// 0 < q < 1.
    Ufom,
    /// q = 1.
    Exact,
}

/// A piece of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Where descents by this estimator converge.
    Convergence(Estimator),
    /// The estimator's cost of reaching stationarity.
    Cost(Estimator),
    /// Every q at the inner rate with this index.
    Rate(usize),
}

/// Result of a piece.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Record {
    /// Of [`Piece::Convergence`] and [`Piece::Cost`].
    Trace(Trace),
    /// Of [`Piece::Rate`].
    Rate(best_q::Rate),
}

impl Quadratic {
    /// The paper's settings, with more starts and steps than its 5 and 10 000.
    pub fn full() -> Self {
        let (convergence_steps, cost_steps, search_steps) = (100_000, 20_000, 4000);
        Self { starts: 1000, convergence_steps, cost_steps, search_steps, rates: 10, values: 20 }
    }

    /// The same with fewer starts, inner rates and values of q.
    pub fn quick() -> Self {
        Self { starts: 200, rates: 4, values: 10, ..Self::full() }
    }

    /// The family on which costs are studied, with inner rate `rate`.
    fn wide(rate: f64) -> Family {
        let [low, high] = CURVATURES;
        let task = |curvature, offset| Task { curvature, offset, radius: 400.0 };
        Family { tasks: [task(low, 0.0), task(high, 10.0)], rate, steps: INNER_STEPS }
    }
}

impl Estimator {
    fn key(self) -> &'static str {
        match self {
            Self::FirstOrder => "first-order",
            Self::Ufom => "ufom",
            Self::Exact => "exact",
        }
    }
}

/// Gradient evaluations of an outer step with q: C_det + q·C_rnd, with the trajectory stored.
fn evaluations(q: f64) -> f64 {
    let steps = INNER_STEPS as f64;
    steps + 1.0 + q * steps
}

impl StudyOptions for Options {
    type Study = Quadratic;

    fn build(self, scale: Scale, _source: &dyn ConfigSource) -> Result<Quadratic, Error> {
        Ok(match scale {
            Scale::Full => Quadratic::full(),
            Scale::Quick => Quadratic::quick(),
        })
    }
}

impl Study for Quadratic {
    type Piece = Piece;
    type Record = Record;

    const ABOUT: About = About {
        name: "quadratic",
        title: "The quadratic family: bias of first-order steps, and what removing it costs",
        description: "On a family of one-dimensional problems, first-order steps converge to a point where ∇M is not \
                      0, by a margin that a formula gives. UFOM's steps converge to ∇M = 0; they reach a given \
                      accuracy with fewer gradient evaluations than exact steps, and with the fewest at the q that \
                      theory predicts.",
        usage: "",
        example: "metaburn study quadratic --quick",
        durations: ["2 minutes", "5 seconds"],
    };

    fn settings(&self) -> Value {
        let mut settings = json!(self);
        settings["curvatures"] = json!(CURVATURES);
        settings["inner_steps"] = json!(INNER_STEPS);
        settings["step_size"] = json!(format!("{}/(k + 1)", descent::STEP));
        settings["seed"] = json!(SEED);
        settings
    }

    fn pieces(&self) -> Vec<Piece> {
        let convergence = convergence::ESTIMATORS.map(Piece::Convergence);
        let cost = cost::ESTIMATORS.map(Piece::Cost);
        convergence.into_iter().chain(cost).chain((0..self.rates).map(Piece::Rate)).collect()
    }

    fn key(&self, piece: &Piece) -> String {
        match piece {
            Piece::Convergence(estimator) => format!("settling-{}", estimator.key()),
            Piece::Cost(estimator) => format!("cost-{}", estimator.key()),
            Piece::Rate(index) => format!("rate-{index:02}"),
        }
    }

    fn weight(&self, piece: &Piece) -> f64 {
        let steps = match piece {
            Piece::Convergence(_) => self.convergence_steps,
            Piece::Cost(_) => self.cost_steps,
            Piece::Rate(_) => self.values as u64 * self.search_steps,
        };
        self.starts as f64 * steps as f64
    }

    fn run(&self, piece: &Piece, _workspace: &mut Workspace) -> Result<Record, Error> {
        Ok(match *piece {
            Piece::Convergence(estimator) => Record::Trace(convergence::trace(self, estimator)),
            Piece::Cost(estimator) => Record::Trace(cost::trace(self, estimator)),
            Piece::Rate(index) => Record::Rate(best_q::search(self, index)),
        })
    }

    fn conclude(&self, results: Vec<Completed<Piece, Record>>) -> Conclusion {
        let (mut convergence, mut cost, mut rates) = (Vec::new(), Vec::new(), Vec::new());
        for Completed { piece, record } in results {
            match (piece, record) {
                (Piece::Convergence(estimator), Record::Trace(trace)) => convergence.push((estimator, trace)),
                (Piece::Cost(estimator), Record::Trace(trace)) => cost.push((estimator, trace)),
                (Piece::Rate(_), Record::Rate(rate)) => rates.push(rate),
                // A record of the wrong kind can only come from a manual change.
                _ => {}
            }
        }
        let mut conclusion = Conclusion::default();
        convergence::conclude(&convergence, &mut conclusion);
        cost::conclude(&cost, &mut conclusion);
        best_q::conclude(&rates, &mut conclusion);
        conclusion
    }
}

/// The outer steps, of `steps`, after which ∇M is evaluated.
fn sample_steps(steps: u64) -> Vec<u64> {
    log_spaced(1, steps, SAMPLES)
}
