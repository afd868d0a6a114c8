//! A kernel's work on as many threads as there are where it is called.
//!
//! Where many tasks run side by side, each in a lane of its own, that is one; where a task is alone, its
//! kernels share themselves out. What a kernel computes does not depend on it: no sum is cut up by the
//! number of threads.

use rayon::prelude::*;

/// Threads that a kernel called from here may use.
pub fn threads() -> usize {
    rayon::current_num_threads()
}

/// `work` on each chunk of `size` values of `values` (the last may be shorter), with its number.
pub fn each_chunk<T: Send>(values: &mut [T], size: usize, work: impl Fn(usize, &mut [T]) + Sync) {
    let size = size.max(1);
    if threads() > 1 && values.len() > size {
        values.par_chunks_mut(size).enumerate().for_each(|(at, chunk)| work(at, chunk));
    } else {
        values.chunks_mut(size).enumerate().for_each(|(at, chunk)| work(at, chunk));
    }
}
