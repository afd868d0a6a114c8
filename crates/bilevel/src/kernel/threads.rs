//! Threads inside a kernel: as many as the pool that the kernel is called in has.
//!
//! Where many tasks run at once, each in its own pool, a kernel usually gets one thread; where there is a single
//! task, its kernels are split over all threads. The results do not depend on the number of threads: no sum is split
//! by it.
//!
//! A kernel of a small layer takes some tens of microseconds. Waking a thread that sleeps takes about as long, so
//! threads that wait for each other's part of a kernel do not sleep, and neither do those that wait for the next kernel
//! ([`crate::hypergradient`]'s pools keep them awake).

use rayon::Yield;
use std::hint::spin_loop;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Threads available to a kernel called from here.
pub fn count() -> usize {
    rayon::current_num_threads()
}

/// Calls `work` with the index and the values of each chunk of `size` values; the last chunk may be shorter.
pub fn for_each_chunk<T: Send>(values: &mut [T], size: usize, work: impl Fn(usize, &mut [T]) + Sync) {
    let size = size.max(1);
    let threads = count();
    if threads == 1 || values.len() <= size {
        return values.chunks_mut(size).enumerate().for_each(|(index, chunk)| work(index, chunk));
    }
    // Each thread gets as many neighbouring chunks as the others.
    let chunks = values.len().div_ceil(size).div_ceil(threads);
    let part = |(index, values): (usize, &mut [T])| {
        values.chunks_mut(size).enumerate().for_each(|(chunk, values)| work(index * chunks + chunk, values));
    };
    let mut parts = values.chunks_mut(chunks * size).enumerate();
    let pending = AtomicUsize::new(parts.len() - 1);
    rayon::in_place_scope(|scope| {
        let own = parts.next();
        for other in parts {
            scope.spawn(|_| {
                let _finished = Finished(&pending);
                part(other);
            });
        }
        own.map(part);
        wait_until(|| pending.load(Ordering::Acquire) == 0);
    });
}

/// Counts a part as finished, even if it panics.
struct Finished<'a>(&'a AtomicUsize);

impl Drop for Finished<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Release);
    }
}

/// Works on what other threads of the pool have to share until `done`, without sleeping.
pub fn wait_until(done: impl Fn() -> bool) {
    /// Rounds without work, of some 50 ns each, before the processor is offered to other programs.
    const PATIENCE: usize = 1000;
    let mut idle = 0;
    while !done() {
        if rayon::yield_now() == Some(Yield::Executed) {
            idle = 0;
        } else if idle < PATIENCE {
            idle += 1;
            spin_loop();
        } else {
            std::thread::yield_now();
        }
    }
}
