//! Threads inside a kernel: as many as the pool that the kernel is called in has.
//!
//! Where many tasks run at once, each in its own pool, a kernel usually gets one thread; where there is a single
//! task, its kernels are split over all threads. The results do not depend on the number of threads: no sum is split
//! by it.

use rayon::prelude::*;

/// Threads available to a kernel called from here.
pub fn count() -> usize {
    rayon::current_num_threads()
}

/// Calls `work` with the index and the values of each chunk of `size` values; the last chunk may be shorter.
pub fn for_each_chunk<T: Send>(values: &mut [T], size: usize, work: impl Fn(usize, &mut [T]) + Sync) {
    let size = size.max(1);
    if count() > 1 && values.len() > size {
        values.par_chunks_mut(size).enumerate().for_each(|(index, chunk)| work(index, chunk));
    } else {
        values.chunks_mut(size).enumerate().for_each(|(index, chunk)| work(index, chunk));
    }
}
