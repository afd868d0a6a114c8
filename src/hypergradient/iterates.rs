//! The inner loop's iterates in reverse: φ_r, then φ_{j−1} for each inner step j whose product is due.
//!
//! The chain of wanted states is cut into segments; the first state of each is kept, and a segment is
//! cut again, by [`revolve::split`], when its last state is asked for and there is room. With room
//! for all, every wanted state is kept and nothing is computed twice. Of a state only those tasks are
//! kept, and recomputed, that a state of its segment is wanted for.

use super::{Draw, Memory, inner_loop::descend, revolve};
use crate::{problem::Bilevel, stack::Stack};
use std::collections::BTreeSet;

/// The wanted states, to be asked for from the last to the first.
pub struct Iterates<'a, P> {
    problem: &'a P,
    outer: &'a Stack,
    wanted: Vec<Wanted>,
    segments: Vec<Segment>,
    slots: usize,
    /// Inner steps taken so far, each counted once per task.
    taken: u64,
    /// Most bytes kept at once.
    bytes: u64,
}

/// φ_steps of some tasks.
struct Wanted {
    steps: usize,
    tasks: Vec<usize>,
}

/// The wanted states `from..to`, reached from `state`.
struct Segment {
    from: usize,
    to: usize,
    state: State,
}

/// φ_steps of `tasks`.
#[derive(Clone)]
struct State {
    steps: usize,
    tasks: Vec<usize>,
    fast: Stack,
}

impl<'a, P: Bilevel> Iterates<'a, P> {
    /// The states that `draw` wants at θ = `outer` (with the problem's task axis).
    pub fn new(memory: Memory, problem: &'a P, outer: &'a Stack, draw: &Draw) -> Self {
        let all: Vec<usize> = (0..problem.tasks()).collect();
        let mut wanted: Vec<Wanted> = (1..=draw.steps())
            .map(|step| Wanted { steps: step - 1, tasks: draw.due(step) })
            .filter(|wanted| !wanted.tasks.is_empty())
            .collect();
        wanted.push(Wanted { steps: draw.steps(), tasks: all.clone() });
        let state = State { steps: 0, tasks: all, fast: problem.start(outer) };
        let segments = vec![Segment { from: 0, to: wanted.len(), state }];
        Self { problem, outer, wanted, segments, slots: memory.slots(), taken: 0, bytes: 0 }
    }

    /// The last wanted state not asked for yet: how many inner steps lead there, its tasks, their φ.
    pub fn next_back(&mut self) -> Option<(usize, Vec<usize>, Stack)> {
        let mut top = self.segments.pop()?;
        let last = top.to - 1;
        loop {
            let steps = self.wanted[top.from].steps;
            top.state = self.advance(top.state, steps);
            if top.from == last {
                return Some((top.state.steps, top.state.tasks, top.state.fast));
            }
            // Besides `top` itself and those below it.
            let free = self.slots - self.segments.len() - 1;
            let ahead = match free {
                0 => last - top.from,
                _ => revolve::split(top.to - top.from, free + 1),
            };
            let cut = top.from + ahead;
            let beyond = self.narrow(&top.state, cut..top.to);
            top.state = self.narrow(&top.state, top.from..cut);
            let to = std::mem::replace(&mut top.to, cut);
            self.segments.push(top);
            self.bytes = self.bytes.max(self.segments.iter().map(|segment| segment.state.fast.bytes()).sum());
            top = Segment { from: cut, to, state: beyond };
        }
    }

    /// Inner steps taken beyond the first way to φ_r, each counted once per task.
    pub fn recomputed(&self) -> u64 {
        let way = self.wanted.last().map_or(0, |last| last.steps);
        self.taken.saturating_sub((way * self.problem.tasks()) as u64)
    }

    /// Most bytes kept at once.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// `state` for only those tasks that one of the states `range` is wanted for.
    fn narrow(&self, state: &State, range: std::ops::Range<usize>) -> State {
        let tasks: BTreeSet<usize> =
            self.wanted[range].iter().flat_map(|wanted| wanted.tasks.iter().copied()).collect();
        let places: Vec<usize> =
            (0..state.tasks.len()).filter(|at| tasks.contains(&state.tasks[*at])).collect();
        State { steps: state.steps, fast: state.fast.select(&places), tasks: tasks.into_iter().collect() }
    }

    /// `state` after inner step `steps`.
    fn advance(&mut self, mut state: State, steps: usize) -> State {
        if state.steps == steps {
            return state;
        }
        let (problem, outer) = (self.problem.select(&state.tasks), self.outer.select(&state.tasks));
        self.taken += ((steps - state.steps) * state.tasks.len()) as u64;
        for step in state.steps + 1..=steps {
            state.fast = descend(&problem, &outer, step, state.fast).0;
        }
        State { steps, ..state }
    }
}
