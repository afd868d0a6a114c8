//! On a CPU the tasks of a meta-batch go to threads in small chunks: each chunk's activations then
//! stay in cache, and Burn's elementwise operations, single-threaded there, run side by side. Where there
//! are fewer tasks than threads, each task's own operations have what is left over. On a GPU one launch
//! does all tasks' work.
//!
//! Tasks never meet before their gradients are averaged, so the split changes no task's result.

use super::lane::in_lane;
use super::{Draw, Estimate, Evaluations, Memory, estimate_within};
use crate::{problem::Bilevel, stack::Stack};
use burn::tensor::Tensor;
use std::cmp::Reverse;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// How a meta-batch is shared out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workers {
    /// Threads that work at once.
    pub threads: usize,
    /// Tasks that go together.
    pub chunk: usize,
    /// How many iterates are kept of each task.
    pub memory: Memory,
}

impl Workers {
    /// Everything at once, on this thread: right for a GPU.
    pub const TOGETHER: Self = Self { threads: 1, chunk: usize::MAX, memory: Memory::Store };

    /// One task at a time on each of `threads` threads: right for a CPU.
    pub fn on_cpu(threads: usize) -> Self {
        Self { threads, chunk: 1, memory: Memory::Store }
    }

    /// `work` on chunks of the tasks 0 … `tasks` − 1; results in the order of the chunks.
    pub fn map<R: Send>(&self, tasks: usize, work: impl Fn(&[usize]) -> R + Sync) -> Vec<R> {
        self.map_longest_first(tasks, |_| 0, work)
    }

    /// [`Self::map`], begun with the chunks that take longest, so that none is left to the end alone.
    fn map_longest_first<R: Send>(
        &self,
        tasks: usize,
        cost: impl Fn(&[usize]) -> u64,
        work: impl Fn(&[usize]) -> R + Sync,
    ) -> Vec<R> {
        let all: Vec<usize> = (0..tasks).collect();
        let chunks = all.chunks(self.chunk.max(1));
        if self.threads <= 1 {
            return chunks.map(work).collect();
        }
        if chunks.len() <= 1 {
            // In a lane too: called from outside, each operation would first wake a thread to work for it.
            return in_lane(self.threads, || chunks.map(&work).collect());
        }
        let mut chunks: Vec<(usize, &[usize])> = chunks.enumerate().collect();
        chunks.sort_by_key(|(_, chunk)| Reverse(cost(chunk)));
        let next = AtomicUsize::new(0);
        let done = Mutex::new(Vec::with_capacity(chunks.len()));
        let take_turns = || {
            while let Some((place, chunk)) = chunks.get(next.fetch_add(1, Ordering::Relaxed)) {
                let result = work(chunk);
                done.lock().unwrap_or_else(PoisonError::into_inner).push((*place, result));
            }
        };
        let lanes = self.threads.min(chunks.len());
        std::thread::scope(|scope| {
            for lane in 0..lanes {
                // Adds up to all threads, however many lanes there are.
                let threads = (self.threads + lane) / lanes;
                scope.spawn(move || in_lane(threads, take_turns));
            }
        });
        let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        done.sort_by_key(|(place, _)| *place);
        done.into_iter().map(|(_, result)| result).collect()
    }

    /// How many threads the operations of one chunk may use, at least, while [`Self::map`] works on `tasks`
    /// tasks: 1 where there is a chunk for every thread. Within the work [`rayon::current_num_threads`]
    /// says it exactly.
    pub fn inside(&self, tasks: usize) -> usize {
        let chunks = tasks.div_ceil(self.chunk.max(1));
        (self.threads / chunks.max(1)).max(1)
    }

    /// How many tasks' iterates are kept at once, of `tasks`.
    pub fn at_once(&self, tasks: usize) -> usize {
        self.threads.max(1).saturating_mul(self.chunk).min(tasks)
    }

    /// [`estimate`](super::estimate()), shared out.
    pub fn estimate<P: Bilevel>(&self, problem: &P, outer: &Stack, draw: &Draw) -> Estimate {
        let cost = |chunk: &[usize]| draw.select(chunk).cost().products;
        let parts = self.map_longest_first(problem.tasks(), cost, |chunk| {
            (chunk[0], estimate_within(self.memory, &problem.select(chunk), outer, &draw.select(chunk)))
        });
        join(parts)
    }
}

/// The chunks' estimates as one; each comes with the number of its first task.
fn join(mut parts: Vec<(usize, Estimate)>) -> Estimate {
    if parts.len() == 1 {
        return parts.remove(0).1;
    }
    let (mut gradients, mut losses, mut slopes) = (Vec::new(), Vec::new(), Vec::new());
    let (mut landmarks, mut increments) = (Vec::new(), Vec::new());
    let (mut iterate_bytes, mut probes) = (0, Vec::new());
    let mut evaluations = Evaluations::default();
    for (first, part) in parts {
        let moved = |tasks: Vec<usize>| tasks.into_iter().map(|task| first + task).collect();
        gradients.push(part.gradient);
        losses.push(part.outer_loss);
        slopes.extend(part.outer_slope);
        probes.extend(part.probes);
        iterate_bytes = part.iterate_bytes.max(iterate_bytes);
        evaluations += part.evaluations;
        landmarks.extend(part.landmarks.into_iter().map(|mut landmark| {
            landmark.tasks = moved(landmark.tasks);
            landmark
        }));
        increments.extend(part.increments.into_iter().map(|mut increment| {
            increment.tasks = moved(increment.tasks);
            increment
        }));
    }
    Estimate {
        gradient: Stack::cat(gradients),
        outer_loss: Tensor::cat(losses, 0),
        outer_slope: (!slopes.is_empty()).then(|| Tensor::cat(slopes, 0)),
        probes,
        landmarks,
        increments,
        evaluations,
        iterate_bytes,
    }
}
