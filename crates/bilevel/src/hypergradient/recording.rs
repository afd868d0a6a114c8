//! Estimates whose kernel launches are recorded once, as a graph, and then replayed as a whole.
//!
//! On a GPU the host takes tens of microseconds for each launch, which bounds the speed of small problems. What repeats
//! from one outer step to the next is recorded when it is asked for the second time:
//!
//! | recorded | for |
//! |---|---|
//! | the whole estimate | draws that treat all tasks alike and report no statistics: exact, truncated, first-order, and UFOM with one coin for all tasks |
//! | the inner loop, and the gradient of the outer loss after it | all other draws. Their products differ from step to step, and are launched one by one |
//!
//! A graph reads and writes the same memory at every replay. So it has copies of θ and of the problem's
//! [data](Bilevel::with_data), which are overwritten before each replay, and what outlives the outer step is copied out. Results are those
//! without graphs, bit for bit. A device that refuses to record is not asked again.

#![allow(unsafe_code)] // `Graph::replay`: see `Recording::replay`

use super::walk::{Forward, forward};
use super::{Draw, Estimate, Memory, Method, Workers, constants, estimate, estimate_from};
use crate::kernel::leaves::Copies;
use crate::launches;
use crate::params::Params;
use crate::problem::Bilevel;
use burn::tensor::{Graph, Tensor, capture};
use std::any::Any;
use std::fmt;
use std::thread::{self, ThreadId};

/// Graphs kept. Each has the memory of all that it computes.
const KEPT: usize = 2;

/// Pieces of work remembered that were asked for once.
const REMEMBERED: usize = 8;

/// Estimates for which a recorded inner loop was not needed, after which whole estimates are recorded again.
const IDLE: u64 = 16;

/// A graph that was replayed less often, and then had to make room for another, was not worth its recording.
const WORTHWHILE: u64 = 8;

/// The graphs of an outer loop.
pub struct Recordings {
    /// Whether anything is recorded.
    enabled: bool,
    /// Why nothing more is recorded, if so.
    stopped: Option<Stopped>,
    /// What was asked for once, the latest last.
    asked: Vec<Asked>,
    /// The latest last.
    kept: Vec<Recording>,
}

/// Why no more graphs are recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// The device cannot record.
    Refused,
    /// Graphs had to make room for others before they were worth it.
    Unsteady,
}

impl fmt::Display for Stopped {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Refused => "this device cannot record graphs",
            Self::Unsteady => "outer steps differ too much for graphs",
        })
    }
}

/// What is recorded.
#[derive(Clone)]
enum Work {
    /// The estimate of a draw.
    Whole { draw: Draw, memory: Memory },
    /// The inner loop of this many steps, and the outer gradient after it with this weight.
    Forward { steps: usize, weight: f64 },
}

/// A piece of work that was asked for, and the shapes of its inputs.
struct Asked {
    work: Work,
    shapes: Vec<[usize; 3]>,
}

/// What recorded work returns, in the graph's memory.
enum Output {
    Whole(Box<Estimate>),
    Forward(Box<Forward>),
}

/// Recorded work.
struct Recording {
    work: Work,
    /// The problem on the copies, of the type of the problem that was recorded.
    problem: Box<dyn Any + Send>,
    /// θ, followed by the problem's data.
    inputs: Copies,
    graph: Graph<Output, Box<dyn FnMut() -> Output + Send>>,
    /// The thread on whose stream it was recorded.
    thread: ThreadId,
    replays: u64,
    /// Estimates since it was the best there is.
    idle: u64,
}

impl Recordings {
    /// No graphs yet; if not `enabled`, there never are.
    pub fn new(enabled: bool) -> Self {
        Self { enabled, stopped: None, asked: Vec::new(), kept: Vec::new() }
    }

    /// Why nothing more is recorded, if so.
    pub fn stopped(&self) -> Option<Stopped> {
        self.stopped
    }

    /// As [`Workers::estimate`], by graphs where that is possible.
    pub fn estimate<P: Bilevel>(
        &mut self,
        workers: &Workers,
        problem: &P,
        theta: &Params,
        draw: &Draw,
        memory: Memory,
    ) -> Estimate {
        let work = Work::of(draw, memory).filter(|_| self.enabled && *workers == Workers::TOGETHER);
        let recorded = work.as_ref().and_then(|work| self.run(work, problem, theta));
        match recorded {
            Some(Output::Whole(estimate)) => *estimate,
            Some(Output::Forward(forward)) => estimate_from(problem, theta, draw, memory, Some(*forward)),
            None => workers.estimate(problem, theta, draw, memory),
        }
    }

    /// The results of `work`, or of its inner loop, in memory of their own; `None` if it is not recorded.
    fn run<P: Bilevel>(&mut self, work: &Work, problem: &P, theta: &Params) -> Option<Output> {
        let (inputs, shapes) = inputs_of(problem, theta)?;
        self.kept.iter_mut().for_each(|kept| kept.idle += 1);
        if let Some(found) = self.kept.iter_mut().find(|kept| kept.suits(work, problem, &shapes)) {
            found.idle = 0;
            return Some(found.replay(&inputs));
        }
        // Draws that differ from step to step treat all tasks alike now and then. These few are not worth a graph.
        let stand_in = work.forward();
        let suits = |kept: &Recording| kept.idle <= IDLE && kept.suits(&stand_in, problem, &shapes);
        if let Some(found) = self.kept.iter_mut().find(|kept| suits(kept)) {
            return Some(found.replay(&inputs));
        }
        if self.stopped.is_some() || !self.asks_again(work, shapes) {
            return None;
        }
        if self.kept.len() == KEPT && self.kept.remove(0).replays < WORTHWHILE {
            self.stopped = Some(Stopped::Unsteady);
            return None;
        }
        match Recording::new(work, problem, theta.leaves().len(), &inputs) {
            Some(made) => {
                self.kept.push(made);
                self.kept.last_mut().map(|made| made.replay(&inputs))
            }
            None => {
                self.stopped = Some(Stopped::Refused);
                None
            }
        }
    }

    /// Whether this work was asked for before. It is remembered.
    fn asks_again(&mut self, work: &Work, shapes: Vec<[usize; 3]>) -> bool {
        let known = self.asked.iter().any(|asked| asked.work.is(work) && asked.shapes == shapes);
        if !known {
            if self.asked.len() == REMEMBERED {
                self.asked.remove(0);
            }
            self.asked.push(Asked { work: work.clone(), shapes });
        }
        known
    }
}

impl Work {
    /// What can be recorded of the estimate of `draw`.
    fn of(draw: &Draw, memory: Memory) -> Option<Self> {
        if draw.method() != Method::Unroll {
            return None;
        }
        let whole = Self::Whole { draw: draw.clone(), memory };
        if draw.is_uniform() && !draw.observes() && draw.offset().is_none() {
            return Some(whole);
        }
        (memory == Memory::Store).then(|| whole.forward())
    }

    /// Its inner loop and outer gradient only.
    fn forward(&self) -> Self {
        match self {
            Self::Whole { draw, .. } => {
                let steps = draw.steps();
                Self::Forward { steps, weight: draw.losses().get(steps) }
            }
            Self::Forward { .. } => self.clone(),
        }
    }

    /// Whether both are the same work.
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Whole { draw, memory }, Self::Whole { draw: other_draw, memory: other_memory }) => {
                memory == other_memory && draw.is_same_walk(other_draw)
            }
            (Self::Forward { steps, weight }, Self::Forward { steps: other_steps, weight: other_weight }) => {
                steps == other_steps && weight == other_weight
            }
            _ => false,
        }
    }

    fn compute<P: Bilevel>(&self, problem: &P, theta: &Params) -> Output {
        match self {
            Self::Whole { draw, memory } => Output::Whole(Box::new(estimate(problem, theta, draw, *memory))),
            Self::Forward { steps, weight } => {
                let outer = constants::extended(problem, &theta.repeat(problem.tasks()));
                Output::Forward(Box::new(forward(problem, outer, *steps, *weight)))
            }
        }
    }
}

impl Output {
    /// The same, with copies of what outlives the outer step.
    fn copied(&self) -> Self {
        match self {
            Self::Whole(estimate) => {
                let (gradient, outer_loss) = copied(&estimate.gradient, &estimate.outer_loss);
                Self::Whole(Box::new(Estimate { gradient, outer_loss, ..(**estimate).clone() }))
            }
            Self::Forward(forward) => Self::Forward(Box::new(forward.with_own_start(copied))),
        }
    }
}

/// Copies of `params` and of `values [tasks]`.
fn copied(params: &Params, values: &Tensor<1>) -> (Params, Tensor<1>) {
    let tasks = values.dims();
    let all = params.clone().and(Params::new(vec![values.clone().reshape([tasks[0], 1, 1])]));
    let mut leaves = Copies::new(all.leaves()).map_or(all.into_leaves(), |copies| copies.tensors);
    let values = leaves.pop().unwrap_or_else(|| unreachable!("`values` are the last leaf"));
    (Params::new(leaves), values.reshape(tasks))
}

impl Recording {
    /// Records `work` on copies of `inputs`: θ, of this many leaves, and the data of `problem`. `None` if that is not possible.
    fn new<P: Bilevel>(
        work: &Work,
        problem: &P,
        leaves: usize,
        inputs: &[Tensor<3>],
    ) -> Option<Self> {
        let copies = Copies::new(inputs)?;
        let (theta, data) = copies.tensors.split_at(leaves);
        let on_copies = || {
            let mut data = data.iter().cloned();
            problem.with_data(&mut |own| data.next().unwrap_or(own))
        };
        let (theta, problem, own) = (Params::new(theta.to_vec()), on_copies()?, on_copies()?);
        let device = theta.leaves().first()?.device();
        let computed = work.clone();
        let closure: Box<dyn FnMut() -> Output + Send> = Box::new(move || computed.compute(&own, &theta));
        let graph = capture(&device, closure);
        graph.is_hardware().then(|| Self {
            work: work.clone(),
            problem: Box::new(problem),
            inputs: copies,
            graph,
            thread: thread::current().id(),
            replays: 0,
            idle: 0,
        })
    }

    /// Whether this is that `work` on a problem like `problem`, with inputs of these shapes.
    fn suits<P: Bilevel>(&self, work: &Work, problem: &P, shapes: &[[usize; 3]]) -> bool {
        self.thread == thread::current().id()
            && self.work.is(work)
            && self.inputs.tensors.iter().map(|tensor| tensor.dims()).eq(shapes.iter().copied())
            && self.problem.downcast_ref::<P>().is_some_and(|own| own.is_like(problem))
    }

    /// Its results for these inputs, in memory of their own.
    fn replay(&mut self, inputs: &[Tensor<3>]) -> Output {
        self.inputs.overwrite(inputs);
        self.replays += 1;
        launches::replayed();
        // SAFETY: a replay reads and writes the buffers that the closure used. The closure, which the graph owns, holds those of
        // the inputs, and the graph those of the output. `suits` lets only the recording thread in, whose stream orders
        // the writes above before the replay, and the copies below after it; no other thread knows these buffers.
        unsafe { self.graph.replay() }.copied()
    }
}

/// θ followed by the data of `problem`, and their shapes; `None` if the problem cannot be recorded.
fn inputs_of<P: Bilevel>(problem: &P, theta: &Params) -> Option<(Vec<Tensor<3>>, Vec<[usize; 3]>)> {
    let mut inputs = theta.leaves().to_vec();
    problem.with_data(&mut |data| {
        inputs.push(data.clone());
        data
    })?;
    let shapes = inputs.iter().map(|tensor| tensor.dims()).collect();
    Some((inputs, shapes))
}
