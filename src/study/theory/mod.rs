//! The theory measured: bounds and rates whose constants are known, on problems small enough for many draws.
//!
//! Four experiments (formulas and derivations in `docs/mathematics.md`): the error of truncated gradients against its
//! bounds, the rates at which descents converge, the trade-off between an estimator's cost and its second moment, and
//! the memory of the backward walk.

mod bias;
mod memory;
mod problem;
mod rate;
mod trade_off;

use super::{About, Completed, Conclusion, ConfigSource, Error, Scale, Study, StudyOptions, Workspace};
use bias::Problem;
use memory::Plan;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use trade_off::Curve;

const SEED: u64 = 0;

/// The study at one size.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Theory {
    /// Descents behind every mean of (∇M)², ≥ 40.
    pub starts: usize,
    /// Outer steps of these descents.
    pub steps: u64,
    /// Draws of each estimator at each probability, ≥ 40.
    pub draws: u64,
    /// The most inner steps r, for errors of truncated gradients (up to 100) and for memory (up to 1000).
    pub longest: usize,
}

/// Options of the study: none.
#[derive(Default)]
pub struct Options;

/// A piece of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Errors of truncated gradients on this problem.
    Bias(Problem),
    /// Descents by this law and estimator.
    Rate(rate::Descent),
    /// The trade-off of an estimator.
    TradeOff(Curve),
    /// Gradients by this memory plan.
    Memory(Plan),
}

/// Result of a piece.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Record {
    /// Of [`Piece::Bias`].
    Bias(Vec<bias::Point>),
    /// Of [`Piece::Rate`].
    Rate(rate::Trace),
    /// Of [`Piece::TradeOff`].
    TradeOff(trade_off::Measurements),
    /// Of [`Piece::Memory`].
    Memory(Vec<memory::Point>),
}

impl Theory {
    /// Intervals of about a percent.
    pub fn full() -> Self {
        Self { starts: 2000, steps: 100_000, draws: 2000, longest: 1000 }
    }

    /// The same with wider intervals.
    pub fn quick() -> Self {
        Self { starts: 1000, steps: 20_000, draws: 200, longest: 200 }
    }
}

impl StudyOptions for Options {
    type Study = Theory;

    fn build(self, scale: Scale, _source: &dyn ConfigSource) -> Result<Theory, Error> {
        Ok(match scale {
            Scale::Full => Theory::full(),
            Scale::Quick => Theory::quick(),
        })
    }
}

impl Study for Theory {
    type Piece = Piece;
    type Record = Record;

    const ABOUT: About = About {
        name: "theory",
        title: "The theory measured: bias, rates of convergence, time against variance, memory",
        description: "On problems whose smoothness constants are known, first-order's bias stays within its bounds, which \
                      are attained. UFOM's E(∇M)² falls at the rates and with the constants of stochastic descent, \
                      while first-order's does not fall. Cost × second moment follows its formula in q, and is least at \
                      q*. The memory of an exact gradient does not grow with the number of inner steps if iterates are \
                      recomputed.",
        usage: "",
        example: "metaburn study theory --quick",
        durations: ["5 minutes", "30 seconds"],
    };

    fn settings(&self) -> Value {
        let mut settings = json!(self);
        settings["seed"] = json!(SEED);
        settings
    }

    fn pieces(&self) -> Vec<Piece> {
        let bias = Problem::ALL.map(Piece::Bias);
        let rates = rate::DESCENTS.map(Piece::Rate);
        let trade_offs = Curve::ALL.map(Piece::TradeOff);
        let memory = Plan::ALL.map(Piece::Memory);
        bias.into_iter().chain(rates).chain(trade_offs).chain(memory).collect()
    }

    fn key(&self, piece: &Piece) -> String {
        match piece {
            Piece::Bias(problem) => format!("bias-{}", problem.key()),
            Piece::Rate(descent) => format!("rate-{}", rate::key(*descent)),
            Piece::TradeOff(curve) => format!("trade-off-{}", curve.key()),
            Piece::Memory(plan) => format!("memory-{}", plan.name()),
        }
    }

    fn weight(&self, piece: &Piece) -> f64 {
        // Seconds on two cores.
        let longest = self.longest as f64;
        match piece {
            Piece::Bias(_) => 2.0,
            Piece::Rate(_) => 6e-8 * self.starts as f64 * self.steps as f64,
            Piece::TradeOff(_) => 1e-2 * self.draws as f64,
            Piece::Memory(Plan::Recompute) => 3e-5 * longest * longest,
            Piece::Memory(_) => 1e-3 * longest,
        }
    }

    fn run(&self, piece: &Piece, _workspace: &mut Workspace) -> Result<Record, Error> {
        Ok(match *piece {
            Piece::Bias(problem) => Record::Bias(bias::measure(problem, self.longest)),
            Piece::Rate(descent) => Record::Rate(rate::trace(self, descent)),
            Piece::TradeOff(curve) => Record::TradeOff(trade_off::measure(self, curve)),
            Piece::Memory(plan) => Record::Memory(memory::measure(self, plan)),
        })
    }

    fn conclude(&self, results: Vec<Completed<Piece, Record>>) -> Conclusion {
        let (mut biases, mut rates, mut trade_offs, mut memories) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for Completed { piece, record } in results {
            match (piece, record) {
                (Piece::Bias(problem), Record::Bias(points)) => biases.push((problem, points)),
                (Piece::Rate(descent), Record::Rate(trace)) => rates.push((descent, trace)),
                (Piece::TradeOff(curve), Record::TradeOff(found)) => trade_offs.push((curve, found)),
                (Piece::Memory(plan), Record::Memory(points)) => memories.push((plan, points)),
                // A record of the wrong kind can only come from a manual change.
                _ => {}
            }
        }
        let mut conclusion = Conclusion::default();
        bias::conclude(&biases, &mut conclusion);
        rate::conclude(&rates, &mut conclusion);
        trade_off::conclude(&trade_offs, &mut conclusion);
        memory::conclude(&memories, &mut conclusion);
        conclusion
    }
}
