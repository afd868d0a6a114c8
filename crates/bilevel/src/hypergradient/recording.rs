//! Estimates whose kernel launches are recorded once, as a graph, and then replayed as a whole.
//!
//! On a GPU the host takes tens of microseconds for each launch, which bounds the speed of small problems. What
//! repeats from one outer step to the next is recorded when it is asked for the second time:
//!
//! | recorded | for |
//! |---|---|
//! | the whole estimate | draws that treat all tasks alike and report no statistics: exact, truncated, first-order, and UFOM with one coin for all tasks |
//! | the inner loop, and the gradient of the outer loss after it | all other draws, if all iterates are stored. Their products differ from step to step, and are launched one by one |
//!
//! Draws without a backward walk (Reptile, implicit) are not recorded. A graph reads and writes the same memory at
//! every replay. So it has copies of θ and of the problem's [data](Bilevel::with_data), which are overwritten before
//! each replay, and what outlives the outer step is copied out. Results are those without graphs, bit for bit.

#![allow(unsafe_code)] // `Graph::replay`: see `Recording::replay`

use super::walk::{Forward, forward};
use super::{Draw, Estimate, Memory, Method, Workers, constants, estimate, estimate_from};
use crate::kernel::leaves::Copies;
use crate::launches;
use crate::params::Params;
use crate::problem::Bilevel;
use burn::tensor::{Graph, Tensor, capture};
use std::any::Any;
use std::thread::{self, ThreadId};

/// Graphs kept. Each keeps the memory of all that it computes.
const KEPT: usize = 2;

/// Pieces of work that were asked for and are remembered.
const REMEMBERED: usize = 8;

/// A recorded inner loop stands in for a whole estimate, until this many estimates came for which it was not needed.
const IDLE: u64 = 16;

/// A recording costs as much as some five estimates: this many are free, and one more for every hundred estimates.
const FREE: u64 = 4;

/// The graphs of an outer loop.
pub struct Recordings {
    /// Whether anything is recorded.
    enabled: bool,
    /// Whether a recording failed. Then no other is tried.
    refused: bool,
    /// What was asked for, the latest last.
    asked: Vec<Asked>,
    kept: Vec<Recording>,
    /// Recordings made.
    made: u64,
    /// Estimates asked for.
    estimates: u64,
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
    /// Estimates since it was last needed.
    idle: u64,
}

impl Recordings {
    /// No graphs yet; if not `enabled`, there never are.
    pub fn new(enabled: bool) -> Self {
        Self { enabled, refused: false, asked: Vec::new(), kept: Vec::new(), made: 0, estimates: 0 }
    }

    /// Whether a recording failed, so that launches are issued one by one.
    pub fn refused(&self) -> bool {
        self.refused
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
        let is_on = self.enabled && !self.refused && *workers == Workers::TOGETHER;
        let work = Work::of(draw, memory).filter(|_| is_on);
        let recorded = work.and_then(|work| self.run(work, memory, problem, theta));
        match recorded {
            Some(Output::Whole(estimate)) => *estimate,
            Some(Output::Forward(forward)) => estimate_from(problem, theta, draw, memory, Some(*forward)),
            None => workers.estimate(problem, theta, draw, memory),
        }
    }

    /// The results of `work`, or of its inner loop, valid until the next replay but for what outlives an outer step;
    /// `None` if neither is recorded.
    fn run<P: Bilevel>(&mut self, work: Work, memory: Memory, problem: &P, theta: &Params) -> Option<Output> {
        let inputs = inputs_of(problem, theta)?;
        self.estimates += 1;
        self.kept.iter_mut().for_each(|kept| kept.idle += 1);
        let is_new = !self.asks_again(&work, &inputs);
        if let Some(at) = self.find(&work, problem, &inputs) {
            self.kept[at].idle = 0;
            return self.kept[at].replay(&inputs);
        }
        // Draws that differ from step to step treat all tasks alike now and then: these few are not worth a graph.
        let inner = work.inner_loop().filter(|_| memory == Memory::Store);
        if let Some(inner) = inner {
            if let Some(at) = self.find(&inner, problem, &inputs)
                && (is_new || self.kept[at].idle <= IDLE || !self.may_record())
            {
                if is_new {
                    self.kept[at].idle = 0;
                }
                return self.kept[at].replay(&inputs);
            }
            if is_new && self.asks_again(&inner, &inputs) {
                return self.record(inner, problem, theta, &inputs);
            }
        }
        if is_new { None } else { self.record(work, problem, theta, &inputs) }
    }

    /// Whether another recording is worth its cost.
    fn may_record(&self) -> bool {
        self.made < FREE + self.estimates / 100
    }

    /// Records `work` and replays it.
    fn record<P: Bilevel>(
        &mut self,
        work: Work,
        problem: &P,
        theta: &Params,
        inputs: &[Tensor<3>],
    ) -> Option<Output> {
        if !self.may_record() {
            return None;
        }
        if self.kept.len() == KEPT {
            let (idle, _) = self.kept.iter().enumerate().max_by_key(|(_, kept)| kept.idle)?;
            self.kept.swap_remove(idle);
        }
        self.made += 1;
        let made = Recording::new(work, problem, theta.leaves().len(), inputs);
        let output = made.and_then(|mut made| {
            let output = made.replay(inputs);
            self.kept.push(made);
            output
        });
        if output.is_none() {
            self.kept.clear();
            self.refused = true;
        }
        output
    }

    fn find<P: Bilevel>(&self, work: &Work, problem: &P, inputs: &[Tensor<3>]) -> Option<usize> {
        self.kept.iter().position(|kept| kept.is_of(work, problem, inputs))
    }

    /// Whether this work was asked for lately, with inputs of these shapes. It is remembered.
    fn asks_again(&mut self, work: &Work, inputs: &[Tensor<3>]) -> bool {
        let is_it = |asked: &Asked| asked.work.is(work) && asked.shapes == shapes(inputs);
        let known = self.asked.iter().position(is_it);
        let asked = match known {
            Some(at) => self.asked.remove(at),
            None => Asked { work: work.clone(), shapes: shapes(inputs) },
        };
        if self.asked.len() == REMEMBERED {
            self.asked.remove(0);
        }
        self.asked.push(asked);
        known.is_some()
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
        whole.inner_loop().filter(|_| memory == Memory::Store)
    }

    /// The inner loop and outer gradient of a whole estimate.
    fn inner_loop(&self) -> Option<Self> {
        let Self::Whole { draw, .. } = self else { return None };
        let steps = draw.steps();
        Some(Self::Forward { steps, weight: draw.losses().get(steps) })
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
    /// The same, with copies of what outlives the outer step; `None` if they cannot be made. The copies are made by
    /// launches that read `inputs` too: they fail if writing the inputs has failed, which no replay would notice.
    fn copied(&self, inputs: &Copies) -> Option<Self> {
        Some(match self {
            Self::Whole(estimate) => {
                let (gradient, outer_loss) = copied(&estimate.gradient, &estimate.outer_loss, inputs)?;
                Self::Whole(Box::new(Estimate { gradient, outer_loss, ..(**estimate).clone() }))
            }
            Self::Forward(forward) => Self::Forward(Box::new(
                forward.with_own_start(|params, values| copied(params, values, inputs))?,
            )),
        })
    }
}

/// Copies of `params` and of `values [tasks]`.
fn copied(params: &Params, values: &Tensor<1>, inputs: &Copies) -> Option<(Params, Tensor<1>)> {
    let tasks = values.dims();
    let mut all = vec![values.clone().reshape([tasks[0], 1, 1])];
    all.extend(inputs.marks());
    let others = all.len();
    all.extend(params.leaves().iter().cloned());
    let mut copies = Copies::new(&all)?.tensors;
    let leaves = copies.split_off(others);
    Some((Params::new(leaves), copies.swap_remove(0).reshape(tasks)))
}

impl Recording {
    /// Records `work` on copies of `inputs`: θ, of this many leaves, and the data of `problem`. `None` if that fails.
    fn new<P: Bilevel>(work: Work, problem: &P, leaves: usize, inputs: &[Tensor<3>]) -> Option<Self> {
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
            work,
            problem: Box::new(problem),
            inputs: copies,
            graph,
            thread: thread::current().id(),
            idle: 0,
        })
    }

    /// Whether this is `work` on a problem like `problem`, with inputs of these shapes.
    fn is_of<P: Bilevel>(&self, work: &Work, problem: &P, inputs: &[Tensor<3>]) -> bool {
        self.thread == thread::current().id()
            && self.work.is(work)
            && shapes(&self.inputs.tensors) == shapes(inputs)
            && self.problem.downcast_ref::<P>().is_some_and(|own| own.is_like(problem))
    }

    /// Its results for these inputs, with copies of what outlives the outer step.
    fn replay(&mut self, inputs: &[Tensor<3>]) -> Option<Output> {
        self.inputs.overwrite(inputs);
        launches::replayed();
        // SAFETY: a replay reads and writes the buffers that the closure used. Those of the inputs live in the closure,
        // which the graph owns, those of the output in the graph, and what lay between is on memory pages that the
        // runtime reserves as long as the graph lives. `is_of` lets only the recording thread in, whose stream orders
        // the writes above before the replay, and the copies below after it; no other thread knows these buffers.
        unsafe { self.graph.replay() }.copied(&self.inputs)
    }
}

/// θ followed by the data of `problem`; `None` if the problem cannot be recorded.
pub(super) fn inputs_of<P: Bilevel>(problem: &P, theta: &Params) -> Option<Vec<Tensor<3>>> {
    let mut inputs = theta.leaves().to_vec();
    problem.with_data(&mut |data| {
        inputs.push(data.clone());
        data
    })?;
    problem.is_like(problem).then_some(inputs)
}

/// The shape of each.
pub(super) fn shapes(tensors: &[Tensor<3>]) -> Vec<[usize; 3]> {
    tensors.iter().map(|tensor| tensor.dims()).collect()
}
