//! The iterates of the inner loop in reverse order: φ_r, then φ_{j−1} for each inner step j whose product is due, or
//! whose outer loss has a weight.
//!
//! The required iterates are divided into segments, and the start of each segment is stored. To reach the last
//! iterate, its segment is split again, at [`revolve::split`], until it contains that iterate only. If all fit in
//! memory, every required iterate is stored and none is recomputed. Only those tasks of an iterate are stored and
//! recomputed that its segment needs.

use super::{Draw, Memory, inner_loop::descend, revolve};
use crate::{params::Params, problem::Bilevel};
use std::ops::Range;

/// The required iterates, from the last to the first.
pub struct Iterates<'a, P> {
    problem: &'a P,
    outer: &'a Params,
    required: Vec<Required>,
    segments: Vec<Segment>,
    slots: usize,
    /// Inner steps computed so far, each counted once per task.
    steps_computed: u64,
    /// Bytes stored in `segments`.
    stored_bytes: u64,
    /// The maximum of `stored_bytes` so far.
    peak_bytes: u64,
}

/// φ_steps of `tasks`.
pub struct Iterate {
    /// The number of inner steps from φ_0.
    pub steps: usize,
    /// The tasks, ascending.
    pub tasks: Vec<usize>,
    /// φ, in the order of `tasks`.
    pub fast: Params,
}

/// φ_steps of `tasks`, not computed yet.
struct Required {
    steps: usize,
    tasks: Vec<usize>,
}

/// A range of the required iterates, and a stored iterate from which they can be computed.
struct Segment {
    range: Range<usize>,
    start: Iterate,
}

impl<'a, P: Bilevel> Iterates<'a, P> {
    /// The iterates that `draw` needs at θ = `outer` (with the problem's task axis). φ_0 … φ_r of all tasks may have been
    /// `computed` before.
    pub fn new(
        memory: Memory,
        problem: &'a P,
        outer: &'a Params,
        draw: &Draw,
        computed: Option<Vec<Params>>,
    ) -> Self {
        let all: Vec<usize> = (0..problem.tasks()).collect();
        let mut required: Vec<Required> = (1..=draw.steps())
            .map(|step| Required { steps: step - 1, tasks: draw.required(step - 1) })
            .filter(|required| !required.tasks.is_empty())
            .collect();
        required.push(Required { steps: draw.steps(), tasks: all.clone() });
        let mut iterates = Self {
            problem,
            outer,
            required,
            segments: Vec::new(),
            slots: memory.slots(),
            steps_computed: 0,
            stored_bytes: 0,
            peak_bytes: 0,
        };
        let count = iterates.required.len();
        let Some(computed) = computed else {
            let start = Iterate { steps: 0, tasks: all, fast: problem.start(outer) };
            iterates.push_segment(Segment { range: 0..count, start });
            iterates.peak_bytes = 0;
            return iterates;
        };
        for at in 0..count {
            let steps = iterates.required[at].steps;
            let start = Iterate { steps, tasks: all.clone(), fast: computed[steps].clone() };
            iterates.push_segment(Segment { range: at..at + 1, start });
        }
        // As many bytes as without: those of the required tasks.
        let one = computed[0].bytes() / problem.tasks().max(1) as u64;
        let before = &iterates.required[..count - 1];
        iterates.peak_bytes = before.iter().map(|required| one * required.tasks.len() as u64).sum();
        iterates
    }

    /// The last required iterate that has not been returned yet.
    pub fn next_back(&mut self) -> Option<Iterate> {
        let Segment { mut range, start: mut iterate } = self.pop_segment()?;
        loop {
            iterate = self.advance(iterate, self.required[range.start].steps);
            if range.len() == 1 {
                return Some(iterate);
            }
            let free = self.slots - self.segments.len();
            let cut = range.start + revolve::split(range.len(), free);
            let before = range.start..cut;
            let start = self.restrict(&iterate, before.clone());
            self.push_segment(Segment { range: before, start });
            range = cut..range.end;
            iterate = self.restrict(&iterate, range.clone());
        }
    }

    /// Inner steps computed beyond the first pass to φ_r, each counted once per task.
    pub fn recomputed(&self) -> u64 {
        let steps = self.required.last().map_or(0, |last| last.steps);
        self.steps_computed.saturating_sub((steps * self.problem.tasks()) as u64)
    }

    /// The most bytes stored at once, not counting the iterate returned last.
    pub fn peak_bytes(&self) -> u64 {
        self.peak_bytes
    }

    fn push_segment(&mut self, segment: Segment) {
        self.stored_bytes += segment.start.fast.bytes();
        self.peak_bytes = self.peak_bytes.max(self.stored_bytes);
        self.segments.push(segment);
    }

    fn pop_segment(&mut self) -> Option<Segment> {
        let segment = self.segments.pop()?;
        self.stored_bytes -= segment.start.fast.bytes();
        Some(segment)
    }

    /// `iterate` restricted to the tasks of the required iterates in `range`.
    fn restrict(&self, iterate: &Iterate, range: Range<usize>) -> Iterate {
        let required = &self.required[range];
        // Backwards, since the last iterate usually has the most tasks.
        let is_required =
            |task| required.iter().rev().any(|required| required.tasks.binary_search(task).is_ok());
        let positions: Vec<usize> =
            (0..iterate.tasks.len()).filter(|position| is_required(&iterate.tasks[*position])).collect();
        Iterate {
            steps: iterate.steps,
            tasks: positions.iter().map(|position| iterate.tasks[*position]).collect(),
            fast: iterate.fast.select(&positions),
        }
    }

    /// Advances `iterate` to φ_steps.
    fn advance(&mut self, mut iterate: Iterate, steps: usize) -> Iterate {
        if iterate.steps == steps {
            return iterate;
        }
        let (problem, outer) = (self.problem.select(&iterate.tasks), self.outer.select(&iterate.tasks));
        self.steps_computed += ((steps - iterate.steps) * iterate.tasks.len()) as u64;
        for step in iterate.steps + 1..=steps {
            iterate.fast = descend(&problem, &outer, step, iterate.fast).0;
        }
        Iterate { steps, ..iterate }
    }
}
