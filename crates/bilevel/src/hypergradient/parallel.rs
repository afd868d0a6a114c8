//! Parallel estimates: the tasks of a meta-batch are divided into chunks, which run on several threads.
//!
//! On a CPU chunks are small: the activations of a chunk stay in the cache, and Burn's elementwise operations, which
//! are single-threaded there, run in parallel. If there are fewer tasks than threads, the operations of each task use
//! the spare threads. On a GPU all tasks are computed together, in one launch per operation.
//!
//! Tasks do not interact before their gradients are averaged, so the division into chunks does not change their
//! results.

use super::pool::in_pool;
use super::{Draw, Estimate, Evaluations, Memory, estimate};
use crate::{params::Params, problem::Bilevel, ranks::Share};
use burn::tensor::Tensor;
use std::cmp::Reverse;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// How a meta-batch is divided into chunks and threads.
///
/// ```
/// use bilevel::hypergradient::Workers;
///
/// let workers = Workers { threads: 2, chunk: 3 };
/// let sizes = workers.map(8, |tasks| tasks.len());
/// assert_eq!(sizes, [3, 3, 2]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workers {
    /// The number of threads.
    pub threads: usize,
    /// Tasks per chunk; the tasks of a chunk are computed together.
    pub chunk: usize,
}

impl Workers {
    /// All tasks together, on the current thread; suits a GPU.
    pub const TOGETHER: Self = Self { threads: 1, chunk: usize::MAX };

    /// One task at a time on each of `threads` threads; suits a CPU.
    ///
    /// With one thread, tasks run on the calling thread, outside of any pool of this crate, as with [`Self::TOGETHER`]. Their
    /// operations then use all threads of the rayon pool that it is in, or else of rayon's global pool, which
    /// [`Opened::with_threads`](crate::device::Opened::with_threads) makes as large as `threads`. To keep them to one thread,
    /// call from within a pool of one.
    pub fn on_cpu(threads: usize) -> Self {
        Self { threads, chunk: 1 }
    }

    /// Calls `work` with each chunk of the tasks 0 … `tasks` − 1. Results are in the order of the chunks.
    pub fn map<R: Send>(&self, tasks: usize, work: impl Fn(&[usize]) -> R + Sync) -> Vec<R> {
        self.map_longest_first(tasks, |_| 0, work)
    }

    /// As [`Self::map`], beginning with the most expensive chunks, so that none of them runs alone at the end.
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
            // A pool for a single chunk too: outside of any, every operation would hand its work to the global pool.
            return in_pool(self.threads, || chunks.map(&work).collect());
        }
        let mut chunks: Vec<(usize, &[usize])> = chunks.enumerate().collect();
        chunks.sort_by_key(|(_, chunk)| Reverse(cost(chunk)));
        let next = AtomicUsize::new(0);
        let done = Mutex::new(Vec::with_capacity(chunks.len()));
        let run_chunks = || {
            while let Some((index, chunk)) = chunks.get(next.fetch_add(1, Ordering::Relaxed)) {
                let result = work(chunk);
                done.lock().unwrap_or_else(PoisonError::into_inner).push((*index, result));
            }
        };
        let pools = self.threads.min(chunks.len());
        std::thread::scope(|scope| {
            let spawn = |pool: usize| {
                // The sum over all pools is `self.threads`.
                let threads = (self.threads + pool) / pools;
                scope.spawn(move || in_pool(threads, run_chunks))
            };
            let threads: Vec<_> = (0..pools).map(spawn).collect();
            // The scope itself would replace a panic by one of its own, without the reason.
            for thread in threads {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            }
        });
        let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        done.sort_by_key(|(index, _)| *index);
        done.into_iter().map(|(_, result)| result).collect()
    }

    /// A lower bound of the threads that the operations of one chunk can use while [`Self::map`] runs on `tasks`
    /// tasks: 1 if there are at least as many chunks as threads. Within `work`, [`rayon::current_num_threads`] gives
    /// the exact number.
    pub fn threads_per_chunk(&self, tasks: usize) -> usize {
        let chunks = tasks.div_ceil(self.chunk.max(1));
        (self.threads / chunks.max(1)).max(1)
    }

    /// How many of `tasks` tasks are computed at the same time, and so have their iterates in memory.
    pub fn at_once(&self, tasks: usize) -> usize {
        self.threads.max(1).saturating_mul(self.chunk).min(tasks)
    }

    /// Computes the estimate described by `draw` at θ = `outer` (one task) in chunks, on all threads; `memory` says
    /// how many iterates are stored.
    pub fn estimate<P: Bilevel>(&self, problem: &P, outer: &Params, draw: &Draw, memory: Memory) -> Estimate {
        let cost = |chunk: &[usize]| draw.select(chunk).cost().products;
        let parts = self.map_longest_first(problem.tasks(), cost, |chunk| {
            (chunk[0], estimate(&problem.select(chunk), outer, &draw.select(chunk), memory))
        });
        join(parts)
    }
}

/// Joins the estimates of the chunks; each comes with the index of its first task.
fn join(mut parts: Vec<(usize, Estimate)>) -> Estimate {
    if parts.len() == 1 {
        return parts.remove(0).1;
    }
    let (mut gradients, mut losses, mut slopes) = (Vec::new(), Vec::new(), Vec::new());
    let (mut partial_gradients, mut increments) = (Vec::new(), Vec::new());
    let (mut iterate_bytes, mut probes) = (0, Vec::new());
    let mut evaluations = Evaluations::default();
    for (first, part) in parts {
        let renumbered = |tasks: Vec<usize>| tasks.into_iter().map(|task| first + task).collect();
        gradients.push(part.gradient);
        losses.push(part.outer_loss);
        slopes.extend(part.outer_slope);
        probes.extend(part.probes);
        iterate_bytes = part.iterate_bytes.max(iterate_bytes);
        evaluations += part.evaluations;
        partial_gradients.extend(part.partial_gradients.into_iter().map(|mut partial_gradient| {
            partial_gradient.tasks = renumbered(partial_gradient.tasks);
            partial_gradient
        }));
        increments.extend(part.increments.into_iter().map(|mut increment| {
            increment.tasks = renumbered(increment.tasks);
            increment
        }));
    }
    let gradient = Params::cat(gradients);
    Estimate {
        share: Share::all(gradient.tasks()),
        gradient,
        outer_loss: Tensor::cat(losses, 0),
        outer_slope: (!slopes.is_empty()).then(|| Tensor::cat(slopes, 0)),
        probes,
        partial_gradients,
        increments,
        evaluations,
        iterate_bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::panics::catch;

    #[test]
    fn a_panic_on_one_thread_keeps_its_message() {
        let work = |chunk: &[usize]| assert!(chunk[0] != 1, "expected by the test");
        let message = catch(|| Workers::on_cpu(2).map(4, work)).unwrap_err();
        assert!(message.contains("expected by the test"), "{message}");
    }
}
