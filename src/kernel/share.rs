//! Whether a kernel may call on other threads.
//!
//! Where many tasks go to threads one by one, each kernel keeps to its own; where a task is alone, its
//! kernels share themselves out. What a kernel computes does not depend on it: no sum is cut up
//! by the number of threads.

use rayon::prelude::*;
use std::cell::Cell;

thread_local! {
    static ALONE: Cell<bool> = const { Cell::new(true) };
}

/// Runs `work` with kernels that keep to this thread.
pub fn on_this_thread<R>(work: impl FnOnce() -> R) -> R {
    let before = ALONE.replace(false);
    let result = work();
    ALONE.set(before);
    result
}

/// Threads that a kernel called from here may use.
pub(super) fn threads() -> usize {
    if ALONE.get() { rayon::current_num_threads() } else { 1 }
}

/// `work` on each chunk of `size` values of `values` (the last may be shorter), with its number.
pub(super) fn each_chunk<T: Send>(values: &mut [T], size: usize, work: impl Fn(usize, &mut [T]) + Sync) {
    let size = size.max(1);
    if threads() > 1 && values.len() > size {
        values.par_chunks_mut(size).enumerate().for_each(|(at, chunk)| work(at, chunk));
    } else {
        values.chunks_mut(size).enumerate().for_each(|(at, chunk)| work(at, chunk));
    }
}
