//! The inner loop's iterates in reverse: φ_r, then φ_{j−1} for each inner step j whose product is due.
//!
//! The wanted iterates are cut into segments, and of each segment the first is kept. When the last is
//! asked for, its segment is cut again, where [`revolve::split`] says, until the last one stands alone.
//! With room for all, every wanted iterate is kept and nothing is computed twice. Of an iterate only
//! those tasks are kept, and recomputed, that its segment is wanted for.

use super::{Draw, Memory, inner_loop::descend, revolve};
use crate::{problem::Bilevel, stack::Stack};
use std::ops::Range;

/// The wanted iterates, to be asked for from the last to the first.
pub struct Iterates<'a, P> {
    problem: &'a P,
    outer: &'a Stack,
    wanted: Vec<Wanted>,
    segments: Vec<Segment>,
    slots: usize,
    /// Inner steps taken so far, each counted once per task.
    taken: u64,
    /// Bytes kept in `segments`.
    kept: u64,
    /// The most that these ever were.
    most: u64,
}

/// φ_steps of `tasks`.
pub struct Iterate {
    /// Inner steps that lead there.
    pub steps: usize,
    /// Whose it is, ascending.
    pub tasks: Vec<usize>,
    /// φ, in the order of `tasks`.
    pub fast: Stack,
}

/// That φ_steps is needed of `tasks`.
struct Wanted {
    steps: usize,
    tasks: Vec<usize>,
}

/// Some of the wanted iterates, by their places, and what they are reached from.
struct Segment {
    places: Range<usize>,
    from: Iterate,
}

impl<'a, P: Bilevel> Iterates<'a, P> {
    /// The iterates that `draw` needs at θ = `outer` (with the problem's task axis).
    pub fn new(memory: Memory, problem: &'a P, outer: &'a Stack, draw: &Draw) -> Self {
        let all: Vec<usize> = (0..problem.tasks()).collect();
        let mut wanted: Vec<Wanted> = (1..=draw.steps())
            .map(|step| Wanted { steps: step - 1, tasks: draw.due(step) })
            .filter(|wanted| !wanted.tasks.is_empty())
            .collect();
        wanted.push(Wanted { steps: draw.steps(), tasks: all.clone() });
        let start = Iterate { steps: 0, tasks: all, fast: problem.start(outer) };
        let kept = start.fast.bytes();
        let segments = vec![Segment { places: 0..wanted.len(), from: start }];
        Self { problem, outer, wanted, segments, slots: memory.slots(), taken: 0, kept, most: 0 }
    }

    /// The last wanted iterate not asked for yet.
    pub fn next_back(&mut self) -> Option<Iterate> {
        let Segment { mut places, mut from } = self.take_last()?;
        loop {
            from = self.advance(from, self.wanted[places.start].steps);
            if places.len() == 1 {
                return Some(from);
            }
            let free = self.slots - self.segments.len();
            let cut = places.start + revolve::split(places.len(), free);
            let before = places.start..cut;
            let first = self.narrow(&from, before.clone());
            self.keep(Segment { places: before, from: first });
            places = cut..places.end;
            from = self.narrow(&from, places.clone());
        }
    }

    /// Inner steps taken beyond the first way to φ_r, each counted once per task.
    pub fn recomputed(&self) -> u64 {
        let way = self.wanted.last().map_or(0, |last| last.steps);
        self.taken.saturating_sub((way * self.problem.tasks()) as u64)
    }

    /// Most bytes kept at once, beside the iterate handed out last.
    pub fn bytes(&self) -> u64 {
        self.most
    }

    fn keep(&mut self, segment: Segment) {
        self.kept += segment.from.fast.bytes();
        self.most = self.most.max(self.kept);
        self.segments.push(segment);
    }

    fn take_last(&mut self) -> Option<Segment> {
        let segment = self.segments.pop()?;
        self.kept -= segment.from.fast.bytes();
        Some(segment)
    }

    /// `iterate` of only those tasks that one of the wanted at `places` needs.
    fn narrow(&self, iterate: &Iterate, places: Range<usize>) -> Iterate {
        let wanted = &self.wanted[places];
        // From the last, which most tasks need.
        let is_wanted = |task| wanted.iter().rev().any(|wanted| wanted.tasks.binary_search(task).is_ok());
        let kept: Vec<usize> = (0..iterate.tasks.len()).filter(|at| is_wanted(&iterate.tasks[*at])).collect();
        Iterate {
            steps: iterate.steps,
            tasks: kept.iter().map(|at| iterate.tasks[*at]).collect(),
            fast: iterate.fast.select(&kept),
        }
    }

    /// `iterate` after inner step `steps`.
    fn advance(&mut self, mut iterate: Iterate, steps: usize) -> Iterate {
        if iterate.steps == steps {
            return iterate;
        }
        let (problem, outer) = (self.problem.select(&iterate.tasks), self.outer.select(&iterate.tasks));
        self.taken += ((steps - iterate.steps) * iterate.tasks.len()) as u64;
        for step in iterate.steps + 1..=steps {
            iterate.fast = descend(&problem, &outer, step, iterate.fast).0;
        }
        Iterate { steps, ..iterate }
    }
}
